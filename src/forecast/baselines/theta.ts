import type { ForecastRequest, ForecastResult } from '../forecaster.js';
import { gaussianQuantiles } from '../quantiles.js';
import { deseasonalise, fillMissing } from './decompose.js';
import { trailingMissing } from './naive.js';

/**
 * The method looks at this many recent values, or three seasons if those are longer. One line and one set of seasonal
 * indices do not describe years of hourly data: on 20 long data sets of the training pool 400 values forecast 12 % better
 * (MASE) than all values, and better than 200, 300, 600, 1,000 or 2,000.
 */
const RECENT = 400;

/**
 * The Theta method (Assimakopoulos & Nikolopoulos 2000): the mean of the extrapolated least-squares line (θ = 0) and of
 * simple exponential smoothing of the line θ = 2, on the seasonally adjusted history. Spread from its equivalent, simple
 * exponential smoothing with a drift of half the slope (Hyndman & Billah 2003):
 * Var(h) = σ² (1 + (h − 1) α²), plus the sampling variance of the drift.
 */
export function theta({ history, horizon, season, quantiles }: ForecastRequest): ForecastResult {
  const ahead = trailingMissing(history);
  const seen = history.subarray(0, history.length - ahead);
  const y = fillMissing(seen.subarray(Math.max(0, seen.length - Math.max(RECENT, 3 * season))), season);
  const { kind, indices, adjusted } = deseasonalise(y, season);
  const { mean, sd } = forecastTheta(adjusted, horizon + ahead);
  for (let h = 0; h < mean.length; h++) {
    const index = indices[(y.length + h) % indices.length]!;
    if (kind === 'additive') mean[h] = mean[h]! + index;
    if (kind === 'multiplicative') {
      mean[h] = mean[h]! * index;
      sd[h] = sd[h]! * index;
    }
  }
  return { quantiles: gaussianQuantiles(mean.subarray(ahead), sd.subarray(ahead), quantiles) };
}

/** Mean and standard deviation of the Theta forecast of a history without season and missing values. */
export function forecastTheta(
  y: Float64Array,
  horizon: number,
): { mean: Float64Array; sd: Float64Array; alpha: number } {
  const n = y.length;
  const mean = new Float64Array(horizon);
  const sd = new Float64Array(horizon);
  if (n < 3) {
    const spread = n === 2 ? Math.abs(y[1]! - y[0]!) : 0;
    return { mean: mean.fill(y[n - 1]!), sd: sd.map((_, h) => spread * Math.sqrt(h + 1)), alpha: 1 };
  }
  const { intercept, slope } = line(y);
  const bent = y.map((v, t) => 2 * v - intercept - slope * t);
  const { alpha, level, sse } = fitSimpleSmoothing(bent);
  // An error of the θ = 2 line is twice the error of the combined forecast.
  const variance = sse / 4 / Math.max(1, n - 3);
  for (let h = 1; h <= horizon; h++) {
    mean[h - 1] = (level + intercept + slope * (n - 1 + h)) / 2;
    // The slope of a line through a random walk of n steps has the variance 6σ²/(5n); half of it acts, damped by α.
    const driftVariance = (0.3 * h * h * alpha * alpha) / n;
    sd[h - 1] = Math.sqrt(variance * (1 + (h - 1) * alpha * alpha + driftVariance));
  }
  return { mean, sd, alpha };
}

/** Least-squares line through (t, y_t), t = 0 … n−1. */
export function line(y: Float64Array): { intercept: number; slope: number } {
  const n = y.length;
  const centre = (n - 1) / 2;
  let sum = 0;
  let cross = 0;
  for (let t = 0; t < n; t++) {
    sum += y[t]!;
    cross += (t - centre) * y[t]!;
  }
  const slope = n > 1 ? cross / ((n * (n * n - 1)) / 12) : 0;
  return { slope, intercept: sum / n - slope * centre };
}

/**
 * Simple exponential smoothing ℓ_t = ℓ_{t−1} + α e_t with the α and the ℓ_0 of least squared one-step errors. The
 * errors are linear in ℓ_0, so for each α the best ℓ_0 is a quotient of two sums, and only α is searched (a coarse grid,
 * then golden sections).
 */
export function fitSimpleSmoothing(y: Float64Array): { alpha: number; level: number; start: number; sse: number } {
  const run = (alpha: number) => {
    // With start level 0 the error is e⁰_t; a start level s changes it to e⁰_t − (1−α)^t s.
    let level = 0;
    let decay = 1;
    let ee = 0;
    let ed = 0;
    let dd = 0;
    for (let t = 0; t < y.length; t++) {
      const error = y[t]! - level;
      ee += error * error;
      ed += error * decay;
      dd += decay * decay;
      level += alpha * error;
      decay *= 1 - alpha;
    }
    const start = ed / dd;
    return { alpha, start, level: level + decay * start, sse: Math.max(0, ee - ed * start) };
  };
  // Differences within rounding are ties, which the smaller α wins: otherwise the unit of a series would decide.
  const rounding = 1e-12 * y.reduce((sum, v) => sum + v * v, 0);
  let best = run(ALPHAS[0]!);
  let at = 0;
  for (let i = 1; i < ALPHAS.length; i++) {
    const candidate = run(ALPHAS[i]!);
    if (candidate.sse < best.sse - rounding) {
      best = candidate;
      at = i;
    }
  }
  let low = ALPHAS[Math.max(0, at - 1)]!;
  let high = ALPHAS[Math.min(ALPHAS.length - 1, at + 1)]!;
  const golden = (Math.sqrt(5) - 1) / 2;
  let a = run(high - golden * (high - low));
  let b = run(low + golden * (high - low));
  for (let i = 0; i < 14; i++) {
    if (a.sse < b.sse) {
      high = b.alpha;
      b = a;
      a = run(high - golden * (high - low));
    } else {
      low = a.alpha;
      a = b;
      b = run(low + golden * (high - low));
    }
    if (a.sse < best.sse - rounding) best = a;
    if (b.sse < best.sse - rounding) best = b;
  }
  return best;
}

const ALPHAS = [0.01, 0.03, 0.06, 0.1, 0.16, 0.24, 0.34, 0.46, 0.6, 0.74, 0.87, 0.99];
