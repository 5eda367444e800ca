import type { ForecastRequest, ForecastResult } from '../forecaster.js';
import { gaussianQuantiles } from '../quantiles.js';
import { additiveIndices, fillMissing, isSeasonal } from './decompose.js';
import { trailingMissing } from './naive.js';
import { minimise } from './simplex.js';
import { line } from './theta.js';

/** Form of an additive-error model: ETS(A, N|A|Ad, N|A). */
export interface EtsForm {
  trend: 'none' | 'additive' | 'damped';
  /** Steps of the additive season, 1 for none. */
  season: number;
}

/** Smoothing parameters and end states of a fitted model. */
export interface EtsFit {
  form: EtsForm;
  alpha: number;
  beta: number;
  phi: number;
  gamma: number;
  level: number;
  slope: number;
  /** Seasonal states in the order of the steps ahead: index 0 belongs to the first step. */
  seasonal: Float64Array;
  sse: number;
  aicc: number;
}

/** Fits use this many recent values at most: the optimiser passes over them hundreds of times. */
const MAX_FIT = 3000;

/** Longer seasons would need more states than a history can inform. */
const MAX_SEASON = 400;

/**
 * Exponential smoothing with additive errors in state-space form (Hyndman, Koehler, Ord & Snyder 2008): level, trend
 * (none, additive, damped) and additive season, all forms fitted by least squares and the one with the least corrected
 * AIC taken. Forecast variances are the closed forms of that book's table 6.1.
 */
export function ets({ history, horizon, season, quantiles }: ForecastRequest): ForecastResult {
  const filled = fillMissing(history, season);
  const ahead = trailingMissing(history);
  const y = filled.length > MAX_FIT ? filled.subarray(filled.length - MAX_FIT) : filled;
  const { mean, sd } = forecastEts(selectEts(y, season), y.length, horizon + ahead);
  return { quantiles: gaussianQuantiles(mean.subarray(ahead), sd.subarray(ahead), quantiles) };
}

/** The form with the least AICc among those that the history can support; a season is tried only where the data show one. */
export function selectEts(y: Float64Array, season: number): EtsFit {
  const seasonal = season > 1 && season <= MAX_SEASON && y.length >= 2 * season + 3 && isSeasonal(y, season);
  const trends: EtsForm['trend'][] = y.length >= 6 ? ['none', 'additive', 'damped'] : ['none'];
  const fits = trends.map((trend) => fitEts(y, { trend, season: seasonal ? season : 1 }));
  return fits.reduce((best, fit) => (fit.aicc < best.aicc ? fit : best));
}

/**
 * Least-squares fit of one form. Searched are α in (0, 1), β = α b, γ = (1 − α) g with b and g in (0, 1), φ in
 * [0.8, 0.98], and the first level and slope; the first seasonal states come from a classical decomposition.
 */
