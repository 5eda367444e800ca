/** Writers of audio containers for tests: small, complete, and able to lie where a test wants a lie. */

export interface WavOptions {
  tag: number;
  bits: number;
  channels: number;
  sampleRate: number;
  body: Uint8Array;
  extensible?: boolean;
  dataSize?: number;
  blockAlign?: number;
  /** Chunks before `fmt `. */
  before?: Uint8Array;
}

export function chunk(id: string, body: Uint8Array, size = body.length): Uint8Array {
  const out = Buffer.alloc(8 + body.length + (body.length & 1));
  out.write(id, 0, 'latin1');
  out.writeUInt32LE(size >>> 0, 4);
  out.set(body, 8);
  return out;
}

export function wav(o: WavOptions): Uint8Array {
  const align = o.blockAlign ?? (o.channels * o.bits) / 8;
  const format = Buffer.alloc(o.extensible ? 40 : 16);
  format.writeUInt16LE(o.extensible ? 0xfffe : o.tag, 0);
  format.writeUInt16LE(o.channels, 2);
  format.writeUInt32LE(o.sampleRate, 4);
  format.writeUInt32LE((o.sampleRate * align) >>> 0, 8);
  format.writeUInt16LE(align & 0xffff, 12);
  format.writeUInt16LE(o.bits, 14);
  if (o.extensible) {
    format.writeUInt16LE(22, 16);
    format.writeUInt16LE(o.bits, 18);
    format.writeUInt16LE(o.tag, 24);
    Buffer.from('000000001000800000aa00389b71', 'hex').copy(format, 26);
  }
  const parts = [o.before ?? new Uint8Array(0), chunk('fmt ', format), chunk('data', o.body, o.dataSize)];
  const size = parts.reduce((s, p) => s + p.length, 4);
  return Buffer.concat([Buffer.from('RIFF'), u32(size), Buffer.from('WAVE'), ...parts]);
}

function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value >>> 0);
  return out;
}

/** Samples (±1) as bytes of one WAV encoding. */
export function encodePcm(samples: ArrayLike<number>, bits: number, float = false): Uint8Array {
  const out = Buffer.alloc((samples.length * bits) / 8);
  for (let i = 0; i < samples.length; i++) {
    const x = samples[i];
    if (float) bits === 32 ? out.writeFloatLE(x, i * 4) : out.writeDoubleLE(x, i * 8);
    else if (bits === 8) out[i] = Math.max(0, Math.min(255, Math.round(x * 128) + 128));
    else {
      const full = 2 ** (bits - 1);
      out.writeIntLE(Math.max(-full, Math.min(full - 1, Math.round(x * full))), (i * bits) / 8, bits / 8);
    }
  }
  return out;
}

function crc(bytes: Uint8Array, polynomial: number, width: 8 | 16): number {
  const top = 1 << (width - 1);
  const mask = (1 << width) - 1;
  let value = 0;
  for (const byte of bytes) {
    value ^= byte << (width - 8);
    for (let i = 0; i < 8; i++) value = value & top ? ((value << 1) ^ polynomial) & mask : (value << 1) & mask;
  }
  return value;
}

/** Frame and sample number in the coding that FLAC borrows from UTF-8. */
function flacNumber(n: number): number[] {
  if (n < 0x80) return [n];
  const tail: number[] = [];
  let rest = n;
  let lead = 0x40;
  let prefix = 0x80;
  do {
    tail.unshift(0x80 | (rest & 0x3f));
    rest = Math.floor(rest / 64);
    prefix |= lead;
    lead >>= 1;
  } while (rest >= lead);
  return [prefix | rest, ...tail];
}

