import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  extractAll,
  FEATURES,
  FeatureExtractor,
  FFT_BINS,
  FFT_SIZE,
  FLOOR,
  type Frames,
  HOP,
  hzToMel,
  LevelNormaliser,
  MEL_BANDS,
  MelBank,
  melToHz,
  PowerSpectrum,
  WINDOW,
} from './index.js';

/** Deterministic numbers in ±1. */
function noise(length: number, seed: number): Float32Array {
  let state = seed | 1;
  return Float32Array.from({ length }, () => {
    state = Math.imul(state, 1664525) + 1013904223;
    return state / 2147483648;
  });
}

describe('power spectrum', () => {
  it('agrees with the definition of the discrete Fourier transform', () => {
    const x = Float64Array.from(noise(FFT_SIZE, 3));
    const out = new Float64Array(FFT_BINS);
    new PowerSpectrum().compute(x, out);
    for (let k = 0; k < FFT_BINS; k++) {
      let re = 0;
      let im = 0;
      for (let n = 0; n < FFT_SIZE; n++) {
        re += x[n] * Math.cos((2 * Math.PI * ((k * n) % FFT_SIZE)) / FFT_SIZE);
        im -= x[n] * Math.sin((2 * Math.PI * ((k * n) % FFT_SIZE)) / FFT_SIZE);
      }
      expect(Math.abs(out[k] - (re * re + im * im))).toBeLessThan(1e-9);
    }
  });

  it('keeps energy (Parseval) for any input', () => {
    const transform = new PowerSpectrum();
    const out = new Float64Array(FFT_BINS);
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: FFT_SIZE, maxLength: FFT_SIZE }),
        (x) => {
          transform.compute(Float64Array.from(x), out);
          let spectral = out[0] + out[FFT_BINS - 1];
          for (let k = 1; k < FFT_BINS - 1; k++) spectral += 2 * out[k];
          const temporal = x.reduce((s, v) => s + v * v, 0) * FFT_SIZE;
          expect(Math.abs(spectral - temporal)).toBeLessThanOrEqual(1e-9 * (1 + temporal));
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe('mel bank', () => {
  const bank = new MelBank({ sampleRate: 16000, bands: 80, low: 20, high: 7600 });

  it('uses the HTK scale: 1000 Hz is 1000 mel', () => {
    expect(hzToMel(1000)).toBeCloseTo(999.99, 1);
    expect(melToHz(hzToMel(3456))).toBeCloseTo(3456, 8);
  });

  it('puts a single bin into the one or two triangles that hold it, with weights that add up to 1', () => {
    const power = new Float64Array(FFT_BINS);
    const out = new Float64Array(80);
    // Above 1 kHz triangles are wider than a bin, so each inner bin lies on exactly two slopes.
    for (let k = 40; k < 235; k++) {
      power.fill(0);
      power[k] = 1;
      bank.apply(power, out);
      const hit = out.filter((v) => v > 0);
      expect(hit.length).toBeLessThanOrEqual(2);
      expect(hit.reduce((s, v) => s + v, 0)).toBeCloseTo(1, 6);
    }
  });

  it('has no dead band and ignores what lies outside 20 … 7600 Hz', () => {
    const power = new Float64Array(FFT_BINS).fill(1);
    const out = new Float64Array(80);
    bank.apply(power, out);
    expect(Math.min(...out)).toBeGreaterThan(0);
    power.fill(0);
    power[0] = 1;
    for (let k = 244; k < FFT_BINS; k++) power[k] = 1;
    bank.apply(power, out);
    expect(Math.max(...out)).toBe(0);
  });
});

describe('level', () => {
  it('is a plain mean at first and forgets with a memory of 3 s', () => {
    const level = new LevelNormaliser();
    for (const e of [2, 4, 9]) level.push(e);
    expect(level.mean).toBeCloseTo(5, 12);
    for (let i = 0; i < 1000; i++) level.push(0);
    const before = level.mean;
    for (let i = 0; i < 300; i++) level.push(1);
    // (1 − 1/300)^300 = 1/e of the step remains.
    expect((1 - level.mean) / (1 - before)).toBeCloseTo(Math.exp(-1), 2);
  });

  it('lets the maximum fall by 20 dB in 10 s', () => {
    const level = new LevelNormaliser();
    level.push(0);
    for (let i = 0; i < 1000; i++) level.push(-100);
    expect((level.peak * 10) / Math.LN10).toBeCloseTo(-20, 6);
  });
});

function joined(parts: Frames[]): Frames {
  const join = (pick: (f: Frames) => Float32Array) => Float32Array.from(parts.flatMap((p) => [...pick(p)]));
  return {
    count: parts.reduce((s, p) => s + p.count, 0),
    logMel: join((f) => f.logMel),
    features: join((f) => f.features),
  };
}

describe('extractor', () => {
  it('gives the same bits at any chunking and through snapshots', () => {
    const samples = noise(30_000, 9).map((v, i) => v * (i % 9000 < 4000 ? 0.3 : 0.001));
    const whole = extractAll(samples);
    expect(whole.count).toBe(Math.floor(30_000 / HOP));
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 6000 }), { minLength: 1, maxLength: 6 }),
        fc.nat(30),
        (cuts, at) => {
          let extractor = new FeatureExtractor();
          const parts: Frames[] = [];
          for (let from = 0, i = 0; from < samples.length; i++) {
            if (i === at) extractor = FeatureExtractor.restore(structuredClone(extractor.snapshot()));
            const step = cuts[i % cuts.length];
            parts.push(extractor.push(samples.subarray(from, from + step)));
            from += step;
          }
          expect(joined(parts)).toEqual(whole);
        },
      ),
      { numRuns: 25, seed: 4 },
    );
  });

  it('is causal: row i does not change with any sample from 160·(i+1) on', () => {
    const a = noise(8000, 1);
    const b = a.slice();
    for (let i = 160 * 20; i < b.length; i++) b[i] = 0;
    const [fa, fb] = [extractAll(a), extractAll(b)];
    expect(fa.features.subarray(0, 20 * FEATURES)).toEqual(fb.features.subarray(0, 20 * FEATURES));
    expect(fa.features.subarray(20 * FEATURES, 21 * FEATURES)).not.toEqual(
      fb.features.subarray(20 * FEATURES, 21 * FEATURES),
    );
  });

  it('computes the log-mel of a frame as the definition says', () => {
    const samples = noise(4000, 5).map((v) => v * 0.2);
    const { logMel } = extractAll(samples, { dither: 0 });
    const row = 10;
    const padded = new Float64Array(FFT_SIZE);
    for (let n = 0; n < WINDOW; n++) {
      padded[n] = samples[(row + 1) * HOP - WINDOW + n] * (0.5 - 0.5 * Math.cos((2 * Math.PI * n) / WINDOW));
    }
    const power = new Float64Array(FFT_BINS);
    new PowerSpectrum().compute(padded, power);
    const energies = new Float64Array(MEL_BANDS);
    new MelBank({ sampleRate: 16000, bands: 80, low: 20, high: 7600 }).apply(power, energies);
    for (let b = 0; b < MEL_BANDS; b++) {
      expect(logMel[row * MEL_BANDS + b]).toBeCloseTo(Math.log(Math.max(FLOOR, energies[b])), 5);
    }
  });

  it('stays finite for silence and for extreme input, and dither lifts digital zeros', () => {
    const zeros = new Float32Array(3200);
    const dithered = extractAll(zeros);
    expect(Math.min(...dithered.logMel)).toBeGreaterThan(Math.log(FLOOR) - 1e-4);
    expect(new Set(dithered.logMel).size).toBeGreaterThan(1000);
    expect(new Set(extractAll(zeros, { dither: 0 }).logMel).size).toBe(1);
    for (const level of [16, -16]) {
      expect(extractAll(new Float32Array(3200).fill(level)).features.every(Number.isFinite)).toBe(true);
    }
  });

  it('takes gain out of all columns but the last', () => {
    const quiet = noise(16_000, 7).map((v) => v * 0.02);
    const loud = quiet.map((v) => v * 10);
    const [fa, fb] = [extractAll(quiet, { dither: 0 }), extractAll(loud, { dither: 0 })];
    for (let i = 0; i < fa.features.length; i++) {
      const difference = fb.features[i] - fa.features[i];
      if (i % FEATURES === FEATURES - 1) expect(difference).toBeCloseTo(Math.log(100) / 4, 3);
      else expect(Math.abs(difference)).toBeLessThan(1e-3);
    }
  });
});
