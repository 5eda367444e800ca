import type { LiveOutput } from './feed.js';

/** What is kept of a series' present output between rounds: enough to score the values that come, and small. */
export interface Standing {
  sequence: number;
  /** Time of the latest value that it had seen. */
  at: number;
  /** Begin of each step that it forecasts; it lies with the quantiles in one piece of memory. */
  times: Float64Array;
  /** 10 % quantile, median and 90 % quantile of each step, one after the other. */
  quantiles: Float64Array;
}

const LEVELS = [0.1, 0.5, 0.9];

export function standingOf({ sequence, at, times, levels, quantiles }: LiveOutput): Standing {
  const { length } = times;
  const kept = new Float64Array((1 + LEVELS.length) * length);
  kept.set(times);
  LEVELS.forEach((level, k) => {
    kept.set(quantiles[nearest(levels, level)]!, (1 + k) * length);
  });
  return { sequence, at, times: kept.subarray(0, length), quantiles: kept.subarray(length) };
}

const nearest = (levels: readonly number[], wanted: number) =>
  levels.reduce((best, level, i) => (Math.abs(level - wanted) < Math.abs(levels[best]! - wanted) ? i : best), 0);
