import type { Account } from '../../platform/account.js';
import { intervalLevels } from '../quantiles.js';
import type { ForecastService, WindowForecast } from '../rest/forecast-service.js';
import { jsonNumbers, levelsWithMedian } from '../rest/levels.js';
import { checkWindows } from '../rest/resolve-series.js';
import { backtestCutoffs, cutoffsOver, rollingForecasts, strideFor } from '../rest/rolling.js';
import { invalid } from './invalid.js';
import { resolveModel } from './models.js';
import { type FlatSeries, readSeries } from './payload.js';
import type { CrossValidationInput, ForecastInput, HistoricInput } from './schemas.js';

/** Highest level that intervals are computed at; the protocol allows anything below 100. */
const MAX_LEVEL = 99.9998;

const coverage = (level: number) => Math.min(level, MAX_LEVEL);

/** Levels as they were sent, each once; undefined for none. */
export const uniqueLevels = (levels: readonly number[] | null | undefined) =>
  levels && levels.length > 0 ? [...new Set(levels)] : undefined;

export const quantilesOf = (levels: readonly number[] | undefined) => levelsWithMedian((levels ?? []).map(coverage));

/** Flat columns of forecasts, one after another. */
export class FlatForecast {
  readonly mean: (number | null)[] = [];
  readonly intervals: Record<string, (number | null)[]> | null;
  private readonly contributions: (number | null)[][] = [];

  constructor(
    private readonly levels: readonly number[] | undefined,
    private readonly quantiles: readonly number[],
  ) {
    this.intervals = levels ? {} : null;
    for (const level of levels ?? []) {
      this.intervals![`lo-${level}`] = [];
      this.intervals![`hi-${level}`] = [];
    }
  }

  /** Adds the first `count` steps of a forecast. */
  add(forecast: WindowForecast, count: number): void {
    const at = (level: number) => jsonNumbers(forecast.quantiles[this.quantiles.indexOf(level)]!.subarray(0, count));
    append(this.mean, forecast.mean ? jsonNumbers(forecast.mean.subarray(0, count)) : at(0.5));
    for (const level of this.levels ?? []) {
      const [low, high] = intervalLevels(coverage(level));
      append(this.intervals![`lo-${level}`]!, at(low));
      append(this.intervals![`hi-${level}`]!, at(high));
    }
  }

  /** Adds the parts of a forecast that its features explain, and what is left as the last row. */
  explain(forecast: WindowForecast, features: readonly number[][], count: number): void {
    const point = forecast.mean ?? forecast.quantiles[this.quantiles.indexOf(0.5)]!;
    const base = Float64Array.from(point.subarray(0, count));
    const rows = features.map((columns) => {
      const row = new Float64Array(count);
      for (const j of columns) {
        for (let k = 0; k < count; k++) row[k]! += forecast.contributions?.[j]?.[k] ?? 0;
      }
      for (let k = 0; k < count; k++) base[k]! -= row[k]!;
      return row;
    });
    [...rows, base].forEach((row, i) => {
      this.contributions[i] ??= [];
      append(this.contributions[i]!, jsonNumbers(row));
    });
  }

  get explained(): (number | null)[][] | null {
    return this.contributions.length > 0 ? this.contributions : null;
  }
}

/** `push` of many arguments would overflow the stack. */
export function append<T>(to: T[], from: readonly T[]): void {
  for (const value of from) to.push(value);
}

/** Columns of the regression by feature of X: a feature of categories has several, one of a single category none. */
const columnsOfFeatures = ({ columns }: FlatSeries, count: number) =>
  Array.from({ length: count }, (_, feature) =>
    columns.flatMap(({ name, source }, j) => ((source ?? name) === String(feature) ? [j] : [])),
  );

/** Share of each feature in what all features explain, as these clients know it; null without features. */
function weightsOf(
  forecasts: readonly WindowForecast[],
  series: readonly FlatSeries[],
  count: number,
): number[] | null {
  if (count === 0) return null;
  const weights = new Array<number>(count).fill(0);
  forecasts.forEach((forecast, i) => {
    columnsOfFeatures(series[i]!, count).forEach((columns, feature) => {
      for (const j of columns)
        for (const value of forecast.contributions?.[j] ?? []) weights[feature]! += Math.abs(value);
    });
  });
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return total > 0 ? weights.map((weight) => weight / total) : weights;
}

export const tokens = (input: number, output: number) => ({
  input_tokens: input,
  output_tokens: output,
  finetune_tokens: 0,
});

