import { FFT_BINS, FFT_SIZE } from './real-fft.js';

export interface MelOptions {
  sampleRate: number;
  /** Number of triangles. */
  bands: number;
  /** Lower and upper edge in Hz. */
  low: number;
  high: number;
}

/** Mel scale of O'Shaughnessy 1987, as HTK writes it: 2595·log10(1 + f/700). */
export function hzToMel(hz: number): number {
  return 2595 * Math.log10(1 + hz / 700);
}

export function melToHz(mel: number): number {
  return 700 * (10 ** (mel / 2595) - 1);
}

/**
 * Triangles of height 1, evenly spaced and half overlapping on the mel scale, evaluated at the bin frequencies in mel
 * (Young et al., The HTK Book, section 5.6). Kept sparse: each band is one run of bins.
 */
export class MelBank {
  private readonly first: Int32Array;
  private readonly start: Int32Array;
  private readonly weights: Float64Array;
  readonly bands: number;

  constructor(options: MelOptions) {
    const { sampleRate, bands, low, high } = options;
    this.bands = bands;
    this.first = new Int32Array(bands);
    this.start = new Int32Array(bands + 1);
    const from = hzToMel(low);
    const step = (hzToMel(high) - from) / (bands + 1);
    const weights: number[] = [];
    for (let b = 0; b < bands; b++) {
      const centre = from + (b + 1) * step;
      this.start[b] = weights.length;
      this.first[b] = FFT_BINS;
      for (let k = 1; k < FFT_BINS; k++) {
        const weight = 1 - Math.abs(hzToMel((k * sampleRate) / FFT_SIZE) - centre) / step;
        if (weight <= 0) continue;
        this.first[b] = Math.min(this.first[b], k);
        weights.push(weight);
      }
      // The lowest triangles are narrower than a bin: those between two bins read the nearest one, so that no band is dead.
      if (weights.length === this.start[b]) {
        this.first[b] = Math.max(1, Math.round((melToHz(centre) * FFT_SIZE) / sampleRate));
        weights.push(1);
      }
    }
    this.start[bands] = weights.length;
    this.weights = Float64Array.from(weights);
  }

  /** Band energies of `power` [257] into `out` [bands]. */
  apply(power: Float64Array, out: Float64Array): void {
    const { first, start, weights } = this;
    for (let b = 0; b < this.bands; b++) {
      let sum = 0;
      for (let w = start[b], k = first[b]; w < start[b + 1]; w++, k++) sum += weights[w] * power[k];
      out[b] = sum;
    }
  }
}
