import { mase, pinball } from '../metrics.js';
import { intervalLevels } from '../quantiles.js';
import type { WantedLevels } from './levels.js';

/** One window: what was forecast, and what came. */
export interface ScoredWindow {
  history: Float64Array;
  actual: Float64Array;
  quantiles: readonly Float64Array[];
  season: number;
}

/** Sums from which scores follow; those of parts add up to those of the whole. */
export interface ScoreSums {
  count: number;
  absolute: number;
  squared: number;
  weight: number;
  loss: number;
  scaled: number;
  scaledCount: number;
  /** Values inside each interval, by its level in percent. */
  inside: Record<string, number>;
}

const orNull = (value: number) => (Number.isFinite(value) ? value : null);

/** Scores over windows; missing values are left out, and a score of nothing is null. */
export const scoreWindows = (windows: readonly ScoredWindow[], wanted: WantedLevels) =>
  scoresOf(sumWindows(windows, wanted));

export function sumWindows(windows: readonly ScoredWindow[], { all, intervals }: WantedLevels): ScoreSums {
  const sums = noSums();
  for (const percent of intervals) sums.inside[percent] = 0;
  for (const { history, actual, quantiles, season } of windows) {
    const median = quantiles[all.indexOf(0.5)]!;
    const own = mase(history, actual, median, season);
    if (own !== undefined) {
      sums.scaled += own;
      sums.scaledCount++;
    }
    actual.forEach((y, i) => {
      if (Number.isNaN(y)) return;
      sums.count++;
      sums.absolute += Math.abs(y - median[i]!);
      sums.squared += (y - median[i]!) ** 2;
      sums.weight += Math.abs(y);
      all.forEach((level, q) => {
        sums.loss += (2 * pinball(y, quantiles[q]![i]!, level)) / all.length;
      });
      for (const percent of intervals) {
        const [low, high] = intervalLevels(percent);
        if (y >= quantiles[all.indexOf(low)]![i]! && y <= quantiles[all.indexOf(high)]![i]!) {
          sums.inside[percent]!++;
        }
      }
    });
  }
  return sums;
}

export const noSums = (): ScoreSums => ({
  count: 0,
  absolute: 0,
  squared: 0,
  weight: 0,
  loss: 0,
  scaled: 0,
  scaledCount: 0,
  inside: {},
});

/** Adds the sums of a part. */
export function addSums(to: ScoreSums, part: ScoreSums): void {
  for (const key of ['count', 'absolute', 'squared', 'weight', 'loss', 'scaled', 'scaledCount'] as const)
    to[key] += part[key];
  for (const [percent, n] of Object.entries(part.inside)) to.inside[percent] = (to.inside[percent] ?? 0) + n;
}

export function scoresOf({ count, absolute, squared, weight, loss, scaled, scaledCount, inside }: ScoreSums) {
  return {
    mae: orNull(absolute / count),
    rmse: orNull(Math.sqrt(squared / count)),
    mase: orNull(scaled / scaledCount),
    wql: orNull(loss / weight),
    coverage: count === 0 ? {} : Object.fromEntries(Object.entries(inside).map(([percent, n]) => [percent, n / count])),
  };
}