export function fitEts(y: Float64Array, form: EtsForm): EtsFit {
  const n = y.length;
  const { trend, season: m } = form;
  const indices = m > 1 ? additiveIndices(y, m) : new Float64Array(1);
  const start = y.slice(0, Math.min(n, Math.max(10, 2 * m))).map((v, i) => v - indices[i % m]!);
  const fitted = line(start);
  const scale = spread(y) || 1;
  const level0 = trend === 'none' ? start.reduce((a, b) => a + b, 0) / start.length : fitted.intercept - fitted.slope;
  const slope0 = trend === 'none' ? 0 : fitted.slope;

  const decode = (x: Float64Array) => {
    const alpha = between(x[0]!, 1e-4, 0.9999);
    let at = 2;
    const gamma = m > 1 ? (1 - alpha) * between(x[at++]!, 1e-4, 0.9999) : 0;
    const beta = trend === 'none' ? 0 : alpha * between(x[at++]!, 1e-4, 0.9999);
    const slope = trend === 'none' ? 0 : slope0 + x[at++]! * scale * 0.1;
    const phi = trend === 'damped' ? between(x[at++]!, 0.8, 0.98) : 1;
    return { alpha, beta, gamma, phi, level: level0 + x[1]! * scale, slope };
  };
  const run = (x: Float64Array) => smooth(y, { form, ...decode(x) }, indices);
  // Logits: α 0.3, γ share 0.1, β share 0.1, φ near 0.96.
  const initial = [
    -0.85,
    0,
    ...(m > 1 ? [-2.2] : []),
    ...(trend === 'none' ? [] : [-2.2, 0]),
    ...(trend === 'damped' ? [2] : []),
  ];
  const best = minimise((x) => run(x).sse, Float64Array.from(initial), 1, 60 * initial.length);
  const end = run(best);
  const parameters = initial.length + (m > 1 ? m - 1 : 0) + 1;
  // A perfect fit has a log-likelihood without bound; a floor at rounding error keeps the comparison meaningful.
  const mse = Math.max(end.sse / n, (scale * 1e-9) ** 2);
  const correction =
    n > parameters + 1 ? (2 * parameters * (parameters + 1)) / (n - parameters - 1) : Number.POSITIVE_INFINITY;
  const aicc = n * Math.log(mse) + 2 * parameters + correction;
  return { form, ...decode(best), level: end.level, slope: end.slope, seasonal: end.seasonal, sse: end.sse, aicc };
}

/** Runs the recursions over the history: one-step errors squared and summed, and the states at its end. */
function smooth(
  y: Float64Array,
  {
    form,
    alpha,
    beta,
    gamma,
    phi,
    level,
    slope,
  }: Pick<EtsFit, 'form' | 'alpha' | 'beta' | 'gamma' | 'phi' | 'level' | 'slope'>,
  indices: Float64Array,
): { sse: number; level: number; slope: number; seasonal: Float64Array } {
  const m = form.season;
  const seasonal = indices.slice();
  let sse = 0;
  let phase = 0;
  for (let t = 0; t < y.length; t++) {
    const s = seasonal[phase]!;
    const expected = level + phi * slope;
    const error = y[t]! - expected - s;
    sse += error * error;
    level = expected + alpha * error;
    slope = phi * slope + beta * error;
    if (m > 1) seasonal[phase] = s + gamma * error;
    if (++phase === m) phase = 0;
  }
  const next = seasonal.map((_, i) => seasonal[(phase + i) % m]!);
  return { sse, level, slope, seasonal: next };
}

/**
 * Mean and standard deviation h = 1 … horizon steps ahead: Var(h) = σ² (1 + Σ_{j<h} c_j²) with
 * c_j = α + β (φ + … + φ^j) + γ [m divides j].
 */
export function forecastEts(fit: EtsFit, n: number, horizon: number): { mean: Float64Array; sd: Float64Array } {
  const { form, alpha, beta, gamma, phi, level, slope, seasonal, sse } = fit;
  const m = form.season;
  const parameters = 2 + (form.trend === 'none' ? 0 : 2) + (form.trend === 'damped' ? 1 : 0) + (m > 1 ? 1 : 0);
  const variance = sse / Math.max(1, n - parameters);
  const mean = new Float64Array(horizon);
  const sd = new Float64Array(horizon);
  let damping = 0;
  let power = 1;
  let sum = 1;
  for (let h = 1; h <= horizon; h++) {
    power *= phi;
    damping += power;
    mean[h - 1] = level + damping * slope + seasonal[(h - 1) % m]!;
    sd[h - 1] = Math.sqrt(variance * sum);
    sum += (alpha + beta * damping + (m > 1 && h % m === 0 ? gamma : 0)) ** 2;
  }
  return { mean, sd };
}

/** Logistic map of a free number into (low, high). */
function between(x: number, low: number, high: number): number {
  return low + (high - low) / (1 + Math.exp(-x));
}

/** Mean absolute difference from the mean. */
function spread(y: Float64Array): number {
  const mean = y.reduce((a, b) => a + b, 0) / y.length;
  return y.reduce((a, b) => a + Math.abs(b - mean), 0) / y.length;
}
