import type { ForecastRequest, ForecastResult } from '../forecaster.js';
import { gaussianQuantiles } from '../quantiles.js';
import { bridge } from '../series/season.js';

/**
 * Seasonal naive: the last observed value of the same phase. Spread: the standard deviation of seasonal differences,
 * growing with the root of the number of seasons ahead, normal distribution (Hyndman & Athanasopoulos, Forecasting:
 * Principles and Practice, 3rd ed., section 5.5). A history not longer than a season falls back to the last value.
 */
export function seasonalNaive({ history, horizon, season, quantiles }: ForecastRequest): ForecastResult {
  const n = history.length;
  const m = season < n ? season : 1;
  const last = lastFinite(history, n - 1, 1);
  const mean = new Float64Array(horizon);
  const sd = new Float64Array(horizon);
  const sigma = differenceSd(history, m);
  for (let h = 0; h < horizon; h++) {
    const phase = n - m + (h % m);
    const value = lastFinite(history, phase, m);
    mean[h] = Number.isNaN(value) ? last : value;
    sd[h] = sigma * Math.sqrt(Math.floor(h / m) + 1);
  }
  return { quantiles: gaussianQuantiles(mean, sd, quantiles) };
}

/** The last observed value, with the spread of a random walk. */
export function naive(request: ForecastRequest): ForecastResult {
  return seasonalNaive({ ...request, season: 1 });
}

/**
 * Random walk with drift: the line through the first and the last value goes on. The variance h(1 + h/T) σ², with T
 * differences, holds the uncertainty of the drift (FPP3, section 5.5).
 */
export function drift({ history, horizon, quantiles }: ForecastRequest): ForecastResult {
  const y = bridge(history);
  const ahead = trailingMissing(history);
  const steps = y.length - 1;
  const last = y[steps]!;
  const slope = steps > 0 ? (last - y[0]!) / steps : 0;
  let squares = 0;
  for (let i = 1; i <= steps; i++) squares += (y[i]! - y[i - 1]! - slope) ** 2;
  const variance = steps > 1 ? squares / (steps - 1) : 0;
  const mean = new Float64Array(horizon);
  const sd = new Float64Array(horizon);
  for (let i = 0; i < horizon; i++) {
    const h = ahead + i + 1;
    mean[i] = last + h * slope;
    sd[i] = Math.sqrt(variance * h * (1 + h / Math.max(1, steps)));
  }
  return { quantiles: gaussianQuantiles(mean, sd, quantiles) };
}

/** The value at `from`, or the nearest before it in steps of `stride` that is not missing; NaN if there is none. */
function lastFinite(history: Float64Array, from: number, stride: number): number {
  for (let i = from; i >= 0; i -= stride) if (!Number.isNaN(history[i]!)) return history[i]!;
  return Number.NaN;
}

/** Root mean square of the differences at lag m, over pairs without a missing value. */
function differenceSd(history: Float64Array, m: number): number {
  let squares = 0;
  let count = 0;
  for (let i = m; i < history.length; i++) {
    const difference = history[i]! - history[i - m]!;
    if (Number.isNaN(difference)) continue;
    squares += difference * difference;
    count++;
  }
  return count > 0 ? Math.sqrt(squares / count) : 0;
}

/** Number of missing values at the end. */
export function trailingMissing(history: Float64Array): number {
  let i = history.length - 1;
  while (i >= 0 && Number.isNaN(history[i]!)) i--;
  return history.length - 1 - i;
}
