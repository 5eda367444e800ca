import type { ForecastRequest, ForecastResult } from '../forecaster.js';

/** Smoothing constant of sizes and intervals; 0.1 is the constant of the literature on intermittent demand. */
const ALPHA = 0.1;

/**
 * Croston's method (1972) for intermittent demand: sizes and intervals of the non-zero values are smoothed apart, their
 * quotient is the expected demand of a step.
 */
export function croston(request: ForecastRequest): ForecastResult {
  return intermittent(request, 1);
}

/** Croston's method with the bias correction 1 − α/2 of Syntetos & Boylan (2005). */
export function sba(request: ForecastRequest): ForecastResult {
  return intermittent(request, 1 - ALPHA / 2);
}

/**
 * The distribution of one step is a mixture: zero with probability 1 − p, else a size drawn from the observed sizes,
 * where the smoothed interval gives p = 1/interval and the sizes are rescaled to their smoothed mean. It is the same at
 * every step ahead, because Croston's model knows no trend. `mean` is the expected demand; the median is zero whenever
 * demand is rarer than every second step.
 */
function intermittent({ history, horizon, quantiles }: ForecastRequest, bias: number): ForecastResult {
  const sizes: number[] = [];
  let size = 0;
  let interval = 0;
  let since = 0;
  for (const value of history) {
    if (Number.isNaN(value)) continue;
    since++;
    if (value === 0) continue;
    size = sizes.length === 0 ? value : size + ALPHA * (value - size);
    interval = sizes.length === 0 ? since : interval + ALPHA * (since - interval);
    sizes.push(value);
    since = 0;
  }
  if (sizes.length === 0) {
    return { mean: new Float64Array(horizon), quantiles: quantiles.map(() => new Float64Array(horizon)) };
  }
  const average = sizes.reduce((a, b) => a + b, 0) / sizes.length;
  const scale = average === 0 ? 1 : (size / average) * bias;
  const sorted = Float64Array.from(sizes, (v) => v * scale).sort();
  const probability = 1 / interval;
  const firstPositive = sorted.findIndex((v) => v > 0);
  const negatives = firstPositive < 0 ? sorted.length : firstPositive;
  return {
    mean: new Float64Array(horizon).fill((size / interval) * bias),
    quantiles: quantiles.map((level) =>
      new Float64Array(horizon).fill(mixtureQuantile(level, sorted, negatives, probability)),
    ),
  };
}

/**
 * Quantile of "zero with probability 1 − p, else one of `sorted`". The first `negatives` sizes (returns, corrections) lie
 * below the zeros, the others above.
 */
function mixtureQuantile(level: number, sorted: Float64Array, negatives: number, p: number): number {
  const below = (p * negatives) / sorted.length;
  const zeros = below + 1 - p;
  if (level < below) return empirical(sorted.subarray(0, negatives), level / below);
  if (level <= zeros || negatives === sorted.length) return 0;
  return empirical(sorted.subarray(negatives), (level - zeros) / (1 - zeros));
}

/** Linear interpolation between order statistics. */
function empirical(sorted: Float64Array, level: number): number {
  const at = Math.min(Math.max(level, 0), 1) * (sorted.length - 1);
  const low = Math.floor(at);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low]! + (at - low) * (sorted[high]! - sorted[low]!);
}