/** Mono 16-bit FLAC: verbatim blocks, or constant ones where all samples of a block are equal. */
export function* flac(
  samples: Int16Array | { zeros: number },
  sampleRate: 16000 | 44100 = 16000,
): Generator<Uint8Array> {
  const block = 4096;
  const total = samples instanceof Int16Array ? samples.length : samples.zeros;
  const info = Buffer.alloc(34);
  info.writeUInt16BE(block, 0);
  info.writeUInt16BE(block, 2);
  info.writeUInt32BE(((sampleRate << 12) | (0 << 9) | (15 << 4)) >>> 0, 10);
  info.writeUInt32BE(total >>> 0, 14);
  yield Buffer.concat([Buffer.from('fLaC'), Buffer.from([0x80, 0, 0, 34]), info]);
  for (let at = 0, index = 0; at < total; at += block, index++) {
    const size = Math.min(block, total - at);
    const values = samples instanceof Int16Array ? samples.subarray(at, at + size) : new Int16Array(size);
    const number = flacNumber(index);
    // Block size in 16 bits (7), 16 kHz (5) or 44.1 kHz (9), mono, 16 bits.
    const head = [
      0xff,
      0xf8,
      sampleRate === 16000 ? 0x75 : 0x79,
      0x08,
      ...number,
      ((size - 1) >> 8) & 0xff,
      (size - 1) & 0xff,
    ];
    head.push(crc(Uint8Array.from(head), 0x07, 8));
    const constant = values.every((v) => v === values[0]);
    const body = Buffer.alloc(1 + (constant ? 2 : 2 * size));
    body[0] = constant ? 0x00 : 0x02;
    for (let i = 0; i < (constant ? 1 : size); i++) body.writeInt16BE(values[i], 1 + 2 * i);
    const frame = Buffer.concat([Uint8Array.from(head), body]);
    const check = crc(frame, 0x8005, 16);
    yield Buffer.concat([frame, Uint8Array.from([check >> 8, check & 0xff])]);
  }
}

/** Ogg pages (RFC 3533) of Opus packets (RFC 7845), 20 ms each. */
export function oggOpus(packets: Uint8Array[], channels = 1, preSkip = 312): Uint8Array {
  const head = Buffer.alloc(19);
  head.write('OpusHead');
  head[8] = 1;
  head[9] = channels;
  head.writeUInt16LE(preSkip, 10);
  head.writeUInt32LE(16000, 12);
  const tags = Buffer.concat([Buffer.from('OpusTags'), u32(5), Buffer.from('adder'), u32(0)]);
  const pages = [oggPage([head], 2, 0, 0), oggPage([tags], 0, 0, 1)];
  for (let i = 0; i < packets.length; i += 50) {
    const some = packets.slice(i, i + 50);
    const last = i + 50 >= packets.length;
    pages.push(oggPage(some, last ? 4 : 0, (i + some.length) * 960, 2 + i / 50));
  }
  return Buffer.concat(pages);
}

function oggPage(packets: Uint8Array[], flags: number, granule: number, sequence: number): Uint8Array {
  const lacing: number[] = [];
  for (const packet of packets) {
    let rest = packet.length;
    for (; rest >= 255; rest -= 255) lacing.push(255);
    lacing.push(rest);
  }
  const head = Buffer.alloc(27 + lacing.length);
  head.write('OggS');
  head[5] = flags;
  head.writeBigInt64LE(BigInt(granule), 6);
  head.writeUInt32LE(77, 14);
  head.writeUInt32LE(sequence, 18);
  head[26] = lacing.length;
  head.set(lacing, 27);
  const page = Buffer.concat([head, ...packets]);
  let value = 0;
  for (const byte of page) {
    value = (value ^ (byte << 24)) >>> 0;
    for (let i = 0; i < 8; i++) value = (value & 0x80000000 ? (value << 1) ^ 0x04c11db7 : value << 1) >>> 0;
  }
  page.writeUInt32LE(value, 22);
  return page;
}

/** A tone with a slow swell, full scale ±1. */
export function tone(length: number, sampleRate: number, hz: number, level = 0.5): Float32Array {
  return Float32Array.from({ length }, (_, i) => level * Math.sin((2 * Math.PI * hz * i) / sampleRate));
}

/** `bytes` cut into pieces whose lengths are taken from `cuts` in turn. */
export function* cut(bytes: Uint8Array, cuts: readonly number[]): Generator<Uint8Array> {
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const step = cuts[i % cuts.length];
    yield bytes.subarray(at, at + step);
    at += step;
  }
}
