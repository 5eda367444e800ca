import { describe, expect, it } from '@jest/globals';
import { LocalForecaster } from '../baselines/local.js';
import { seasonalNaive } from '../baselines/naive.js';
import { theta } from '../baselines/theta.js';
import { type ForecastRequest, STANDARD_LEVELS } from '../forecaster.js';
import { loadForecaster } from '../model/load.js';
import { gaussianQuantiles } from '../quantiles.js';
import { Calibrated, fitFactors, type Outcome } from './calibration.js';
import { FlipAverage } from './flip.js';
import { withinLimits } from './limits.js';
import { BacktestMixture, weightsOf } from './mixture.js';
import { ShortFallback } from './short.js';
import { DEFAULT_PARTS, StackedForecaster } from './stack.js';
import { averaged, phases, strideOf, thinned, type View, weekly } from './views.js';

const quantiles = [...STANDARD_LEVELS];
const request = (history: ArrayLike<number>, change: Partial<ForecastRequest> = {}): ForecastRequest => ({
  history: Float64Array.from(history),
  horizon: 6,
  season: 1,
  frequency: undefined,
  quantiles,
  ...change,
});
const naive = new LocalForecaster('seasonal-naive', seasonalNaive);
const noise = (i: number) => ((i * 7919) % 101) / 101 - 0.5;

describe('flip', () => {
  it('takes out what leans to one side whatever the series', async () => {
    const leaning = new LocalForecaster('leaning', (r) => ({
      quantiles: theta(r).quantiles.map((values) => values.map((v) => v + 3)),
    }));
    const asked = request(Float64Array.from({ length: 60 }, (_, i) => i + noise(i)));
    const [straight] = await new LocalForecaster('theta', theta).forecast([asked]);
    const [flipped] = await new FlipAverage(leaning).forecast([asked]);
    flipped!.quantiles.forEach((values, q) => {
      for (const [t, v] of values.entries()) expect(v).toBeCloseTo(straight!.quantiles[q]![t]!, 8);
    });
  });
});

describe('short', () => {
  it('answers one or two observations itself and keeps the order of the others', async () => {
    const answers = await new ShortFallback(naive).forecast([
      request([5]),
      request([1, 2, 3, 9]),
      request([Number.NaN, 10, Number.NaN, 14]),
    ]);
    const median = answers.map((a) => a.quantiles[4]![0]);
    expect(median).toEqual([5, 9, 14]);
    const width = (i: number, t: number) => answers[i]!.quantiles[8]![t]! - answers[i]!.quantiles[0]![t]!;
    expect(width(0, 0)).toBeGreaterThan(0);
    expect(width(2, 3)).toBeCloseTo(2 * width(2, 0));
    await expect(new ShortFallback(naive).forecast([request([Number.NaN])])).rejects.toMatchObject({
      code: 'NO_VALUES',
    });
  });
});

describe('limits', () => {
  const free = async (history: number[]) => (await naive.forecast([request(history)]))[0]!.quantiles;
  const limited = async (history: number[]) => withinLimits(Float64Array.from(history), await free(history));

  it('keeps counts whole and not negative', async () => {
    const values = (await limited([0, 3, 1, 0, 0, 2, 7, 0, 1, 0])).flatMap((q) => [...q]);
    expect(values.every((v) => Number.isInteger(v) && v >= 0)).toBe(true);
    expect(Math.max(...values)).toBeGreaterThan(0);
  });

  it('leaves series alone that were negative, are no counts, or are too short to say', async () => {
    const mixed = [-1.5, 2, 0.25, 3, 1, -2, 4, 0.5, 1];
    expect(await limited(mixed)).toEqual(await free(mixed));
    expect(await limited([1, 2, 5])).toEqual(await free([1, 2, 5]));
    const positive = [0.1, 2.5, 0.3, 0.1, 4, 0.2, 0.1, 0.4, 0.2];
    const [low] = await limited(positive);
    expect(Math.min(...low!)).toBe(0);
  });
});

