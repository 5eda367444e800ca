import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { STANDARD_LEVELS } from './forecaster.js';
import {
  gaussianQuantiles,
  intervalLevels,
  levelsOfIntervals,
  makeMonotone,
  normalQuantile,
  quantilesAt,
} from './quantiles.js';

/** Nine arrays of one step each. */
const step = (values: number[]) => values.map((v) => Float64Array.of(v));

describe('normalQuantile', () => {
  it.each([
    [0.5, 0],
    [0.9, 1.2815515655446004],
    [0.975, 1.959963984540054],
    [0.999, 3.090232306167813],
    [1e-6, -4.753424308822899],
  ])('z(%d) = %d', (level, z) => {
    expect(normalQuantile(level)).toBeCloseTo(z, 7);
  });

  it('is odd around one half and refuses the ends', () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-6, max: 0.5, noNaN: true }), (p) => {
        expect(normalQuantile(1 - p)).toBeCloseTo(-normalQuantile(p), 6);
      }),
    );
    expect(() => normalQuantile(0)).toThrow(RangeError);
    expect(() => normalQuantile(1)).toThrow(RangeError);
  });
});

describe('quantilesAt', () => {
  it('returns known levels unchanged and is exact for a normal distribution in between', () => {
    const known = STANDARD_LEVELS;
    const values = gaussianQuantiles(Float64Array.of(10), Float64Array.of(3), known);
    const [same, between] = quantilesAt(known, values, [0.3, 0.55]);
    expect(same![0]).toBe(values[2]![0]);
    expect(between![0]).toBeCloseTo(10 + 3 * normalQuantile(0.55), 10);
  });

  it('continues the tails exponentially: each halving of the rest adds the step from .8 to .9', () => {
    const values = step([-9, -7, -3, -2, 0, 2, 3, 7, 9]);
    const [low, high, higher] = quantilesAt(STANDARD_LEVELS, values, [0.05, 0.95, 0.975]);
    expect(high![0]).toBeCloseTo(11, 10);
    expect(higher![0]).toBeCloseTo(13, 10);
    expect(low![0]).toBeCloseTo(-11, 10);
  });

  it('continues a Gaussian tail as the same normal distribution', () => {
    const values = gaussianQuantiles(Float64Array.of(-2), Float64Array.of(0.5), STANDARD_LEVELS);
    const [low, high] = quantilesAt(STANDARD_LEVELS, values, [0.025, 0.975], 'gaussian');
    expect(low![0]).toBeCloseTo(-2 - 0.5 * 1.959964, 5);
    expect(high![0]).toBeCloseTo(-2 + 0.5 * 1.959964, 5);
  });

  it('never crosses quantiles, whatever non-crossing values it starts from', () => {
    const values = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 9, maxLength: 9 });
    const levels = fc.uniqueArray(fc.double({ min: 0.001, max: 0.999, noNaN: true }), { minLength: 2, maxLength: 20 });
    fc.assert(
      fc.property(values, levels, fc.constantFrom('exponential' as const, 'gaussian' as const), (v, wanted, tail) => {
        const sorted = step([...v].sort((a, b) => a - b));
        const order = [...wanted].sort((a, b) => a - b);
        const out = quantilesAt(STANDARD_LEVELS, sorted, order, tail).map((q) => q[0]!);
        for (let i = 1; i < out.length; i++) expect(out[i]! - out[i - 1]!).toBeGreaterThanOrEqual(-1e-6);
      }),
    );
  });

  it('keeps a distribution without spread without spread', () => {
    expect(quantilesAt(STANDARD_LEVELS, step(Array(9).fill(4)), [0.001, 0.42, 0.999]).map((q) => q[0])).toEqual([
      4, 4, 4,
    ]);
  });
});

describe('makeMonotone', () => {
  it('sorts each step over the levels', () => {
    const out = makeMonotone([Float64Array.of(3, 1), Float64Array.of(1, 2), Float64Array.of(2, 3)]);
    expect(out.map((q) => [...q])).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
  });
});

describe('levels of intervals', () => {
  it('turns percentages into symmetric levels with the median', () => {
    expect(levelsOfIntervals([80, 95])).toEqual([0.025, 0.1, 0.5, 0.9, 0.975]);
    expect(intervalLevels(99.9)).toEqual([0.0005, 0.9995]);
  });

  it('refuses percentages outside (0, 100)', () => {
    for (const bad of [0, 100, -5, Number.NaN]) expect(() => levelsOfIntervals([bad])).toThrow(/percentage/);
  });
});
