import { Resampler, type ResamplerState } from './resample.js';
import { type AudioLimits, audioError, checkShape, DEFAULT_LIMITS, type PcmBlock, SAMPLE_RATE } from './types.js';

/** `mix`: all channels averaged into one. `separate`: kept, for two-sided talk. */
export type Layout = 'mix' | 'separate';

export interface ConverterState {
  sampleRate: number;
  channels: number;
  layout: Layout;
  resamplers: ResamplerState[];
  taken: number;
}

/**
 * PCM blocks of one source → 16 kHz arrays, one a kept channel; incremental, the same bits at any chunking.
 * `loadResampler` must have been awaited.
 */
export class Converter {
  private resamplers: Resampler[] = [];
  private shape: { sampleRate: number; channels: number } | undefined;
  private taken = 0;

  constructor(
    private readonly layout: Layout = 'mix',
    private readonly limits: AudioLimits = DEFAULT_LIMITS,
  ) {}

  /** Samples at 16 kHz that became complete: one array a kept channel, of equal lengths. */
  push(block: PcmBlock): Float32Array[] {
    const { sampleRate, channels } = block;
    this.open(sampleRate, channels.length);
    this.taken += channels[0].length;
    if (this.taken > this.limits.maxSeconds * sampleRate) {
      throw audioError(
        'AUDIO_TOO_LONG',
        `the audio is longer than ${this.limits.maxSeconds} seconds`,
        'send it in parts, as a stream or as a job',
      );
    }
    const kept = this.layout === 'mix' ? [mixed(channels)] : channels;
    return this.resamplers.length === 0 ? kept : kept.map((c, i) => this.resamplers[i].push(c));
  }

  /** The samples still inside the resampling filter. */
  finish(): Float32Array[] {
    return this.resamplers.map((r) => r.finish());
  }

  /** Channels that come out; 0 before the first block. */
  get channels(): number {
    return this.shape ? (this.layout === 'mix' ? 1 : this.shape.channels) : 0;
  }

  get source(): { sampleRate: number; channels: number } | undefined {
    return this.shape;
  }

  snapshot(): ConverterState | undefined {
    if (!this.shape) return undefined;
    return {
      ...this.shape,
      layout: this.layout,
      taken: this.taken,
      resamplers: this.resamplers.map((r) => r.snapshot()),
    };
  }

  static restore(state: ConverterState, limits: AudioLimits = DEFAULT_LIMITS): Converter {
    const converter = new Converter(state.layout, limits);
    converter.shape = { sampleRate: state.sampleRate, channels: state.channels };
    converter.taken = state.taken;
    converter.resamplers = state.resamplers.map((r) => Resampler.restore(r));
    return converter;
  }

  close(): void {
    for (const r of this.resamplers) r.close();
  }

  private open(sampleRate: number, channels: number): void {
    if (this.shape) {
      if (this.shape.sampleRate !== sampleRate || this.shape.channels !== channels) {
        throw audioError(
          'AUDIO_CHANGED',
          `the audio changes from ${this.shape.channels} channels at ${this.shape.sampleRate} Hz to ${channels} at ${sampleRate} Hz`,
          'split the file where it changes',
        );
      }
      return;
    }
    checkShape(sampleRate, channels, this.limits);
    this.shape = { sampleRate, channels };
    if (sampleRate !== SAMPLE_RATE) {
      this.resamplers = Array.from({ length: this.channels }, () => new Resampler(sampleRate));
    }
  }
}

function mixed(channels: Float32Array[]): Float32Array {
  if (channels.length === 1) return channels[0];
  const out = new Float32Array(channels[0].length);
  const scale = 1 / channels.length;
  for (const channel of channels) for (let i = 0; i < out.length; i++) out[i] += channel[i] * scale;
  return out;
}
