import { describe, expect, it } from '@jest/globals';
import { geometricMean, mase, pinball, seasonalError, TaskScorer } from './metrics.js';

const f = (...values: number[]) => Float64Array.of(...values);
const NAN = Number.NaN;

describe('seasonalError', () => {
  it('is the mean absolute difference at the seasonal lag', () => {
    expect(seasonalError(f(1, 3, 2, 6), 1)).toBeCloseTo((2 + 1 + 4) / 3);
    expect(seasonalError(f(1, 3, 2, 6), 2)).toBeCloseTo((1 + 3) / 2);
  });

  it('leaves out pairs with a missing value, and falls back to lag 1 when the season is too long', () => {
    expect(seasonalError(f(1, NAN, 2, 6), 1)).toBe(4);
    expect(seasonalError(f(1, 3, 2, 6), 4)).toBeCloseTo(7 / 3);
    expect(seasonalError(f(5, 5, 5), 1)).toBe(0);
  });
});

describe('mase', () => {
  it('scales the mean absolute error of the known values', () => {
    // Errors 1 and 3 over a scale of 2.
    expect(mase(f(0, 2, 0, 2), f(5, NAN, 9), f(4, 100, 6), 1)).toBe(1);
  });

  it('is undefined for a constant history and for a horizon without values', () => {
    expect(mase(f(1, 1, 1), f(2), f(1), 1)).toBeUndefined();
    expect(mase(f(1, 2, 1), f(NAN), f(1), 1)).toBeUndefined();
  });
});

describe('pinball', () => {
  it('weighs errors above by the level and below by the rest', () => {
    expect(pinball(10, 8, 0.9)).toBeCloseTo(1.8);
    expect(pinball(8, 10, 0.9)).toBeCloseTo(0.2);
    expect(pinball(3, 3, 0.2)).toBe(0);
  });
});

describe('TaskScorer', () => {
  it('pools losses over series, but averages MASE over them', () => {
    const scorer = new TaskScorer(1, [0.1, 0.5, 0.9], [0.1, 0.5, 0.9], [80]);
    // Series 1: scale 1; actual 10 and 20, median off by 1 and 2, interval ± 1 holds the first only.
    scorer.add(f(0, 1, 2), f(10, 20), [f(8, 17), f(9, 18), f(10, 19)]);
    // Series 2: scale 2; actual −30, all quantiles right.
    scorer.add(f(0, 2, 4), f(-30), [f(-30), f(-30), f(-30)]);
    const { mase: m, wql, coverage, count } = scorer.score();
    expect(m).toBeCloseTo((1.5 + 0) / 2);
    // 2·pinball: level .1 → .4 + .6; level .5 → 1 + 2; level .9 → 0 + 1.8. Mean over three levels, over 60.
    expect(wql).toBeCloseTo((0.4 + 0.6 + 1 + 2 + 0 + 1.8) / 3 / 60);
    expect(coverage[80]).toBeCloseTo(2 / 3);
    expect(count).toBe(2);
  });

  it('makes WQL of a point forecast its normalised deviation', () => {
    const levels = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
    const scorer = new TaskScorer(1, levels, levels, []);
    scorer.add(
      f(1, 2),
      f(4, 6),
      levels.map(() => f(5, 9)),
    );
    expect(scorer.score().wql).toBeCloseTo((1 + 3) / 10);
  });

  it('refuses forecasts that are not finite, and levels that are not there', () => {
    const scorer = new TaskScorer(1, [0.5], [0.5], []);
    expect(() => scorer.add(f(1, 2), f(1), [f(NAN)])).toThrow(/not finite/);
    expect(() => new TaskScorer(1, [0.5], [0.1], [])).toThrow(/0.1/);
  });
});

describe('geometricMean', () => {
  it('is the root of the product', () => {
    expect(geometricMean([1, 4])).toBeCloseTo(2);
    expect(geometricMean([])).toBeNaN();
  });
});
