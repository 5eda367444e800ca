import type { Account } from '../../platform/account.js';
import { intervalLevels, normalQuantile } from '../quantiles.js';
import { SCORE_LEVELS, scorePoints } from '../rest/anomaly-score.js';
import type { ForecastService } from '../rest/forecast-service.js';
import { jsonNumbers } from '../rest/levels.js';
import { checkWindows } from '../rest/resolve-series.js';
import { cutoffsOver, type RolledForecast, rollingForecasts, strideFor } from '../rest/rolling.js';
import { append, firstJudged, tokens } from './forecasting.js';
import { invalid } from './invalid.js';
import { resolveModel } from './models.js';
import { type FlatSeries, readSeries } from './payload.js';
import type { AnomalyInput, OnlineAnomalyInput } from './schemas.js';

const DEFAULT_LEVEL = 99;

const oneLevel = (level: number | number[] | null | undefined) =>
  (Array.isArray(level) ? level[0] : level) ?? DEFAULT_LEVEL;

/** What the tail of each series from `starts` on looked like to forecasts that had not seen it. */
async function judge(
  service: ForecastService,
  series: readonly FlatSeries[],
  starts: readonly number[],
  options: { stride: number; level: number; owner: string; model: string | undefined; signal: AbortSignal },
) {
  const { stride, owner, model, signal } = options;
  const ends = intervalLevels(Math.min(options.level, 99.9998));
  const quantiles = [...new Set([...SCORE_LEVELS, ...ends])].sort((a, b) => a - b);
  const rolling = series.map((one, i) => ({
    ...one,
    columns: one.columns,
    cutoffs: cutoffsOver(starts[i]!, one.values.length, stride),
  }));
  checkWindows(
    rolling.reduce((sum, { cutoffs }) => sum + cutoffs.length, 0),
    stride,
  );
  const rolled = await rollingForecasts(service, rolling, { horizon: stride, quantiles, owner, model, signal });
  const forecasts = series.map((): RolledForecast[] => []);
  for (const forecast of rolled) forecasts[forecast.series]!.push(forecast);
  return series.map(({ values }, i) => {
    const scores = scorePoints(values, forecasts[i]!, quantiles, ends);
    const from = starts[i]!;
    return {
      mean: scores.expected.subarray(from),
      low: scores.low.subarray(from),
      high: scores.high.subarray(from),
      score: scores.score.subarray(from),
      anomaly: scores.anomaly.slice(from),
    };
  });
}

function flatten<T>(parts: readonly (readonly T[])[]): T[] {
  const out: T[] = [];
  for (const part of parts) append(out, part);
  return out;
}

/** POST v2/anomaly_detection: the whole history but its beginning. */
export async function detectAnomalies(
  service: ForecastService,
  account: Account,
  input: AnomalyInput,
  signal: AbortSignal,
) {
  const level = oneLevel(input.level);
  const model = resolveModel(input);
  const series = await readSeries(account, input.series, input.freq, 0, null, signal);
  const starts = series.map(firstJudged);
  const stride = strideFor(series.map(({ values }, i) => values.length - starts[i]!));
  const judged = await judge(service, series, starts, { stride, level, owner: account.owner, model, signal });
  const mean = flatten(judged.map((part) => jsonNumbers(part.mean)));
  return {
    mean,
    sizes: judged.map((part) => part.anomaly.length),
    anomaly: flatten(judged.map((part) => part.anomaly)),
    intervals: {
      [`lo-${level}`]: flatten(judged.map((part) => jsonNumbers(part.low))),
      [`hi-${level}`]: flatten(judged.map((part) => jsonNumbers(part.high))),
    },
    weights_x: null,
    ...tokens(input.series.y.length, mean.length),
  };
}

/** POST v2/online_anomaly_detection: the last `detection_size` values of each series. */
export async function detectOnline(
  service: ForecastService,
  account: Account,
  input: OnlineAnomalyInput,
  signal: AbortSignal,
) {
  const { detection_size: size, h } = input;
  const level = oneLevel(input.level);
  const model = resolveModel(input);
  const series = await readSeries(account, input.series, input.freq, 0, input.hist_exog, signal);
  series.forEach(({ values }, i) => {
    if (values.subarray(0, Math.max(0, values.length - size)).some((value) => !Number.isNaN(value))) return;
    throw invalid(`series ${i} has ${values.length} values, too few to judge the last ${size}`, 'detection_size');
  });
  // Windows of h, `step_size` apart; where they overlap each value is judged by the latest that had not seen it.
  const stride = Math.min(h, input.step_size ?? h, size);
  const starts = series.map(({ values }) => values.length - size);
  const judged = await judge(service, series, starts, { stride, level, owner: account.owner, model, signal });
  const multivariate = input.threshold_method === 'multivariate';
  const accumulated = multivariate
    ? accumulate(
        judged.map(({ score }) => score),
        size,
        level,
      )
    : undefined;
  const mean = flatten(judged.map((part) => jsonNumbers(part.mean)));
  return {
    mean,
    idxs: flatten(series.map(({ offset }, i) => Array.from({ length: size }, (_, k) => offset + starts[i]! + k))),
    sizes: series.map(() => size),
    anomaly: flatten(judged.map((part) => accumulated?.anomaly ?? part.anomaly)),
    // Null would be NaN to the client; a missing value is no anomaly at all.
    anomaly_score: flatten(judged.map((part) => Array.from(part.score, (score) => (Number.isNaN(score) ? 0 : score)))),
    accumulated_anomaly_score: accumulated ? flatten(judged.map(() => accumulated.score)) : null,
    intervals: multivariate
      ? null
      : {
          [`lo-${level}`]: flatten(judged.map((part) => jsonNumbers(part.low))),
          [`hi-${level}`]: flatten(judged.map((part) => jsonNumbers(part.high))),
        },
    ...tokens(input.series.y.length, mean.length),
  };
}

/**
 * One score for each step of all series together: the sum of squared scores, which follows χ² with one degree of freedom a
 * series if all is well. Steps beyond its quantile of the level are anomalies of the whole system.
 */
function accumulate(scores: readonly Float64Array[], size: number, level: number) {
  const score = Array.from({ length: size }, (_, k) =>
    scores.reduce((sum, own) => sum + (Number.isNaN(own[k]!) ? 0 : own[k]! ** 2), 0),
  );
  const anomaly = score.map((value, k) => {
    const observed = scores.filter((own) => !Number.isNaN(own[k]!)).length;
    return observed > 0 && value > chiSquareQuantile(Math.min(0.999998, Math.max(1e-6, level / 100)), observed);
  });
  return { score, anomaly };
}

/** Wilson and Hilferty's approximation, within a per cent where it matters. */
function chiSquareQuantile(probability: number, freedom: number): number {
  // One degree of freedom is the square of a normal variable, exactly.
  if (freedom === 1) return normalQuantile((1 + probability) / 2) ** 2;
  const spread = 2 / (9 * freedom);
  return freedom * Math.max(0, 1 - spread + normalQuantile(probability) * Math.sqrt(spread)) ** 3;
}
