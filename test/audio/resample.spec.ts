import { beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { loadResampler, Resampler } from '../../src/audio/decode/index.js';
import { tone } from './containers.js';

beforeAll(loadResampler);

function resampled(samples: Float32Array, rate: number): Float32Array {
  const resampler = new Resampler(rate);
  const first = resampler.push(samples);
  const rest = resampler.finish();
  const out = new Float32Array(first.length + rest.length);
  out.set(first);
  out.set(rest, first.length);
  return out;
}

/** Level of the output for a tone at full rate, in dB against the input, away from the ends. */
function gain(rate: number, hz: number): number {
  const out = resampled(tone(rate * 2, rate, hz, 0.5), rate);
  let sum = 0;
  for (let i = 8000; i < 24000; i++) sum += out[i] ** 2;
  return 10 * Math.log10(sum / 16000 / 0.125 + 1e-30);
}

describe('resampling to 16 kHz', () => {
  it.each([22050, 44100, 48000, 96000])('from %i Hz: flat pass band, deep stop band', (rate) => {
    for (const hz of [50, 300, 1000, 3000, 5000, 6500, 7200]) expect(Math.abs(gain(rate, hz))).toBeLessThan(0.02);
    for (const hz of [8400, 9000, 10000, 10900]) expect(gain(rate, hz)).toBeLessThan(-100);
  });

  it('from 8 kHz: flat to 3.6 kHz and no images', () => {
    for (const hz of [50, 1000, 3000, 3600]) expect(Math.abs(gain(8000, hz))).toBeLessThan(0.02);
    const out = resampled(tone(16000, 8000, 3000, 0.5), 8000);
    const fitted = tone(32000, 16000, 3000, 0.5);
    for (let i = 8000; i < 24000; i++) expect(Math.abs(out[i] - fitted[i])).toBeLessThan(1e-4);
  });

  it.each([8000, 11025, 44100, 48000])('keeps time: sample j lies at j/16000 s, from %i Hz', (rate) => {
    const out = resampled(tone(rate, rate, 440, 0.5), rate);
    expect(out).toHaveLength(16000);
    const wanted = tone(16000, 16000, 440, 0.5);
    for (let i = 2000; i < 14000; i++) expect(Math.abs(out[i] - wanted[i])).toBeLessThan(1e-4);
  });

  it('gives the same bits at any chunking and through snapshots, odd rates too', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(8000, 11025, 22050, 44100, 44101, 48000, 96000),
        fc.array(fc.integer({ min: 1, max: 4000 }), { minLength: 1, maxLength: 5 }),
        fc.nat(20),
        fc.integer(),
        (rate, cuts, snapshotAt, seed) => {
          const samples = Float32Array.from({ length: 30000 }, (_, i) => Math.sin(seed + i * i * 1e-5));
          const whole = resampled(samples, rate);
          let resampler = new Resampler(rate);
          const out: number[] = [];
          for (let at = 0, i = 0; at < samples.length; i++) {
            if (i === snapshotAt) {
              const state = structuredClone(resampler.snapshot());
              resampler.close();
              resampler = Resampler.restore(state);
            }
            const step = cuts[i % cuts.length];
            out.push(...resampler.push(samples.subarray(at, at + step)));
            at += step;
          }
          out.push(...resampler.finish());
          expect(Float32Array.from(out)).toEqual(whole);
        },
      ),
      { numRuns: 40, seed: 5 },
    );
  });

  it('delays by 4 ms from 48 kHz and 8 ms from 8 kHz', () => {
    for (const [rate, delay] of [
      [48000, 0.004],
      [44100, 0.004],
      [8000, 0.008],
    ]) {
      const resampler = new Resampler(rate);
      expect(resampler.delay).toBeLessThanOrEqual(delay * 1.02);
      resampler.close();
    }
  });
});
