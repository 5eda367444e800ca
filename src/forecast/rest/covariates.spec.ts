import { describe, expect, it } from '@jest/globals';
import { effectOf, fitCovariates } from './covariates.js';

/** Repeatable noise, roughly normal with standard deviation 1. */
function noise(seed: number): () => number {
  let state = seed;
  const uniform = () => {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    return state / 2 ** 32;
  };
  return () => Array.from({ length: 12 }, uniform).reduce((sum, u) => sum + u, 0) - 6;
}

const n = 200;
const draw = noise(7);
const promotion = Float64Array.from({ length: n + 10 }, () => (draw() > 1 ? 1 : 0));
const temperature = Float64Array.from({ length: n + 10 }, () => 15 + 5 * draw());
const rest = Float64Array.from({ length: n }, (_, t) => 100 + 0.3 * t + 8 * Math.sin((2 * Math.PI * t) / 7) + draw());

describe('effects of covariates', () => {
  it('are found beneath trend, season and noise', () => {
    const y = rest.map((value, t) => value + 25 * promotion[t]! - 2 * temperature[t]!);
    const { coefficients } = fitCovariates(y, [promotion, temperature], 7);
    expect(coefficients[0]).toBeGreaterThan(23.5);
    expect(coefficients[0]).toBeLessThan(26.5);
    expect(coefficients[1]).toBeCloseTo(-2, 0);
  });

  it('are near none where there are none, even for a column that grows as the series does', () => {
    const growing = Float64Array.from({ length: n }, (_, t) => 5 * t + draw());
    const { coefficients } = fitCovariates(rest, [temperature, growing], 7);
    expect(Math.abs(coefficients[0]! * 5)).toBeLessThan(0.4);
    expect(Math.abs(coefficients[1]!)).toBeLessThan(0.4);
  });

  it('are the same in any unit of series and covariate', () => {
    const y = rest.map((value, t) => value + 25 * promotion[t]!);
    const one = fitCovariates(y, [promotion], 7).coefficients[0]!;
    const other = fitCovariates(
      y.map((value) => value * 1e6),
      [promotion.map((value) => value * 1e-3)],
      7,
    ).coefficients[0]!;
    expect(other / 1e9).toBeCloseTo(one, 6);
  });

  it('are shared by columns that say the same, and stay finite', () => {
    const y = rest.map((value, t) => value + 20 * promotion[t]!);
    const { coefficients } = fitCovariates(y, [promotion, promotion.slice(), new Float64Array(n + 10).fill(3)], 7);
    expect(coefficients[0]! + coefficients[1]!).toBeGreaterThan(18);
    expect(coefficients[0]).toBeCloseTo(coefficients[1]!, 6);
    expect(coefficients[2]).toBe(0);
  });

  it('leave out rows with missing values, and find nothing in too few rows', () => {
    const y = rest.map((value, t) => (t % 5 === 0 ? Number.NaN : value + 25 * promotion[t]!));
    expect(fitCovariates(y, [promotion], 7).coefficients[0]).toBeGreaterThan(23);
    expect([...fitCovariates(y.subarray(0, 4), [promotion], 7).coefficients]).toEqual([0]);
  });

  it('add up over the horizon, measured from the mean of the history', () => {
    const fit = { coefficients: Float64Array.of(2), means: Float64Array.of(1) };
    expect([...effectOf(fit, [Float64Array.of(9, 9, 1, 4, Number.NaN)], 2, 3)]).toEqual([0, 6, 0]);
  });
});
