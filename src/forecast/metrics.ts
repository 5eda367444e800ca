import { intervalLevels } from './quantiles.js';

/**
 * Mean absolute difference at lag m over the history, the scale of MASE. Pairs with a missing value are left out.
 * Histories not longer than m use lag 1. 0 for constant histories, and where no pair exists.
 */
export function seasonalError(history: Float64Array, season: number): number {
  const m = season < history.length ? season : 1;
  let sum = 0;
  let count = 0;
  for (let i = m; i < history.length; i++) {
    const difference = Math.abs(history[i]! - history[i - m]!);
    if (Number.isNaN(difference)) continue;
    sum += difference;
    count++;
  }
  return count > 0 ? sum / count : 0;
}

/**
 * Mean absolute scaled error of one forecast (Hyndman & Koehler 2006): mean |actual − forecast| over `seasonalError`.
 * Undefined, and so left out of means, if the scale is 0 or no actual value is known.
 */
export function mase(
  history: Float64Array,
  actual: Float64Array,
  median: Float64Array,
  season: number,
): number | undefined {
  const scale = seasonalError(history, season);
  let sum = 0;
  let count = 0;
  for (let i = 0; i < actual.length; i++) {
    if (Number.isNaN(actual[i]!)) continue;
    sum += Math.abs(actual[i]! - median[i]!);
    count++;
  }
  return scale > 0 && count > 0 ? sum / count / scale : undefined;
}

/** Pinball (quantile) loss of a forecast `q` at one level: max(p (y − q), (p − 1)(y − q)). */
export function pinball(actual: number, forecast: number, level: number): number {
  const error = actual - forecast;
  return Math.max(level * error, (level - 1) * error);
}

/** Geometric mean of positive numbers; NaN of none. */
export function geometricMean(values: readonly number[]): number {
  return values.length === 0 ? Number.NaN : Math.exp(values.reduce((sum, v) => sum + Math.log(v), 0) / values.length);
}

/** The scores of one task, as Chronos and GIFT-Eval publish them. */
export interface TaskScore {
  /** Mean over series and windows of each one's MASE. */
  mase: number;
  /**
   * Weighted quantile loss (GIFT-Eval: CRPS as mean weighted quantile loss) over the given levels:
   * Σ 2·pinball / Σ |actual|, sums over all series, windows and steps, then the mean over levels.
   */
  wql: number;
  /** Share of actual values inside each central interval, by its percentage. */
  coverage: Record<number, number>;
  /** Forecasts scored. */
  count: number;
}

/** Adds up the scores of one task, forecast by forecast. */
export class TaskScorer {
  private maseSum = 0;
  private maseCount = 0;
  private loss = 0;
  private weight = 0;
  private points = 0;
  private count = 0;
  private readonly inside = new Map<number, number>();
  private readonly at: Map<number, number>;

  /**
   * @param season the season of the published MASE
   * @param levels all quantile levels of the forecasts
   * @param scored the levels over which the weighted quantile loss is a mean
   * @param intervals percentages of the intervals whose coverage is counted; their levels must be among `levels`
   */
  constructor(
    private readonly season: number,
    levels: readonly number[],
    private readonly scored: readonly number[],
    private readonly intervals: readonly number[],
  ) {
    this.at = new Map(levels.map((level, i) => [level, i]));
    for (const level of [0.5, ...scored, ...intervals.flatMap(intervalLevels)]) {
      if (!this.at.has(level)) throw new RangeError(`level ${level} is scored but not forecast`);
    }
  }

  /** @param quantiles one array of horizon values for each of `levels` */
  add(history: Float64Array, actual: Float64Array, quantiles: readonly Float64Array[]): void {
    const of = (level: number) => quantiles[this.at.get(level)!]!;
    for (const values of quantiles) {
      if (!values.every(Number.isFinite)) throw new RangeError('the forecast holds a value that is not finite');
    }
    const scaled = mase(history, actual, of(0.5), this.season);
    if (scaled !== undefined) {
      this.maseSum += scaled;
      this.maseCount++;
    }
    for (let i = 0; i < actual.length; i++) {
      const y = actual[i]!;
      if (Number.isNaN(y)) continue;
      this.points++;
      this.weight += Math.abs(y);
      for (const level of this.scored) this.loss += (2 * pinball(y, of(level)[i]!, level)) / this.scored.length;
      for (const percent of this.intervals) {
        const [low, high] = intervalLevels(percent);
        if (y >= of(low)[i]! && y <= of(high)[i]!) this.inside.set(percent, (this.inside.get(percent) ?? 0) + 1);
      }
    }
    this.count++;
  }

  score(): TaskScore {
    const coverage = Object.fromEntries(this.intervals.map((p) => [p, (this.inside.get(p) ?? 0) / this.points]));
    return { mase: this.maseSum / this.maseCount, wql: this.loss / this.weight, coverage, count: this.count };
  }
}