describe('views', () => {
  const answer = async (view: View, asked: ForecastRequest) => {
    const plan = view(asked)!;
    return plan.combine(await naive.forecast(plan.requests));
  };
  /** Ten weeks of hours: what an hour brings depends on the day of the week. */
  const hours = (t: number) => 100 + 10 * (t % 24) + 50 * (Math.floor(t / 24) % 7);
  const week = request(
    Float64Array.from({ length: 1680 }, (_, t) => hours(t)),
    { season: 24, horizon: 48 },
  );

  it.each([
    ['weekly', weekly],
    ['phases', phases],
  ])('%s sees the day of the week', async (_, view) => {
    const [first] = await answer(view, week);
    for (const [t, v] of first!.entries()) expect(v).toBeCloseTo(hours(1680 + t), 6);
  });

  it('thinned and averaged bring long seasons to 24 steps', async () => {
    const wave = (season: number) => (t: number) => 50 + 20 * Math.sin((2 * Math.PI * t) / season);
    const day = (season: number, horizon: number) =>
      request(
        Float64Array.from({ length: 5 * season }, (_, t) => wave(season)(t)),
        { season, horizon },
      );
    const long = day(1440, 100);
    expect(thinned(long)!.requests.map(({ season, horizon }) => [season, horizon])).toEqual(
      Array.from({ length: 60 }, (_, p) => [24, p < 40 ? 2 : 1]),
    );
    const exact = (await answer(thinned, long))[4]!;
    for (const [t, v] of exact.entries()) expect(v).toBeCloseTo(wave(1440)(5 * 1440 + t), 6);
    const short = day(288, 100);
    // The network sees two seasons of 288 by itself.
    expect(thinned(short)).toBeUndefined();
    expect(averaged(short)!.requests[0]).toMatchObject({ season: 24, horizon: 9 });
    const smooth = (await answer(averaged, short))[4]!;
    for (const [t, v] of smooth.slice(0, 96).entries()) expect(Math.abs(v - wave(288)(5 * 288 + t))).toBeLessThan(1);
    expect([24, 48, 60, 96, 100, 144, 288, 1440].map(strideOf)).toEqual([1, 2, 5, 4, 1, 6, 12, 60]);
  });

  it('are not there where they make no sense', () => {
    for (const view of [weekly, phases, thinned, averaged]) {
      expect(view(request(new Float64Array(2000), { season: 12, horizon: 48 }))).toBeUndefined();
      expect(view(request(new Float64Array(100), { season: 288, horizon: 48 }))).toBeUndefined();
    }
  });
});

describe('the mixture', () => {
  it('weighs by prior and loss, and bears perfect, equal and impossible losses', () => {
    expect(weightsOf([2, 2], [1, 0.25])).toEqual([0.8, 0.2]);
    const [own, better, worse] = weightsOf([2, 1, 4], [1, 1, 1]);
    expect(better).toBeGreaterThan(own!);
    expect(worse).toBeLessThan(0.02);
    expect(weightsOf([0, 0], [1, 1])).toEqual([0.5, 0.5]);
    const finite = weightsOf([0, 3, Number.NaN, Number.POSITIVE_INFINITY], [1, 1, 1, 1]);
    expect(finite[0]).toBeCloseTo(1);
    expect(finite.slice(2)).toEqual([0, 0]);
  });

  it('finds by its backtest that the season is a week', async () => {
    const value = (t: number) => 10 * (t % 24) + 50 * (Math.floor(t / 24) % 7) + noise(t);
    const asked = request(
      Float64Array.from({ length: 1680 }, (_, t) => value(t)),
      { season: 24, horizon: 48 },
    );
    const error = async (views: boolean) => {
      const [result] = await new BacktestMixture(naive, { views, baselines: false }).forecast([asked]);
      return result!.quantiles[4]!.reduce((sum, v, t) => sum + Math.abs(v - value(1680 + t)), 0);
    };
    expect(await error(true)).toBeLessThan(0.1 * (await error(false)));
  });

  it('asks the inner forecaster nothing but the request where there is no history to test by', async () => {
    let asked = 0;
    const counting = new LocalForecaster('counting', (r) => {
      asked++;
      return seasonalNaive(r);
    });
    await new BacktestMixture(counting, { views: true, baselines: true }).forecast([request([1, 2, 3])]);
    expect(asked).toBe(1);
  });
});

