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

const orNull = (value: number) => (Number.isFinite(value) ? value : null);

/** Scores over windows; missing values are left out, and a score of nothing is null. */
export function scoreWindows(windows: readonly ScoredWindow[], { all, intervals }: WantedLevels) {
  let count = 0;
  let absolute = 0;
  let squared = 0;
  let weight = 0;
  let loss = 0;
  let scaled = 0;
  let scaledCount = 0;
  const inside = new Map(intervals.map((percent) => [percent, 0]));
  for (const { history, actual, quantiles, season } of windows) {
    const median = quantiles[all.indexOf(0.5)]!;
    const own = mase(history, actual, median, season);
    if (own !== undefined) {
      scaled += own;
      scaledCount++;
    }
    actual.forEach((y, i) => {
      if (Number.isNaN(y)) return;
      count++;
      absolute += Math.abs(y - median[i]!);
      squared += (y - median[i]!) ** 2;
      weight += Math.abs(y);
      all.forEach((level, q) => {
        loss += (2 * pinball(y, quantiles[q]![i]!, level)) / all.length;
      });
      for (const percent of intervals) {
        const [low, high] = intervalLevels(percent);
        if (y >= quantiles[all.indexOf(low)]![i]! && y <= quantiles[all.indexOf(high)]![i]!) {
          inside.set(percent, inside.get(percent)! + 1);
        }
      }
    });
  }
  return {
    mae: orNull(absolute / count),
    rmse: orNull(Math.sqrt(squared / count)),
    mase: orNull(scaled / scaledCount),
    wql: orNull(loss / weight),
    coverage: Object.fromEntries(count === 0 ? [] : [...inside].map(([percent, n]) => [String(percent), n / count])),
  };
}
