/**
 * Views: other ways of putting one forecast to the same forecaster. Each turns a request into one or several requests and
 * their answers back into one answer; a backtest decides what each is worth (see mixture.ts).
 */
import { deseasonalise, fillMissing } from '../baselines/decompose.js';
import type { ForecastRequest, ForecastResult } from '../forecaster.js';
import { MAX_SEASON } from '../model/features.js';

/** What is to be asked, and how the answers become the answer to the original request. */
export interface Asked {
  requests: ForecastRequest[];
  /** Quantiles of the original horizon from the results in the order of `requests`. */
  combine(results: readonly ForecastResult[]): Float64Array[];
}

/** A view of a request, or undefined where it makes no sense. */
export type View = (request: ForecastRequest) => Asked | undefined;

/** Values of history that one request reads at most, and that views look at; the forecaster's own limit. */
const CONTEXT = 1024;
/** Seasons with days in them: a week of them is a season too. */
const SHORTEST_DAY = 24;
/** Weeks (or seasons) that a history must hold for a view that rests on them. */
const WEEKS = 3;
const DAYS = 14;
/** Longest season whose phases are forecast one by one. */
const MOST_PHASES = 48;

/** The request as it is. */
export const plain: View = (request) => ({ requests: [request], combine: ([result]) => result!.quantiles });

/** The season times seven: days that differ by the day of the week. */
export const weekly: View = (request) => {
  const season = 7 * request.season;
  if (request.season < SHORTEST_DAY || season > MAX_SEASON || request.history.length < WEEKS * season) return undefined;
  return plain({ ...request, season });
};

/** Every hour of the day as a series of days: the season becomes a week, and long horizons short. */
export const phases: View = (request) => {
  const { season, horizon, history } = request;
  if (season < SHORTEST_DAY || season > MOST_PHASES || horizon < season || history.length < DAYS * season)
    return undefined;
  return interleaved(request, season, 7, 64);
};

/**
 * Seasons too long for the network to see two of them, thinned to about 24 steps: each of the thinned series is forecast,
 * then they are put together again.
 */
export const thinned: View = (request) => {
  const stride = strideOf(request.season);
  const { season, horizon, history } = request;
  if (stride < 2 || 2 * season <= CONTEXT || horizon < 24 || history.length < 2 * season) return undefined;
  return interleaved(request, stride, season / stride, Math.max(384, 4 * Math.ceil(season / stride)));
};

/** Long seasons averaged to about 24 steps a season, the forecast interpolated linearly. */
export const averaged: View = (request) => {
  const { history, horizon, season } = request;
  const stride = strideOf(season);
  const length = Math.min(Math.floor(history.length / Math.max(1, stride)), CONTEXT);
  if (stride < 4 || horizon < 24 || history.length < Math.max(600, 2 * season)) return undefined;
  const values = new Float64Array(length);
  for (let i = 0; i < length; i++) values[i] = meanOf(history, history.length - (length - i) * stride, stride);
  const last = values[values.findLastIndex(Number.isFinite)];
  if (last === undefined) return undefined;
  const steps = Math.ceil(horizon / stride);
  const centre = (stride - 1) / 2;
  return {
    requests: [{ ...request, history: values, horizon: steps, season: season / stride, frequency: undefined }],
    combine: ([result]) =>
      result!.quantiles.map((means) =>
        Float64Array.from({ length: horizon }, (_, t) => {
          const at = (t - centre) / stride;
          const low = Math.floor(at);
          const from = low < 0 ? last : means[Math.min(low, steps - 1)]!;
          const to = means[Math.min(Math.max(low + 1, 0), steps - 1)]!;
          return from + (at - low) * (to - from);
        }),
      ),
  };
};

/** The seasonally adjusted series, its forecast with the season put back: for seasons that the network sees too little of. */
export const adjusted: View = (request) => {
  const { season, history } = request;
  const recent = history.subarray(Math.max(0, history.length - Math.max(400, 6 * season)));
  if (season < 2 || recent.length < 3 * season || Number.isNaN(recent[recent.length - 1]!)) return undefined;
  const y = fillMissing(recent, season);
  const { kind, indices, adjusted } = deseasonalise(y, season);
  if (kind === 'none') return undefined;
  const index = (t: number) => indices[(y.length + t) % indices.length]!;
  return {
    requests: [{ ...request, history: adjusted }],
    combine: ([result]) =>
      result!.quantiles.map((values) => values.map((v, t) => (kind === 'additive' ? v + index(t) : v * index(t)))),
  };
};

/** Steps to be made one so that a season of `season` steps becomes one of 24, or of 12 where 24 does not divide it; 1 for none. */
export function strideOf(season: number): number {
  if (season < 48) return 1;
  if (season % 24 === 0) return season / 24;
  return season % 12 === 0 ? season / 12 : 1;
}

/** `stride` series of every `stride`-th value, each with the last value of its own; the answers interleaved again. */
function interleaved(request: ForecastRequest, stride: number, season: number, longest: number): Asked | undefined {
  const { history, horizon } = request;
  const length = Math.min(Math.floor(history.length / stride), longest);
  const requests: ForecastRequest[] = [];
  for (let p = 0; p < Math.min(stride, horizon); p++) {
    const first = history.length - stride * length + p;
    const values = Float64Array.from({ length }, (_, i) => history[first + i * stride]!);
    if (!values.some(Number.isFinite)) return undefined;
    requests.push({
      ...request,
      history: values,
      horizon: Math.ceil((horizon - p) / stride),
      season,
      frequency: undefined,
    });
  }
  return {
    requests,
    combine: (results) =>
      request.quantiles.map((_, q) =>
        Float64Array.from({ length: horizon }, (_, t) => results[t % stride]!.quantiles[q]![Math.floor(t / stride)]!),
      ),
  };
}

/** Mean of the observed ones of `count` values; NaN if there is none. */
function meanOf(values: Float64Array, from: number, count: number): number {
  let sum = 0;
  let seen = 0;
  for (let i = from; i < from + count; i++) {
    if (Number.isNaN(values[i]!)) continue;
    sum += values[i]!;
    seen++;
  }
  return sum / seen;
}
