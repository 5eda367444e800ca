/**
 * µ-law and A-law (ITU-T G.711): 8 bits a sample, logarithmic.
 * Tables are computed once; the encoder picks the nearest level, which is what the standard's decision values amount to.
 */
export type Law = 'mulaw' | 'alaw';

/** 16-bit value of a µ-law code. */
export function mulawToLinear(code: number): number {
  const u = ~code & 0xff;
  const magnitude = ((((u & 0x0f) << 3) + 0x84) << ((u & 0x70) >> 4)) - 0x84;
  return u & 0x80 ? -magnitude : magnitude;
}

/** 16-bit value of an A-law code. */
export function alawToLinear(code: number): number {
  const a = code ^ 0x55;
  const segment = (a & 0x70) >> 4;
  const mantissa = (a & 0x0f) << 4;
  const magnitude = segment === 0 ? mantissa + 8 : (mantissa + 0x108) << (segment - 1);
  return a & 0x80 ? magnitude : -magnitude;
}

const tables = new Map<Law, { decode: Float32Array; levels: Int32Array; codes: Uint8Array }>();

function tableOf(law: Law) {
  let table = tables.get(law);
  if (!table) {
    const toLinear = law === 'mulaw' ? mulawToLinear : alawToLinear;
    const codes = Uint8Array.from({ length: 256 }, (_, i) => i).sort((a, b) => toLinear(a) - toLinear(b));
    table = {
      decode: Float32Array.from({ length: 256 }, (_, i) => toLinear(i) / 32768),
      levels: Int32Array.from(codes, toLinear),
      codes,
    };
    tables.set(law, table);
  }
  return table;
}

/** [256] float values, full scale ±1, by code. */
export function decodeTable(law: Law): Float32Array {
  return tableOf(law).decode;
}

/** Code of the level nearest to a sample (full scale ±1; beyond it, the largest level). */
export function encodeSample(law: Law, sample: number): number {
  const { levels, codes } = tableOf(law);
  const value = sample * 32768;
  let low = 0;
  let high = 255;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (levels[middle] <= value) low = middle;
    else high = middle;
  }
  return value - levels[low] <= levels[high] - value ? codes[low] : codes[high];
}
