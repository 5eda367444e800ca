import { AdderError } from '../platform/errors.js';

/**
 * How values beyond the outermost known levels come about.
 * `exponential`: the tail decays exponentially, so each halving of the remaining probability adds the same amount.
 * `gaussian`: the tail of a normal distribution through the last two known quantiles (thinner).
 */
export type Tail = 'exponential' | 'gaussian';

/**
 * Values at `wanted` levels from values at `known` levels.
 *
 * Between two known levels the value is linear in the normal score of the level (exact for a normal distribution).
 * Beyond the outermost level p₉ the last two known quantiles set the scale:
 *
 *     exponential   q(p) = q₉ + (q₉ − q₈) · ln((1 − p₉)/(1 − p)) / ln((1 − p₈)/(1 − p₉))
 *     gaussian      q(p) = q₉ + (q₉ − q₈) · (z(p) − z(p₉)) / (z(p₉) − z(p₈))
 *
 * and mirrored below the lowest. Forecast errors pooled over series of different volatility have tails heavier than a
 * normal distribution's, so the exponential tail is the default. The result is non-decreasing whenever `values` is.
 *
 * @param known strictly increasing levels in (0, 1), at least two
 * @param values one array of equal length for each known level, non-decreasing over levels
 * @param wanted levels in (0, 1)
 * @returns one array for each wanted level
 */
export function quantilesAt(
  known: readonly number[],
  values: readonly Float64Array[],
  wanted: readonly number[],
  tail: Tail = 'exponential',
): Float64Array[] {
  if (known.length < 2 || known.length !== values.length) {
    throw new RangeError(
      `quantilesAt needs at least two levels with one array each, got ${known.length} and ${values.length}`,
    );
  }
  const length = values[0]!.length;
  return wanted.map((level) => {
    const exact = known.indexOf(level);
    if (exact >= 0) return values[exact]!.slice();
    const { low, high, weight } = weights(known, level, tail);
    const a = values[low]!;
    const b = values[high]!;
    const out = new Float64Array(length);
    for (let i = 0; i < length; i++) out[i] = a[i]! + weight * (b[i]! - a[i]!);
    return out;
  });
}

/** The two known levels that a wanted one leans on, and how far from the lower to the upper it lies (outside [0, 1] in tails). */
function weights(known: readonly number[], level: number, tail: Tail): { low: number; high: number; weight: number } {
  const last = known.length - 1;
  if (level > known[last]! || level < known[0]!) {
    const upper = level > known[last]!;
    // Survival probabilities of the outermost, the next, and the wanted level, seen from the tail.
    const outer = upper ? 1 - known[last]! : known[0]!;
    const inner = upper ? 1 - known[last - 1]! : known[1]!;
    const beyond = upper ? 1 - level : level;
    const steps =
      tail === 'exponential'
        ? Math.log(outer / beyond) / Math.log(inner / outer)
        : (normalQuantile(outer) - normalQuantile(beyond)) / (normalQuantile(inner) - normalQuantile(outer));
    return upper ? { low: last - 1, high: last, weight: 1 + steps } : { low: 0, high: 1, weight: -steps };
  }
  let high = 1;
  while (known[high]! < level) high++;
  const low = high - 1;
  const z0 = normalQuantile(known[low]!);
  return { low, high, weight: (normalQuantile(level) - z0) / (normalQuantile(known[high]!) - z0) };
}

/** Sorts the values of each step over the levels in place, so that no quantile crosses another. */
export function makeMonotone(quantiles: Float64Array[]): Float64Array[] {
  const count = quantiles.length;
  const length = quantiles[0]?.length ?? 0;
  const column = new Float64Array(count);
  for (let i = 0; i < length; i++) {
    let sorted = true;
    for (let k = 0; k < count; k++) {
      column[k] = quantiles[k]![i]!;
      if (k > 0 && column[k]! < column[k - 1]!) sorted = false;
    }
    if (sorted) continue;
    column.sort();
    for (let k = 0; k < count; k++) quantiles[k]![i] = column[k]!;
  }
  return quantiles;
}

/** Quantiles of normal distributions with the given means and standard deviations, one array for each level. */
export function gaussianQuantiles(mean: Float64Array, sd: Float64Array, levels: readonly number[]): Float64Array[] {
  return levels.map((level) => {
    const z = normalQuantile(level);
    const out = new Float64Array(mean.length);
    for (let i = 0; i < out.length; i++) out[i] = mean[i]! + z * sd[i]!;
    return out;
  });
}

/**
 * The symmetric quantile levels of central intervals plus the median: intervals of 80 and 95 % give
 * [.025, .1, .5, .9, .975].
 *
 * @param intervals coverages in percent, each in (0, 100)
 */
export function levelsOfIntervals(intervals: readonly number[]): number[] {
  const levels = new Set<number>([0.5]);
  for (const percent of intervals) {
    if (!(percent > 0 && percent < 100)) {
      throw new AdderError({
        code: 'BAD_LEVEL',
        message: `an interval level is a percentage between 0 and 100, not ${percent}`,
        fix: 'e.g. --level 80,95',
      });
    }
    for (const level of intervalLevels(percent)) levels.add(level);
  }
  return [...levels].sort((a, b) => a - b);
}

/** Lower and upper quantile level of one central interval, free of binary dust (80 gives exactly 0.1 and 0.9). */
export function intervalLevels(percent: number): [number, number] {
  const round = (x: number) => Number(x.toFixed(12));
  return [round((100 - percent) / 200), round((100 + percent) / 200)];
}

/**
 * The standard normal quantile function: P. J. Acklam's rational approximation (relative error 1.15e-9).
 * Level 0.5 gives exactly 0, and z(1 − p) is exactly −z(p) up to the rounding of 1 − p.
 */
export function normalQuantile(level: number): number {
  if (!(level > 0 && level < 1)) throw new RangeError(`a quantile level lies in (0, 1), not ${level}`);
  if (level > 0.5) return -normalQuantile(1 - level);
  if (level < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(level));
    return polynomial(TAIL_NUMERATOR, q) / (polynomial(TAIL_DENOMINATOR, q) * q + 1);
  }
  const q = level - 0.5;
  const r = q * q;
  return (polynomial(CENTRE_NUMERATOR, r) * q) / (polynomial(CENTRE_DENOMINATOR, r) * r + 1);
}

/** Horner evaluation, highest power first. */
function polynomial(coefficients: readonly number[], x: number): number {
  let sum = 0;
  for (const c of coefficients) sum = sum * x + c;
  return sum;
}

const CENTRE_NUMERATOR = [
  -3.969683028665376e1, 2.209460984245205e2, -2.759285104469687e2, 1.38357751867269e2, -3.066479806614716e1,
  2.506628277459239,
];
const CENTRE_DENOMINATOR = [
  -5.447609879822406e1, 1.615858368580409e2, -1.556989798598866e2, 6.680131188771972e1, -1.328068155288572e1,
];
const TAIL_NUMERATOR = [
  -7.784894002430293e-3, -3.223964580411365e-1, -2.400758277161838, -2.549732539343734, 4.374664141464968,
  2.938163982698783,
];
const TAIL_DENOMINATOR = [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416];
