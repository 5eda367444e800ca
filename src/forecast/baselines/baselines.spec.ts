import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { ForecastRequest } from '../forecaster.js';
import { normalQuantile } from '../quantiles.js';
import { croston, sba } from './croston.js';
import { additiveIndices, deseasonalise, fillMissing } from './decompose.js';
import { ets, fitEts, forecastEts } from './ets.js';
import { LocalForecaster, MAX_HISTORY } from './local.js';
import { drift, naive, seasonalNaive } from './naive.js';
import { minimise } from './simplex.js';
import { fitSimpleSmoothing, forecastTheta, line, theta } from './theta.js';

const NAN = Number.NaN;
const LEVELS = [0.1, 0.5, 0.9];
const f = (...values: number[]) => Float64Array.of(...values);
const from = (n: number, value: (t: number) => number) => Float64Array.from({ length: n }, (_, t) => value(t));

function ask(history: Float64Array, horizon: number, season = 1): ForecastRequest {
  return { history, horizon, season, frequency: undefined, quantiles: LEVELS };
}

const METHODS = { theta, ets, seasonalNaive, naive, drift, croston, sba };

describe('seasonal naive', () => {
  it('repeats the last season, with the spread of seasonal differences growing by the season', () => {
    // Differences at lag 2: 2, 4, 2 → σ² = 8.
    const { quantiles } = seasonalNaive(ask(f(1, 10, 3, 14, 5), 5, 2));
    expect([...quantiles[1]!]).toEqual([14, 5, 14, 5, 14]);
    const z = normalQuantile(0.9);
    expect(quantiles[2]![0]).toBeCloseTo(14 + z * Math.sqrt(8));
    expect(quantiles[2]![1]).toBeCloseTo(5 + z * Math.sqrt(8));
    expect(quantiles[2]![2]).toBeCloseTo(14 + z * Math.sqrt(16));
    expect(quantiles[0]![4]).toBeCloseTo(14 - z * Math.sqrt(24));
  });

  it('looks further back where the last season has a hole', () => {
    const { quantiles } = seasonalNaive(ask(f(1, 2, 3, NAN), 2, 2));
    expect([...quantiles[1]!]).toEqual([3, 2]);
    expect([...seasonalNaive(ask(f(4, NAN, 5, NAN), 2, 2)).quantiles[1]!]).toEqual([5, 5]);
  });

  it('falls back to the last value where the season is longer than the history', () => {
    expect([...seasonalNaive(ask(f(1, 2, 3), 2, 12)).quantiles[1]!]).toEqual([3, 3]);
    expect([...naive(ask(f(1, 2, NAN), 2)).quantiles[1]!]).toEqual([2, 2]);
  });
});

describe('drift', () => {
  it('goes on along the line through first and last value', () => {
    // Differences 1, 3, 2 → drift 2, residuals −1, 1, 0 → σ² = 2/2 = 1.
    const { quantiles } = drift(ask(f(0, 1, 4, 6), 2));
    expect([...quantiles[1]!]).toEqual([8, 10]);
    expect(quantiles[2]![1]).toBeCloseTo(10 + normalQuantile(0.9) * Math.sqrt(2 * (1 + 2 / 3)));
  });

  it('counts missing values at the end as steps', () => {
    expect([...drift(ask(f(0, 1, 2, NAN, NAN), 1)).quantiles[1]!]).toEqual([5]);
  });
});

describe('simple exponential smoothing', () => {
  it('finds the smoothing constant and start of least squares', () => {
    const y = f(3, 5, 9, 20, 12, 17, 22, 23, 51, 41, 56, 75, 60, 75, 88);
    const sse = (alpha: number, start: number) => {
      let level = start;
      let sum = 0;
      for (const v of y) {
        sum += (v - level) ** 2;
        level += alpha * (v - level);
      }
      return sum;
    };
    const fit = fitSimpleSmoothing(y);
    expect(sse(fit.alpha, fit.start)).toBeCloseTo(fit.sse, 6);
    let best = Number.POSITIVE_INFINITY;
    for (let a = 0.01; a <= 0.99; a += 0.005) for (let s = -20; s <= 40; s += 0.25) best = Math.min(best, sse(a, s));
    expect(fit.sse).toBeLessThanOrEqual(best + 1e-9);
    expect(fit.sse).toBeGreaterThan(best * 0.99);
  });
});

