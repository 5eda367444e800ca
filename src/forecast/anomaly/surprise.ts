import { STANDARD_LEVELS } from '../forecaster.js';

/** Surprises beyond this say nothing more: one in 10^12. */
const MOST = 12;

/**
 * How improbable a value was by its forecast: −log₁₀ of the probability of a value at least as far out, both sides counted.
 * 0 is the median's, 0.7 that of the ends of the 80 % interval, 2 one in a hundred. Between known quantiles the probability
 * is linear in the value; beyond the outermost it halves with every step of the size of the last one, as in quantiles.ts.
 *
 * @param quantiles values at STANDARD_LEVELS, non-decreasing
 */
export function surprise(value: number, quantiles: ArrayLike<number>): number {
  const Q = STANDARD_LEVELS.length;
  const median = quantiles[(Q - 1) / 2]!;
  // Mirrored, so that there is one tail to think about.
  const upper = value >= median;
  const at = (k: number) => (upper ? quantiles[k]! - median : median - quantiles[Q - 1 - k]!);
  const x = Math.abs(value - median);
  const slack = 1e-9 * Math.max(Math.abs(value), Math.abs(median));
  if (x <= slack) return 0;
  for (let k = (Q + 1) / 2; k < Q; k++) {
    if (x > at(k)) continue;
    const [low, high] = [at(k - 1), at(k)];
    const level =
      STANDARD_LEVELS[k - 1]! + ((STANDARD_LEVELS[k]! - STANDARD_LEVELS[k - 1]!) * (x - low)) / (high - low);
    return -Math.log10(2 * (1 - level));
  }
  // Survival 0.1 at the last quantile, 0.2 at the one before it, exponential from there.
  const step = Math.max(at(Q - 1) - at(Q - 2), slack);
  return Math.min(MOST, -Math.log10(0.2) + ((x - at(Q - 1)) / step) * Math.log10(2));
}

/** −log₁₀ of a uniform number has this mean: that of a forecaster whose quantiles are right. */
export const EXPECTED_SURPRISE = Math.LOG10E;