/** POST v2/forecast. */
export async function forecast(service: ForecastService, account: Account, input: ForecastInput, signal: AbortSignal) {
  const { h, freq } = input;
  const model = resolveModel(input);
  // Features without a future are historic, all of them where there is no X_future.
  const payload = { ...input.series, X_future: input.series.X_future ?? [] };
  const series = await readSeries(account, payload, freq, h, null, signal);
  const levels = uniqueLevels(input.level);
  const quantiles = quantilesOf(levels);
  const windows = series.map(({ values, season, frequency, columns }) => ({
    history: values,
    season,
    frequency,
    columns,
  }));
  const forecasts = await service.forecast(windows, { horizon: h, quantiles, owner: account.owner, model, signal });
  const flat = new FlatForecast(levels, quantiles);
  const features = input.series.X?.length ?? 0;
  forecasts.forEach((result, i) => {
    flat.add(result, h);
    if (input.feature_contributions) flat.explain(result, columnsOfFeatures(series[i]!, features), h);
  });
  return {
    mean: flat.mean,
    intervals: flat.intervals,
    weights_x: weightsOf(forecasts, series, features),
    feature_contributions: flat.explained,
    ...tokens(input.series.y.length, flat.mean.length),
  };
}

/** POST v2/cross_validation. */
export async function crossValidation(
  service: ForecastService,
  account: Account,
  input: CrossValidationInput,
  signal: AbortSignal,
) {
  if (input.full_history) return inSample(service, account, input, input.hist_exog, signal);
  const { h, freq } = input;
  const windows = input.n_windows ?? 1;
  const step = input.step_size ?? h;
  const model = resolveModel(input);
  checkWindows(windows * input.series.sizes.length, h);
  const series = await readSeries(account, input.series, freq, h, input.hist_exog, signal);
  const rolling = series.map((one, i) => {
    const cutoffs = backtestCutoffs(one.values.length, h, windows, step);
    const first = one.values.findIndex((value) => !Number.isNaN(value));
    if (cutoffs[0]! > first) return { ...one, cutoffs };
    throw invalid(
      `series ${i} has ${one.values.length} values, too few for ${windows} windows of ${h}, ${step} apart`,
      `series.sizes[${i}]`,
    );
  });
  const levels = uniqueLevels(input.level);
  const quantiles = quantilesOf(levels);
  const rolled = await rollingForecasts(service, rolling, {
    horizon: h,
    quantiles,
    owner: account.owner,
    model,
    signal,
  });
  const flat = new FlatForecast(levels, quantiles);
  const idxs: number[] = [];
  const features = input.series.X?.length ?? 0;
  for (const { series: i, cutoff, forecast: result } of rolled) {
    flat.add(result, h);
    if (input.feature_contributions) flat.explain(result, columnsOfFeatures(series[i]!, features), h);
    for (let k = 0; k < h; k++) idxs.push(series[i]!.offset + cutoff + k);
  }
  return {
    mean: flat.mean,
    sizes: series.map(() => windows * h),
    idxs,
    intervals: flat.intervals,
    feature_contributions: flat.explained,
    ...tokens(input.series.y.length, flat.mean.length),
  };
}

/** First value of a series that is forecast in sample: after two seasons, where the history is long enough. */
export function firstJudged({ values, season }: FlatSeries): number {
  const first = values.findIndex((value) => !Number.isNaN(value));
  return Math.max(first + 1, Math.min(Math.floor(values.length / 2), Math.max(8, 2 * season)));
}

/** POST v2/historic_forecast, and cross-validation with full_history: forecasts of the history itself, the tail of each series. */
export async function inSample(
  service: ForecastService,
  account: Account,
  input: HistoricInput | CrossValidationInput,
  historic: readonly number[] | null | undefined,
  signal: AbortSignal,
) {
  const model = resolveModel(input);
  const series = await readSeries(account, input.series, input.freq, 0, historic, signal);
  const starts = series.map(firstJudged);
  const stride = strideFor(series.map(({ values }, i) => values.length - starts[i]!));
  const rolling = series.map((one, i) => ({ ...one, cutoffs: cutoffsOver(starts[i]!, one.values.length, stride) }));
  checkWindows(
    rolling.reduce((sum, { cutoffs }) => sum + cutoffs.length, 0),
    stride,
  );
  const levels = uniqueLevels(input.level);
  const quantiles = quantilesOf(levels);
  const rolled = await rollingForecasts(service, rolling, {
    horizon: stride,
    quantiles,
    owner: account.owner,
    model,
    signal,
  });
  const flat = new FlatForecast(levels, quantiles);
  const idxs: number[] = [];
  const features = input.series.X?.length ?? 0;
  for (const { series: i, cutoff, forecast: result } of rolled) {
    const { values, offset } = series[i]!;
    const count = Math.min(stride, values.length - cutoff);
    flat.add(result, count);
    if (input.feature_contributions) flat.explain(result, columnsOfFeatures(series[i]!, features), count);
    for (let k = 0; k < count; k++) idxs.push(offset + cutoff + k);
  }
  return {
    mean: flat.mean,
    sizes: series.map(({ values }, i) => values.length - starts[i]!),
    idxs,
    intervals: flat.intervals,
    weights_x: null,
    feature_contributions: flat.explained,
    ...tokens(input.series.y.length, flat.mean.length),
  };
}
