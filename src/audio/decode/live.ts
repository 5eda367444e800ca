import { Converter, type ConverterState, type Layout } from './converter.js';
import { joined } from './joined.js';
import { RawDecoder } from './raw.js';
import type { SampleFormat } from './sample-format.js';
import { checkShape, DEFAULT_LIMITS } from './types.js';

/** What a live client declares about the headerless samples it sends. */
export interface LiveFormat {
  encoding: SampleFormat;
  /** Hz. */
  sampleRate: number;
  /** Interleaved channels. */
  channels: number;
  layout?: Layout;
}

export interface LiveDecoderState {
  format: LiveFormat;
  pending: Uint8Array;
  converter: ConverterState | undefined;
}

/**
 * Headerless samples of one live session → 16 kHz, synchronously, for frames of any size (one byte included).
 * Unlimited in length; its whole state is a small value. `loadResampler` must have been awaited.
 */
export class LiveDecoder {
  private readonly raw: RawDecoder;
  private converter: Converter;

  /** Throws BAD_SAMPLE_RATE or BAD_CHANNELS. */
  constructor(readonly format: LiveFormat) {
    checkShape(format.sampleRate, format.channels, DEFAULT_LIMITS);
    this.raw = new RawDecoder(format.encoding, format.sampleRate, format.channels);
    this.converter = new Converter(format.layout, UNLIMITED);
  }

  /** 16 kHz samples that became complete, one array a kept channel (empty when none did). */
  push(bytes: Uint8Array): Float32Array[] {
    return joined(this.raw.push(bytes).map((block) => this.converter.push(block)));
  }

  /** The samples still inside the resampling filter; the decoder is closed. */
  finish(): Float32Array[] {
    this.raw.finish();
    return this.converter.finish();
  }

  /** Float samples that were not finite or out of range. */
  get repaired(): number {
    return this.raw.repaired;
  }

  snapshot(): LiveDecoderState {
    return { format: this.format, pending: this.raw.snapshot(), converter: this.converter.snapshot() };
  }

  static restore(state: LiveDecoderState): LiveDecoder {
    const decoder = new LiveDecoder(state.format);
    decoder.raw.push(state.pending);
    if (state.converter) decoder.converter = Converter.restore(state.converter, UNLIMITED);
    return decoder;
  }

  close(): void {
    this.converter.close();
  }
}

const UNLIMITED = { ...DEFAULT_LIMITS, maxSeconds: Number.POSITIVE_INFINITY };
