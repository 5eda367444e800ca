import type { Series } from '../series/series.js';

/** One central interval over the horizon. */
export interface FanInterval {
  /** Coverage in percent. */
  percent: number;
  low: Float64Array;
  high: Float64Array;
}

/** All that a chart of one forecast needs. Times are milliseconds UTC, or counts if `calendar` is false. */
export interface Fan {
  title: string;
  calendar: boolean;
  historyTimes: Float64Array;
  /** NaN = missing. */
  history: Float64Array;
  futureTimes: Float64Array;
  median: Float64Array;
  /** Widest first, so that drawing in order nests them. */
  intervals: FanInterval[];
  /** Held-out values of the horizon, where they are known. */
  actual?: Float64Array;
}

/** How many past steps a chart shows: three horizons or two seasons, at least 48 and at most 2,000. */
export function shownHistory(length: number, horizon: number, season: number): number {
  return Math.min(length, Math.max(48, Math.min(2000, Math.max(3 * horizon, 2 * season))));
}

/**
 * The fan of one series and its forecast.
 *
 * @param intervals any order
 */
export function fanOf(
  series: Series,
  forecast: { median: Float64Array; intervals: FanInterval[]; actual?: Float64Array },
  title: string,
): Fan {
  const horizon = forecast.median.length;
  const n = series.values.length;
  const shown = shownHistory(n, horizon, series.season);
  const times = (from: number, count: number) =>
    Float64Array.from({ length: count }, (_, i) => series.timeAt(from + i));
  return {
    title,
    calendar: series.calendar,
    historyTimes: times(n - shown, shown),
    history: series.values.subarray(n - shown),
    futureTimes: times(n, horizon),
    median: forecast.median,
    intervals: [...forecast.intervals].sort((a, b) => b.percent - a.percent),
    ...(forecast.actual ? { actual: forecast.actual } : {}),
  };
}

/** Smallest and largest value that a chart has to show; a constant gets some room on both sides. */
export function valueRange(fan: Fan): [number, number] {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  const arrays = [
    fan.history,
    fan.median,
    ...fan.intervals.flatMap((i) => [i.low, i.high]),
    ...(fan.actual ? [fan.actual] : []),
  ];
  for (const values of arrays) {
    for (const v of values) {
      if (v < low) low = v;
      if (v > high) high = v;
    }
  }
  if (low === high) {
    const room = Math.abs(low) * 0.1 || 1;
    return [low - room, high + room];
  }
  return [low, high];
}
