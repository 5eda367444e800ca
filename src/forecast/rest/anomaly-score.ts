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
  const nan = () => new Float64Array(values.length).fill(Number.NaN);
  const out: PointScores = {
    expected: nan(),
    low: nan(),
    high: nan(),
    score: nan(),
    anomaly: Array(values.length).fill(false),
  };
  for (const { cutoff, forecast } of forecasts) {
    const at = (level: number) => forecast.quantiles[levels.indexOf(level)]!;
    const [q10, median, q90, low, high] = [at(0.1), at(0.5), at(0.9), at(lowLevel), at(highLevel)];
    for (let i = 0; i < median.length && cutoff + i < values.length; i++) {
      const t = cutoff + i;
      // Blocks may overlap at the end of a history; the forecast that knew less is kept.
      if (!Number.isNaN(out.expected[t]!)) continue;
      out.expected[t] = median[i]!;
      out.low[t] = low[i]!;
      out.high[t] = high[i]!;
      const y = values[t]!;
      if (Number.isNaN(y)) continue;
      const distance = y - median[i]!;
      const spread = (distance >= 0 ? q90[i]! - median[i]! : median[i]! - q10[i]!) / Z90;
      // A forecast without spread (a constant history) is right or wrong, within rounding.
      const slack = 1e-9 * Math.max(Math.abs(y), Math.abs(median[i]!));
      const score = Math.abs(distance) <= slack ? 0 : distance / spread;
      out.score[t] = Math.max(-MAX_SCORE, Math.min(MAX_SCORE, score));
      out.anomaly[t] = Math.abs(distance) > slack && (y < low[i]! || y > high[i]!);
    }
  }
  return out;
}