describe('theta', () => {
  it('is the mean of the line and of smoothing the doubled curvature', () => {
    const y = f(2, 3, 7, 6, 9, 12, 10, 15);
    const { intercept, slope } = line(y);
    const bent = y.map((v, t) => 2 * v - intercept - slope * t);
    const { level } = fitSimpleSmoothing(bent);
    const { mean } = forecastTheta(y, 3);
    for (const h of [1, 2, 3]) expect(mean[h - 1]).toBeCloseTo((level + intercept + slope * (7 + h)) / 2, 12);
  });

  it('continues a season exactly and a straight line with half its slope', () => {
    const trend = theta(
      ask(
        from(30, (t) => 5 + 2 * t),
        3,
      ),
    ).quantiles[1]!;
    // Smoothing stays at the last value, 63, the line goes on to 65: Theta takes half the slope.
    expect(trend[0]).toBeCloseTo(64, 1);
    const seasonal = theta(
      ask(
        from(48, (t) => 10 + [0, 5, -3, -2][t % 4]!),
        6,
        4,
      ),
    ).quantiles;
    expect([...seasonal[1]!].map((v) => Math.round(v * 1e6) / 1e6)).toEqual([10, 15, 7, 8, 10, 15]);
  });

  it('multiplies seasonal indices of positive values and adds those of others', () => {
    const growing = deseasonalise(
      from(40, (t) => (100 + t) * [0.5, 1.5, 1.2, 0.8][t % 4]!),
      4,
    );
    expect(growing.kind).toBe('multiplicative');
    expect(growing.indices[0]).toBeCloseTo(0.5, 1);
    expect(growing.indices.reduce((a, b) => a + b)).toBeCloseTo(4);
    const signed = deseasonalise(
      from(40, (t) => [-5, 5, 1, -1][t % 4]!),
      4,
    );
    expect(signed.kind).toBe('additive');
    expect([...signed.indices].map((v) => Math.round(v))).toEqual([-5, 5, 1, -1]);
    expect(deseasonalise(f(3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8), 4).kind).toBe('none');
    expect(deseasonalise(f(1, 9, 1, 9, 1, 9, 1), 4).kind).toBe('none');
  });
});

describe('fillMissing', () => {
  it('takes the neighbouring seasons where both are there, a line elsewhere', () => {
    expect([...fillMissing(f(1, 10, 3, NAN, 5, 14), 2)]).toEqual([1, 10, 3, 12, 5, 14]);
    expect([...fillMissing(f(NAN, 1, NAN, 3, NAN), 2)]).toEqual([1, 2, 3]);
  });
});

describe('ets', () => {
  it('has the forecast variances of its class', () => {
    const fit = {
      form: { trend: 'damped' as const, season: 2 },
      alpha: 0.5,
      beta: 0.1,
      phi: 0.9,
      gamma: 0.2,
      level: 10,
      slope: 1,
      seasonal: f(1, -1),
      sse: 14,
      aicc: 0,
    };
    // n − parameters = 20 − 6 = 14 → σ = 1.
    const { mean, sd } = forecastEts(fit, 20, 3);
    expect(mean[0]).toBeCloseTo(10 + 0.9 + 1);
    expect(mean[1]).toBeCloseTo(10 + 0.9 + 0.81 - 1);
    const c1 = 0.5 + 0.1 * 0.9;
    const c2 = 0.5 + 0.1 * (0.9 + 0.81) + 0.2;
    expect(sd[0]).toBeCloseTo(1);
    expect(sd[1]).toBeCloseTo(Math.sqrt(1 + c1 ** 2));
    expect(sd[2]).toBeCloseTo(Math.sqrt(1 + c1 ** 2 + c2 ** 2));
  });

  it('continues line and season of a series made of them', () => {
    const y = from(60, (t) => 20 + 0.5 * t + [3, -1, -4, 2][t % 4]!);
    const { quantiles } = ets(ask(y, 8, 4));
    for (let h = 0; h < 8; h++) expect(quantiles[1]![h]).toBeCloseTo(20 + 0.5 * (60 + h) + [3, -1, -4, 2][h % 4]!, 1);
  });

  it('fits no worse than fixed parameters', () => {
    const y = from(50, (t) => 10 + Math.sin(t * 1.7) * 3 + 0.2 * t + Math.cos(t * t));
    const simple = fitSimpleSmoothing(y);
    expect(fitEts(y, { trend: 'none', season: 1 }).sse).toBeLessThanOrEqual(simple.sse * 1.001);
  });
});

describe('additiveIndices', () => {
  it('sum to zero', () => {
    const indices = additiveIndices(
      from(30, (t) => t * 0.3 + [4, 0, 1][t % 3]!),
      3,
    );
    expect(indices.reduce((a, b) => a + b)).toBeCloseTo(0, 10);
    expect(indices[0]! - indices[1]!).toBeCloseTo(4, 6);
  });
});

describe('minimise', () => {
  it('finds the bottom of a bent valley', () => {
    const rosenbrock = (x: Float64Array) => (1 - x[0]!) ** 2 + 100 * (x[1]! - x[0]! ** 2) ** 2;
    const best = minimise(rosenbrock, f(-1.2, 1), 1, 400);
    expect(best[0]).toBeCloseTo(1, 3);
    expect(best[1]).toBeCloseTo(1, 3);
  });
});

