import { normalQuantile } from '../quantiles.js';
import type { RolledForecast } from './rolling.js';

/** Quantiles that a score is read from besides the interval asked for. */
export const SCORE_LEVELS = [0.1, 0.5, 0.9] as const;

/** Scores beyond this say nothing more. */
const MAX_SCORE = 1000;

const Z90 = normalQuantile(0.9);

/** What was expected of each value of a history, and how far off it was; NaN and false where nothing was expected. */
export interface PointScores {
  expected: Float64Array;
  low: Float64Array;
  high: Float64Array;
  /** Distance from the median in standard deviations of the forecast (each side its own), with sign. */
  score: Float64Array;
  anomaly: boolean[];
}

/**
 * Scores the values of one series by forecasts that had not seen them.
 *
 * @param levels the quantile levels of the forecasts: SCORE_LEVELS and the two ends of the interval
 */
export function scorePoints(
  values: Float64Array,
  forecasts: readonly RolledForecast[],
  levels: readonly number[],
  [lowLevel, highLevel]: readonly [number, number],
): PointScores {
  const out = newScores(values.length);
  for (const { cutoff, forecast } of forecasts) {
    const at = (level: number) => forecast.quantiles[levels.indexOf(level)]!;
    const [q10, median, q90, low, high] = [at(0.1), at(0.5), at(0.9), at(lowLevel), at(highLevel)];
    for (let i = 0; i < median.length && cutoff + i < values.length; i++) {
      const t = cutoff + i;
      // Blocks may overlap at the end of a history; the forecast that knew less is kept.
      if (!Number.isNaN(out.expected[t]!)) continue;
      scorePoint(out, t, values[t]!, {
        q10: q10[i]!,
        median: median[i]!,
        q90: q90[i]!,
        low: low[i]!,
        high: high[i]!,
      });
    }
  }
  return out;
}

/** Scores of a history of which nothing has been judged yet. */
export function newScores(length: number): PointScores {
  const nan = () => new Float64Array(length).fill(Number.NaN);
  return { expected: nan(), low: nan(), high: nan(), score: nan(), anomaly: Array(length).fill(false) };
}

/** Judges value `y` at place `t` by the forecast that stood before it came. */
export function scorePoint(
  out: PointScores,
  t: number,
  y: number,
  { q10, median, q90, low, high }: { q10: number; median: number; q90: number; low: number; high: number },
): void {
  out.expected[t] = median;
  out.low[t] = low;
  out.high[t] = high;
  if (Number.isNaN(y)) return;
  const distance = y - median;
  const spread = (distance >= 0 ? q90 - median : median - q10) / Z90;
  // A forecast without spread (a constant history) is right or wrong, within rounding.
  const slack = 1e-9 * Math.max(Math.abs(y), Math.abs(median));
  const score = Math.abs(distance) <= slack ? 0 : distance / spread;
  out.score[t] = Math.max(-MAX_SCORE, Math.min(MAX_SCORE, score));
  out.anomaly[t] = Math.abs(distance) > slack && (y < low || y > high);
}