describe('calibration', () => {
  const outcomes: Outcome[] = Array.from({ length: 400 }, (_, k) => ({
    frequency: 'M',
    // Errors are spread twice as wide as the quantiles say.
    quantiles: gaussianQuantiles(new Float64Array(6), new Float64Array(6).fill(1), quantiles),
    actual: Float64Array.from(
      { length: 6 },
      (_, t) =>
        gaussianQuantiles(new Float64Array(1), Float64Array.of(2), [((k * 6 + t) * 0.61803398875) % 1 || 0.5])[0]![0]!,
    ),
    scale: 1,
  }));

  it('finds how much too narrow quantiles are, believes many windows, and acts on steps and levels alone', async () => {
    const factors = fitFactors(outcomes);
    // 400 windows against a prior worth 40, and a limit of 1.8.
    for (const q of [0, 1, 7, 8]) expect(factors.monthly![0]![q]).toBeGreaterThan(1.65);
    expect(factors.monthly![0]![4]).toBe(1);
    expect(factors.monthly![1]).toEqual(new Array(9).fill(1));
    const few = fitFactors(outcomes.slice(0, 10)).monthly![0]![0]!;
    expect(Math.abs(few - 1)).toBeLessThan(0.25);

    const asked = [
      request([1, 4, 2, 5, 3], { frequency: 'M', horizon: 10 }),
      request([1, 4, 2, 5, 3], { frequency: 'D' }),
    ];
    const plain = await naive.forecast(asked);
    const [wide, same] = await new Calibrated(naive, factors).forecast(asked);
    expect(same!.quantiles).toEqual(plain[1]!.quantiles);
    const spread = (r: { quantiles: Float64Array[] }, t: number) => r.quantiles[8]![t]! - r.quantiles[4]![t]!;
    expect(spread(wide!, 0) / spread(plain[0]!, 0)).toBeCloseTo(factors.monthly![0]![8]!, 6);
    expect(spread(wide!, 9)).toBeCloseTo(spread(plain[0]!, 9), 9);
  });
});

describe('the whole stack on the shipped network', () => {
  it('is the network itself without parts, and ordered quantiles at any levels with all of them', async () => {
    const bare = await loadForecaster({ backend: 'wasm' });
    const levels = [0.025, 0.1, 0.5, 0.7, 0.995];
    const sales = Float64Array.from({ length: 150 }, (_, i) =>
      Math.max(0, Math.round(4 * Math.sin(i / 3) + 6 * noise(i))),
    );
    sales[70] = Number.NaN;
    const requests = [
      request(sales, { season: 12, frequency: 'M', quantiles: levels, horizon: 20 }),
      request([3], { quantiles: levels }),
      request(
        Float64Array.from({ length: 400 }, (_, t) => 20 + 5 * Math.sin(t / 4) + noise(t)),
        { season: 24, frequency: 'H', quantiles: [0.5] },
      ),
    ];
    const none = await new StackedForecaster(bare, []).forecast(requests);
    expect(none).toEqual(await bare.forecast(requests));
    const full = await new StackedForecaster(bare, ['flip', ...DEFAULT_PARTS]).forecast(requests);
    expect(full.map(({ quantiles: q }) => [q.length, q[0]!.length])).toEqual([
      [5, 20],
      [5, 6],
      [1, 6],
    ]);
    for (let t = 0; t < 20; t++) {
      const column = full[0]!.quantiles.map((values) => values[t]!);
      expect(column).toEqual([...column].sort((a, b) => a - b));
      expect(column[0]).toBeGreaterThanOrEqual(0);
      expect(Number.isInteger(column[2])).toBe(true);
    }
    expect(full[2]!.quantiles[0]!.every((v) => v > 10 && v < 30)).toBe(true);
    await bare.close();
  });
});
