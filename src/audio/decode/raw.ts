import { bytesPerSample, deinterleave, FrameCutter, type SampleFormat } from './sample-format.js';
import { type PcmBlock, type SourceDecoder, Warnings } from './types.js';

/** Headerless interleaved samples, as live sessions send them: frames of any size, one byte included. */
export class RawDecoder implements SourceDecoder {
  private readonly cutter: FrameCutter;
  private readonly noted = new Warnings();
  /** Float samples that were not finite or far out of range and became silence or the limit. */
  repaired = 0;

  constructor(
    readonly format: SampleFormat,
    readonly sampleRate: number,
    readonly channels: number,
  ) {
    this.cutter = new FrameCutter(bytesPerSample(format) * channels);
  }

  get warnings(): readonly string[] {
    return this.noted.list;
  }

  push(bytes: Uint8Array): PcmBlock[] {
    return this.cutter.push(bytes).map((part) => {
      const { channels, repaired } = deinterleave(part, this.format, this.channels);
      if (repaired > 0) this.noted.add('samples that are not finite or out of range were replaced');
      this.repaired += repaired;
      return { sampleRate: this.sampleRate, channels };
    });
  }

  finish(): PcmBlock[] {
    if (this.cutter.pending > 0) this.noted.add(`the last ${this.cutter.pending} bytes are not a whole frame`);
    return [];
  }

  /** Bytes of a frame that has not fully arrived: all the state there is. */
  snapshot(): Uint8Array {
    return this.cutter.pendingBytes();
  }

  close(): void {}
}
