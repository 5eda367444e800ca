import { decodeTable } from './g711.js';

/** Encodings of one sample; little-endian. `pcm_u8` is offset binary, as WAV stores 8 bits. */
export type SampleFormat = 'pcm_u8' | 'pcm_s16' | 'pcm_s24' | 'pcm_s32' | 'float32' | 'float64' | 'mulaw' | 'alaw';

export const SAMPLE_FORMATS: readonly SampleFormat[] = [
  'pcm_u8',
  'pcm_s16',
  'pcm_s24',
  'pcm_s32',
  'float32',
  'float64',
  'mulaw',
  'alaw',
];

const BYTES: Record<SampleFormat, number> = {
  pcm_u8: 1,
  pcm_s16: 2,
  pcm_s24: 3,
  pcm_s32: 4,
  float32: 4,
  float64: 8,
  mulaw: 1,
  alaw: 1,
};

export function bytesPerSample(format: SampleFormat): number {
  return BYTES[format];
}

/** Largest float value kept: 24 dB over full scale. More is never sound and would drown every running statistic. */
export const FLOAT_LIMIT = 16;

/** One float sample made safe: NaN and infinities are silence, the rest is limited to ±FLOAT_LIMIT. */
export function safeSample(value: number): number {
  if (!Number.isFinite(value)) return 0;
  return value > FLOAT_LIMIT ? FLOAT_LIMIT : value < -FLOAT_LIMIT ? -FLOAT_LIMIT : value;
}

/**
 * Interleaved bytes to one array a channel, full scale ±1.
 *
 * @param bytes whole frames (a multiple of channels × bytesPerSample)
 * @returns the channels, and how many float samples were not finite or out of range and were replaced
 */
export function deinterleave(
  bytes: Uint8Array,
  format: SampleFormat,
  channels: number,
): { channels: Float32Array[]; repaired: number } {
  const width = BYTES[format];
  const frames = Math.floor(bytes.length / (width * channels));
  const out = Array.from({ length: channels }, () => new Float32Array(frames));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const table = format === 'mulaw' || format === 'alaw' ? decodeTable(format) : undefined;
  let repaired = 0;
  for (let c = 0; c < channels; c++) {
    const target = out[c];
    const stride = width * channels;
    let at = c * width;
    for (let i = 0; i < frames; i++, at += stride) {
      if (table) target[i] = table[bytes[at]];
      else if (format === 'pcm_s16') target[i] = view.getInt16(at, true) / 32768;
      else if (format === 'float32' || format === 'float64') {
        const raw = format === 'float32' ? view.getFloat32(at, true) : view.getFloat64(at, true);
        const safe = safeSample(raw);
        if (safe !== raw) repaired++;
        target[i] = safe;
      } else if (format === 'pcm_u8') target[i] = (bytes[at] - 128) / 128;
      else if (format === 'pcm_s24') {
        target[i] = ((bytes[at + 2] << 24) | (bytes[at + 1] << 16) | (bytes[at] << 8)) / 2147483648;
      } else target[i] = view.getInt32(at, true) / 2147483648;
    }
  }
  return { channels: out, repaired };
}

/** Joins byte pieces cut anywhere into whole frames; holds at most one incomplete frame. */
export class FrameCutter {
  private readonly held: Uint8Array;
  private count = 0;

  constructor(readonly frameBytes: number) {
    this.held = new Uint8Array(frameBytes);
  }

  /** Whole frames of what was held and `bytes`, as up to two views or copies, in order. */
  push(bytes: Uint8Array): Uint8Array[] {
    const out: Uint8Array[] = [];
    let from = 0;
    if (this.count > 0) {
      from = Math.min(this.frameBytes - this.count, bytes.length);
      this.held.set(bytes.subarray(0, from), this.count);
      this.count += from;
      if (this.count < this.frameBytes) return out;
      out.push(this.held.slice());
      this.count = 0;
    }
    const whole = Math.floor((bytes.length - from) / this.frameBytes) * this.frameBytes;
    if (whole > 0) out.push(bytes.subarray(from, from + whole));
    const rest = bytes.subarray(from + whole);
    this.held.set(rest, 0);
    this.count = rest.length;
    return out;
  }

  /** Bytes of an incomplete frame that are still held. */
  get pending(): number {
    return this.count;
  }

  /** What is held, for a snapshot. */
  pendingBytes(): Uint8Array {
    return this.held.slice(0, this.count);
  }
}
