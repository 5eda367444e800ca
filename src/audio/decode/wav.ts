import { RawDecoder } from './raw.js';
import { bytesPerSample, type SampleFormat } from './sample-format.js';
import { type AudioLimits, audioError, checkShape, type PcmBlock, type SourceDecoder, Warnings } from './types.js';

const EXTENSIBLE = 0xfffe;
/** What helps against a header that cannot be. */
const AGAIN = 'write the file again with the program that made it, or convert it to WAV, FLAC, Ogg Opus or MP3';
/** Bytes before the samples that are still believed (tags and art are skipped without being kept). */
const MAX_HEADER = 1 << 26;
/** Largest `fmt ` or `ds64` chunk; real ones have at most a few dozen bytes. */
const MAX_BODY = 4096;
/** Sizes that writers leave when they could not seek back: read to the end. */
const UNKNOWN_SIZES = new Set([0, 0xffffffff, 0x7fffffff]);

/**
 * RIFF/WAVE, streaming: PCM 8/16/24/32, float 32/64, µ-law and A-law, plain or extensible, and RF64.
 * (Microsoft "Multiple Channel Audio Data and WAVE Files"; EBU Tech 3306 for RF64.)
 *
 * A size that reaches past the end of the input is taken as "to the end", with a warning: recorders that were cut off
 * write exactly that. A header that contradicts itself is an error, not a guess.
 */
export class WavDecoder implements SourceDecoder {
  /** Bytes of the header piece being read: at most one chunk head with the body of a `fmt ` or `ds64` chunk. */
  private readonly held = new Uint8Array(MAX_BODY + 8);
  private count = 0;
  private want = 12;
  private skip = 0;
  private seen = 0;
  private format: { format: SampleFormat; sampleRate: number; channels: number } | undefined;
  private raw: RawDecoder | undefined;
  /** Sample bytes still to come; Infinity when the header does not know. */
  private left = 0;
  private data64 = 0;
  private readonly noted = new Warnings();

  constructor(private readonly limits: AudioLimits) {}

  get warnings(): readonly string[] {
    return [...this.noted.list, ...(this.raw?.warnings ?? [])];
  }

  push(bytes: Uint8Array): PcmBlock[] {
    let at = 0;
    while (!this.raw) {
      if (this.skip > 0) {
        const step = Math.min(this.skip, bytes.length - at);
        this.skip -= step;
        at += step;
        this.seen += step;
      }
      const step = Math.min(this.want - this.count, bytes.length - at);
      this.held.set(bytes.subarray(at, at + step), this.count);
      this.count += step;
      this.seen += step;
      at += step;
      if (this.skip > 0 || this.count < this.want) return [];
      if (this.seen > MAX_HEADER) {
        throw audioError('BAD_AUDIO', `this WAV file has no data chunk in its first ${MAX_HEADER} bytes`, AGAIN);
      }
      this.headerPiece();
    }
    return this.samples(bytes.subarray(at));
  }

  finish(): PcmBlock[] {
    if (!this.raw) {
      throw audioError('BAD_AUDIO', 'this WAV file ends before its samples begin', 'send the whole file');
    }
    if (this.left !== Number.POSITIVE_INFINITY && this.left > 0) {
      this.noted.add(`the file ends ${this.left} bytes before its header says`);
    }
    return this.raw.finish();
  }

  close(): void {}

  private samples(bytes: Uint8Array): PcmBlock[] {
    const part = bytes.length > this.left ? bytes.subarray(0, this.left) : bytes;
    this.left -= part.length;
    return this.raw!.push(part);
  }

  /** Acts on the `want` bytes that have come: the RIFF head, a chunk head, or a chunk head with its body. */
  private headerPiece(): void {
    const view = new DataView(this.held.buffer);
    const tag = (at: number) => String.fromCharCode(...this.held.subarray(at, at + 4));
    const next = (skip: number) => {
      this.count = 0;
      this.want = 8;
      this.skip = skip;
    };
    if (this.seen === 12) {
      if (tag(8) !== 'WAVE') throw audioError('UNSUPPORTED_AUDIO', 'this RIFF file is not WAVE audio', AGAIN);
      next(0);
      return;
    }
    const id = tag(0);
    const size = view.getUint32(4, true);
    if (id === 'data') {
      if (!this.format) throw audioError('BAD_AUDIO', 'this WAV file has its data chunk before its fmt chunk', AGAIN);
      this.raw = new RawDecoder(this.format.format, this.format.sampleRate, this.format.channels);
      this.left = UNKNOWN_SIZES.has(size) ? this.data64 || Number.POSITIVE_INFINITY : size;
    } else if (id === 'fmt ' || id === 'ds64') {
      if (size > MAX_BODY)
        throw audioError('BAD_AUDIO', `the ${id.trim()} chunk of this WAV file has ${size} bytes`, AGAIN);
      if (this.count < 8 + size) {
        this.want = 8 + size;
        return;
      }
      if (id === 'fmt ') this.format = this.parseFormat(view, 8, size);
      else if (size >= 16) this.data64 = Number(view.getBigUint64(16, true));
      next(size & 1);
    } else next(size + (size & 1));
  }

  private parseFormat(view: DataView, at: number, size: number) {
    if (size < 16)
      throw audioError('BAD_AUDIO', `the fmt chunk of this WAV file has ${size} bytes, 16 are needed`, AGAIN);
    let tag = view.getUint16(at, true);
    const channels = view.getUint16(at + 2, true);
    const sampleRate = view.getUint32(at + 4, true);
    const blockAlign = view.getUint16(at + 12, true);
    const bits = view.getUint16(at + 14, true);
    // The sub-format is a GUID whose first two bytes are the plain format tag.
    if (tag === EXTENSIBLE && size >= 26) tag = view.getUint16(at + 24, true);
    checkShape(sampleRate, channels, this.limits);
    const format = sampleFormat(tag, bits);
    if (!format) {
      throw audioError(
        'UNSUPPORTED_AUDIO',
        `WAV with format tag ${tag} and ${bits} bits is not supported`,
        'convert it to PCM of 8, 16, 24 or 32 bits, float, µ-law or A-law',
      );
    }
    if (blockAlign !== channels * bytesPerSample(format)) {
      throw audioError(
        'BAD_AUDIO',
        `this WAV header contradicts itself: ${channels} channels of ${bits} bits are not ${blockAlign} bytes a frame`,
        AGAIN,
      );
    }
    return { format, sampleRate, channels };
  }
}

/** Bits are rounded up to whole bytes: 12 bits lie left-justified in 2, as the standard demands. */
function sampleFormat(tag: number, bits: number): SampleFormat | undefined {
  const bytes = Math.ceil(bits / 8);
  if (tag === 1) return ([undefined, 'pcm_u8', 'pcm_s16', 'pcm_s24', 'pcm_s32'] as const)[bytes];
  if (tag === 3) return bits === 32 ? 'float32' : bits === 64 ? 'float64' : undefined;
  if (tag === 6 && bits === 8) return 'alaw';
  if (tag === 7 && bits === 8) return 'mulaw';
  return undefined;
}
