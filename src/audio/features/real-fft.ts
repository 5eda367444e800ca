/**
 * Power spectrum of 512 real samples.
 *
 * The even and odd samples are packed into 256 complex numbers z[n] = x[2n] + i·x[2n+1]; one complex transform of half
 * the length and a recombination then give the real spectrum (Sorensen et al. 1987, "Real-valued fast Fourier transform
 * algorithms"). 256 = 4⁴, so the complex transform is four radix-4 passes (decimation in time) over digit-reversed
 * input. Everything is float64 in split arrays that are allocated once: no allocation and no branches a call.
 */

/** Samples a transform takes, zero-padded by the caller. */
export const FFT_SIZE = 512;
/** Bins 0 … 256 of the spectrum, from 0 Hz to half the sample rate. */
export const FFT_BINS = FFT_SIZE / 2 + 1;

const HALF = FFT_SIZE / 2;

/** One transform with its scratch memory; an instance may be shared by all callers of one thread. */
export class PowerSpectrum {
  private readonly re = new Float64Array(HALF);
  private readonly im = new Float64Array(HALF);
  private readonly cos = new Float64Array(HALF);
  private readonly sin = new Float64Array(HALF);
  /** cos and sin of 2πk/512 for the recombination. */
  private readonly postCos = new Float64Array(HALF / 2 + 1);
  private readonly postSin = new Float64Array(HALF / 2 + 1);
  private readonly reversed = new Uint16Array(HALF);

  constructor() {
    for (let k = 0; k < HALF; k++) {
      this.cos[k] = Math.cos((2 * Math.PI * k) / HALF);
      this.sin[k] = -Math.sin((2 * Math.PI * k) / HALF);
      let digits = 0;
      for (let rest = k, i = 0; i < 4; i++, rest >>= 2) digits = (digits << 2) | (rest & 3);
      this.reversed[k] = digits;
    }
    for (let k = 0; k <= HALF / 2; k++) {
      this.postCos[k] = Math.cos((2 * Math.PI * k) / FFT_SIZE);
      this.postSin[k] = Math.sin((2 * Math.PI * k) / FFT_SIZE);
    }
  }

  /**
   * |X[k]|² of `x` [512] into `out` [257], with X[k] = Σ x[n]·exp(−2πi·kn/512), not normalised.
   */
  compute(x: Float64Array, out: Float64Array): void {
    this.firstPass(x);
    for (let quarter = 4, step = HALF / 16; quarter < HALF; quarter *= 4, step /= 4) this.pass(quarter, step);
    this.recombine(out);
  }

  /** Digit reversal, packing and the butterflies without twiddles. */
  private firstPass(x: Float64Array): void {
    const { re, im, reversed } = this;
    for (let i = 0; i < HALF; i += 4) {
      const a = reversed[i] << 1;
      const b = reversed[i + 1] << 1;
      const c = reversed[i + 2] << 1;
      const d = reversed[i + 3] << 1;
      const acr = x[a] + x[c];
      const aci = x[a + 1] + x[c + 1];
      const amr = x[a] - x[c];
      const ami = x[a + 1] - x[c + 1];
      const bdr = x[b] + x[d];
      const bdi = x[b + 1] + x[d + 1];
      const bmr = x[b] - x[d];
      const bmi = x[b + 1] - x[d + 1];
      re[i] = acr + bdr;
      im[i] = aci + bdi;
      re[i + 1] = amr + bmi;
      im[i + 1] = ami - bmr;
      re[i + 2] = acr - bdr;
      im[i + 2] = aci - bdi;
      re[i + 3] = amr - bmi;
      im[i + 3] = ami + bmr;
    }
  }

  /** One radix-4 pass joining four transforms of length `quarter`; `step` is the stride in the twiddle table. */
  private pass(quarter: number, step: number): void {
    const { re, im, cos, sin } = this;
    const size = quarter * 4;
    for (let j = 0, k = 0; j < quarter; j++, k += step) {
      const c1 = cos[k];
      const s1 = sin[k];
      const c2 = cos[2 * k];
      const s2 = sin[2 * k];
      const c3 = cos[3 * k];
      const s3 = sin[3 * k];
      for (let i0 = j; i0 < HALF; i0 += size) {
        const i1 = i0 + quarter;
        const i2 = i1 + quarter;
        const i3 = i2 + quarter;
        const br = re[i1] * c1 - im[i1] * s1;
        const bi = re[i1] * s1 + im[i1] * c1;
        const cr = re[i2] * c2 - im[i2] * s2;
        const ci = re[i2] * s2 + im[i2] * c2;
        const dr = re[i3] * c3 - im[i3] * s3;
        const di = re[i3] * s3 + im[i3] * c3;
        const acr = re[i0] + cr;
        const aci = im[i0] + ci;
        const amr = re[i0] - cr;
        const ami = im[i0] - ci;
        const bdr = br + dr;
        const bdi = bi + di;
        const bmr = br - dr;
        const bmi = bi - di;
        re[i0] = acr + bdr;
        im[i0] = aci + bdi;
        re[i1] = amr + bmi;
        im[i1] = ami - bmr;
        re[i2] = acr - bdr;
        im[i2] = aci - bdi;
        re[i3] = amr - bmi;
        im[i3] = ami + bmr;
      }
    }
  }

  /**
   * X[k] = E[k] + W^k·O[k] and X[256−k] = conj(E[k] − W^k·O[k]), with E and O the transforms of the even and odd samples,
   * E = (Z[k] + conj Z[256−k])/2 and O = (Z[k] − conj Z[256−k])/2i.
   */
  private recombine(out: Float64Array): void {
    const { re, im, postCos, postSin } = this;
    const dc = re[0] + im[0];
    const nyquist = re[0] - im[0];
    out[0] = dc * dc;
    out[HALF] = nyquist * nyquist;
    for (let k = 1, m = HALF - 1; k <= HALF / 2; k++, m--) {
      const er = 0.5 * (re[k] + re[m]);
      const ei = 0.5 * (im[k] - im[m]);
      const or = 0.5 * (im[k] + im[m]);
      const oi = 0.5 * (re[m] - re[k]);
      const c = postCos[k];
      const s = postSin[k];
      const tr = or * c + oi * s;
      const ti = oi * c - or * s;
      const ar = er + tr;
      const ai = ei + ti;
      const br = er - tr;
      const bi = ei - ti;
      out[k] = ar * ar + ai * ai;
      out[m] = br * br + bi * bi;
    }
  }
}