describe('croston', () => {
  it('smooths sizes and intervals apart', () => {
    // Sizes 4, 6 → 4 + .1·2 = 4.2; intervals 2, 3 → 2 + .1·1 = 2.1.
    expect(croston(ask(f(0, 4, 0, 0, 6, 0), 2)).mean![0]).toBeCloseTo(4.2 / 2.1);
    expect(sba(ask(f(0, 4, 0, 0, 6, 0), 2)).mean![0]).toBeCloseTo((4.2 / 2.1) * 0.95);
  });

  it('forecasts a mixture of zeros and sizes', () => {
    // Every fourth value is not zero: a median of zero, an upper decile among the sizes.
    const history = from(80, (t) => (t % 4 === 3 ? 10 : 0));
    const { quantiles, mean } = croston(ask(history, 3));
    expect([...quantiles[0]!, ...quantiles[1]!]).toEqual([0, 0, 0, 0, 0, 0]);
    expect(quantiles[2]![0]).toBeCloseTo(10);
    expect(mean![0]).toBeCloseTo(2.5);
  });

  it('forecasts zero when nothing was ever demanded', () => {
    const { quantiles, mean } = sba(ask(f(0, 0, 0), 2));
    expect([...quantiles.flatMap((q) => [...q]), ...mean!]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });
});

describe.each(Object.entries(METHODS))('%s', (name, method) => {
  const history = fc.array(
    fc.oneof(
      { weight: 9, arbitrary: fc.integer({ min: -1000, max: 1000 }) },
      { weight: 1, arbitrary: fc.constant(NAN) },
    ),
    { minLength: 1, maxLength: 60 },
  );
  const request = fc
    .tuple(history, fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 14 }))
    .filter(([values]) => values.some((v) => !Number.isNaN(v)));

  it('gives finite, monotone quantiles of the right shape for any history', () => {
    fc.assert(
      fc.property(request, ([values, horizon, season]) => {
        const { quantiles, mean } = method({
          ...ask(Float64Array.from(values), horizon, season),
          quantiles: [0.025, 0.1, 0.5, 0.9, 0.975],
        });
        expect(quantiles).toHaveLength(5);
        for (const q of quantiles) {
          expect(q).toHaveLength(horizon);
          expect(q.every(Number.isFinite)).toBe(true);
        }
        for (let k = 1; k < 5; k++)
          for (let h = 0; h < horizon; h++) expect(quantiles[k]![h]! >= quantiles[k - 1]![h]!).toBe(true);
        if (mean) expect(mean.every(Number.isFinite)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it('scales with the data', () => {
    fc.assert(
      fc.property(request, fc.constantFrom(1e-3, 7, 1e6), ([values, horizon, season], factor) => {
        const plain = method(ask(Float64Array.from(values), horizon, season)).quantiles;
        const scaled = method(
          ask(
            Float64Array.from(values, (v) => v * factor),
            horizon,
            season,
          ),
        ).quantiles;
        const size = Math.max(...plain.flatMap((q) => [...q].map(Math.abs)), 1e-9);
        for (const [k, q] of plain.entries())
          for (const [h, v] of q.entries())
            expect(Math.abs(scaled[k]![h]! / factor - v) / size).toBeLessThan(name === 'ets' ? 2e-2 : 1e-6);
      }),
      { numRuns: 40 },
    );
  });

  it('forecasts a constant as itself', () => {
    const expected = name === 'sba' ? 5 * 0.95 : 5;
    for (const q of method(
      ask(
        from(40, () => 5),
        4,
        7,
      ),
    ).quantiles)
      for (const v of q) expect(v).toBeCloseTo(expected, 6);
  });
});

describe('LocalForecaster', () => {
  const forecaster = new LocalForecaster('naive', naive);

  it('answers requests in order', async () => {
    const results = await forecaster.forecast([ask(f(1, 2), 1), ask(f(7, 9), 2)]);
    expect(results.map((r) => [...r.quantiles[1]!])).toEqual([[2], [9, 9]]);
  });

  it('looks past a recent stretch without values', async () => {
    const history = new Float64Array(MAX_HISTORY + 10).fill(NAN);
    history[3] = 4;
    const [result] = await forecaster.forecast([ask(history, 1)]);
    expect(result!.quantiles[1]![0]).toBe(4);
  });

  it.each([
    ['no value', { history: f(NAN) }, 'NO_VALUES'],
    ['infinity', { history: f(1, Number.POSITIVE_INFINITY) }, 'NOT_FINITE'],
    ['horizon 0', { horizon: 0 }, 'BAD_HORIZON'],
    ['levels out of order', { quantiles: [0.5, 0.1] }, 'BAD_LEVEL'],
    ['level 1', { quantiles: [1] }, 'BAD_LEVEL'],
  ])('refuses %s', async (_, change, code) => {
    await expect(forecaster.forecast([{ ...ask(f(1, 2), 1), ...change }])).rejects.toMatchObject({ code });
  });
});
