import load, { type SpeexModule } from '@echogarden/speex-resampler-wasm/simd';
import { audioError, SAMPLE_RATE } from './types.js';

/**
 * Filter length 128 at the lower rate: flat to 7.2 kHz, −0.5 dB at 7.4 kHz, aliases below −110 dB (measured in the
 * tests). Delay: 64 samples of the lower of the two rates, 4 ms from 16 kHz and above, 8 ms from 8 kHz.
 */
const QUALITY = 7;
/** Samples a call into the module, bounded so that the scratch memory is. */
const BLOCK = 8192;

let shared: { module: SpeexModule; input: number; output: number; lengths: number; outputBlock: number } | undefined;

/** Load the resampler once a process; every Resampler after that is made synchronously. */
export async function loadResampler(): Promise<void> {
  if (shared) return;
  const module = await load();
  // Up-sampling makes at most ×4 (4 kHz → 16 kHz) of a block.
  const outputBlock = BLOCK * 4 + 64;
  shared ??= {
    module,
    input: module._malloc(BLOCK * 4),
    output: module._malloc(outputBlock * 4),
    lengths: module._malloc(8),
    outputBlock,
  };
}

const abandoned = new FinalizationRegistry<number>((state) => shared?.module._speex_resampler_destroy(state));

/** What a resampler needs to go on elsewhere: its position and the samples its filter still reaches. */
export interface ResamplerState {
  inputRate: number;
  /** Input samples taken so far. */
  position: number;
  /** The newest of them. */
  tail: Float32Array;
}

/**
 * One channel from any rate to 16 kHz, incremental. The filter's delay is taken out: output sample j lies at the time of
 * input sample j·inputRate/16000, so time stamps stay true. The same input gives the same bits at any chunking.
 *
 * Polyphase windowed sinc of the Speex resampler; `loadResampler` must have been awaited.
 */
export class Resampler {
  private readonly state: number;
  private readonly latency: number;
  private position = 0;
  private emitted = 0;
  private tail = new Float32Array(0);
  private readonly reach: number;
  private open = true;

  constructor(readonly inputRate: number) {
    if (!shared) throw new Error('loadResampler() has not been awaited');
    const { module, lengths } = shared;
    this.state = module._speex_resampler_init(1, inputRate, SAMPLE_RATE, QUALITY, lengths);
    if (this.state === 0)
      throw audioError(
        'BAD_SAMPLE_RATE',
        `no resampling from ${inputRate} Hz to ${SAMPLE_RATE} Hz`,
        'convert the audio to 16000 Hz',
      );
    module._speex_resampler_skip_zeros(this.state);
    this.latency = module._speex_resampler_get_input_latency(this.state);
    this.reach = 2 * this.latency + inputRate / gcd(inputRate, SAMPLE_RATE) + 16;
    abandoned.register(this, this.state, this);
  }

  /** Seconds between a sample's arrival and its output. */
  get delay(): number {
    return this.latency / this.inputRate;
  }

  /** Output samples that became complete. */
  push(samples: Float32Array): Float32Array {
    this.remember(samples);
    const out = this.run(samples);
    this.emitted += out.length;
    return out;
  }

  /** The rest, so that n input samples gave round(n·16000/inputRate) in all; the resampler is closed. */
  finish(): Float32Array {
    const total = Math.round((this.position * SAMPLE_RATE) / this.inputRate);
    const rest = this.run(new Float32Array(this.latency + Math.ceil(this.inputRate / SAMPLE_RATE) + 1));
    this.close();
    return rest.slice(0, Math.max(0, total - this.emitted));
  }

  snapshot(): ResamplerState {
    return { inputRate: this.inputRate, position: this.position, tail: this.tail.slice() };
  }

  /** A resampler that goes on where the snapshot was taken, bit for bit. */
  static restore(state: ResamplerState): Resampler {
    const resampler = new Resampler(state.inputRate);
    const period = state.inputRate / gcd(state.inputRate, SAMPLE_RATE);
    // Begin again at a phase-aligned sample that is old enough for every output still to come.
    const oldest = state.position - state.tail.length;
    const start = Math.ceil(oldest / period) * period;
    const again = resampler.run(state.tail.subarray(start - oldest));
    resampler.emitted = (start / period) * (SAMPLE_RATE / gcd(state.inputRate, SAMPLE_RATE)) + again.length;
    resampler.position = state.position;
    resampler.tail = state.tail.slice();
    return resampler;
  }

  close(): void {
    if (!this.open) return;
    this.open = false;
    abandoned.unregister(this);
    shared!.module._speex_resampler_destroy(this.state);
  }

  private remember(samples: Float32Array): void {
    this.position += samples.length;
    const keep = Math.min(this.reach, this.tail.length + samples.length);
    const tail = new Float32Array(keep);
    const fresh = Math.min(keep, samples.length);
    tail.set(this.tail.subarray(this.tail.length - (keep - fresh)));
    tail.set(samples.subarray(samples.length - fresh), keep - fresh);
    this.tail = tail;
  }

  private run(samples: Float32Array): Float32Array {
    if (!this.open) throw audioError('AUDIO_CLOSED', 'this resampler is closed', 'open another');
    const { module, input, output, lengths, outputBlock } = shared!;
    const parts: Float32Array[] = [];
    let total = 0;
    for (let at = 0; at < samples.length; ) {
      const part = samples.subarray(at, at + BLOCK);
      module.HEAPF32.set(part, input >> 2);
      module.HEAPU32[lengths >> 2] = part.length;
      module.HEAPU32[(lengths >> 2) + 1] = outputBlock;
      module._speex_resampler_process_float(this.state, 0, input, lengths, output, lengths + 4);
      at += module.HEAPU32[lengths >> 2];
      const made = module.HEAPU32[(lengths >> 2) + 1];
      if (made > 0) parts.push(module.HEAPF32.slice(output >> 2, (output >> 2) + made));
      total += made;
    }
    if (parts.length === 1) return parts[0];
    const out = new Float32Array(total);
    let at = 0;
    for (const part of parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
