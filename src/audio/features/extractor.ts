/**
 * The front end of everything that listens: 16 kHz samples → one row of features every 10 ms.
 *
 * There is only the incremental form; a whole recording is pushed at once. The same samples give the same bits at any
 * chunking, because each frame is computed from the same 400 samples by the same operations.
 *
 * Row i is complete with sample 160·(i+1) and sees the 400 samples (25 ms) before it; zeros stand before the first.
 * So row i is what a listener has when hop i ends, and the algorithmic latency of a sound is at most 25 ms: 10 ms until
 * its hop is full, and the window's centre lies 12.5 ms back.
 */
import { LevelNormaliser, type LevelState } from './level.js';
import { MelBank } from './mel.js';
import { FFT_BINS, FFT_SIZE, PowerSpectrum } from './real-fft.js';

export const SAMPLE_RATE = 16_000;
/** Samples of a window and from one row to the next: 25 and 10 ms. */
export const WINDOW = 400;
export const HOP = 160;
export const MEL_BANDS = 80;
export const MEL_LOW = 20;
export const MEL_HIGH = 7600;
/** Smallest band energy before the logarithm, about that of 16-bit rounding noise. */
export const FLOOR = 1e-7;

/**
 * Columns of a feature row:
 *   0 … 79  (log-mel − running mean level) / 4
 *   80      (frame level − running maximum) / 4: how far under the loudest so far
 *   81      (running maximum − running mean) / 4: the range
 *   82      (running mean + 8) / 4: the absolute level, the one column that gain changes lastingly
 */
export const FEATURES = MEL_BANDS + 3;

export interface ExtractorOptions {
  /**
   * Half width of the uniform noise added to every sample, in steps of 16-bit audio (LSB = 1/32768). It lifts digital
   * silence to a natural floor, so that exact zeros are not a cue. It depends on the sample's position only. Default 2.
   */
  dither?: number;
  /** Seed of that noise. Default 1. */
  ditherSeed?: number;
}

export interface Frames {
  /** Rows that became complete. */
  count: number;
  /** [count, 80] natural log of mel energies. */
  logMel: Float32Array;
  /** [count, 83] model input, see FEATURES. */
  features: Float32Array;
}

/** All of an extractor that outlives a push; plain data. */
export interface ExtractorState {
  position: number;
  /** The newest WINDOW samples, dither included. */
  tail: Float64Array;
  level: LevelState;
}

const spectrum = new PowerSpectrum();
const bank = new MelBank({ sampleRate: SAMPLE_RATE, bands: MEL_BANDS, low: MEL_LOW, high: MEL_HIGH });
/** Periodic Hann. */
const window = Float64Array.from({ length: WINDOW }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / WINDOW));
const LSB = 1 / 32768;
/** Samples written behind the window before the buffer is moved to its start. */
const ROOM = 4096;

export class FeatureExtractor {
  private readonly buffer = new Float64Array(WINDOW + ROOM);
  /** Where the next sample goes. */
  private end = WINDOW;
  private position = 0;
  private readonly level = new LevelNormaliser();
  private readonly amplitude: number;
  private readonly seed: number;
  private readonly padded = new Float64Array(FFT_SIZE);
  private readonly power = new Float64Array(FFT_BINS);
  private readonly energies = new Float64Array(MEL_BANDS);

  constructor(options: ExtractorOptions = {}) {
    this.amplitude = (options.dither ?? 2) * LSB;
    this.seed = (options.ditherSeed ?? 1) | 0;
    // The silence before the first sample is dithered like any other.
    for (let i = 0; i < WINDOW; i++) this.buffer[i] = this.noise(i - WINDOW);
  }

  /** Samples taken so far. */
  get samples(): number {
    return this.position;
  }

  /** Any number of samples (16 kHz, full scale ±1) → the rows they complete. */
  push(samples: ArrayLike<number>): Frames {
    const count = Math.floor((this.position + samples.length) / HOP) - Math.floor(this.position / HOP);
    const logMel = new Float32Array(count * MEL_BANDS);
    const features = new Float32Array(count * FEATURES);
    let row = 0;
    for (let at = 0; at < samples.length; ) {
      const untilHop = HOP - (this.position % HOP);
      const step = Math.min(untilHop, samples.length - at);
      if (this.end + step > this.buffer.length) this.rewind();
      for (let i = 0; i < step; i++) this.buffer[this.end + i] = samples[at + i] + this.noise(this.position + i);
      this.end += step;
      this.position += step;
      at += step;
      if (step === untilHop) {
        this.frame(logMel, features, row);
        row++;
      }
    }
    return { count, logMel, features };
  }

  snapshot(): ExtractorState {
    return {
      position: this.position,
      tail: this.buffer.slice(this.end - WINDOW, this.end),
      level: this.level.snapshot(),
    };
  }

  /** Goes on where the snapshot was taken, bit for bit; the options must be the same. */
  static restore(state: ExtractorState, options: ExtractorOptions = {}): FeatureExtractor {
    const extractor = new FeatureExtractor(options);
    extractor.buffer.set(state.tail);
    extractor.position = state.position;
    extractor.level.restore(state.level);
    return extractor;
  }

  private rewind(): void {
    this.buffer.copyWithin(0, this.end - WINDOW, this.end);
    this.end = WINDOW;
  }

  /** Uniform in ±amplitude, a function of position and seed (an integer hash in the manner of splitmix32). */
  private noise(position: number): number {
    if (this.amplitude === 0) return 0;
    let z = Math.imul((position | 0) + Math.imul(this.seed, 0x9e3779b9), 0x9e3779b1);
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) / 2147483648) * this.amplitude;
  }

  private frame(logMel: Float32Array, features: Float32Array, row: number): void {
    const { buffer, padded, energies } = this;
    const from = this.end - WINDOW;
    for (let n = 0; n < WINDOW; n++) padded[n] = buffer[from + n] * window[n];
    spectrum.compute(padded, this.power);
    bank.apply(this.power, energies);
    let sum = 0;
    for (let b = 0; b < MEL_BANDS; b++) {
      const value = Math.log(energies[b] > FLOOR ? energies[b] : FLOOR);
      energies[b] = value;
      sum += value;
    }
    const energy = sum / MEL_BANDS;
    this.level.push(energy);
    const { mean, peak } = this.level;
    const melAt = row * MEL_BANDS;
    const at = row * FEATURES;
    for (let b = 0; b < MEL_BANDS; b++) {
      logMel[melAt + b] = energies[b];
      features[at + b] = (energies[b] - mean) * 0.25;
    }
    features[at + MEL_BANDS] = (energy - peak) * 0.25;
    features[at + MEL_BANDS + 1] = (peak - mean) * 0.25;
    features[at + MEL_BANDS + 2] = (mean + 8) * 0.25;
  }
}

/** Rows of a whole recording: one extractor, one push. */
export function extractAll(samples: ArrayLike<number>, options: ExtractorOptions = {}): Frames {
  return new FeatureExtractor(options).push(samples);
}
