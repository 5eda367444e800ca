import { AdderError } from '../platform/errors.js';
import type { FanInterval } from './chart/fan.js';
import type { Forecaster } from './forecaster.js';
import { intervalLevels, levelsOfIntervals } from './quantiles.js';
import type { Series } from './series/series.js';
import { MAX_TIME } from './time/timestamp.js';

/** The forecast of one series, named as people read it. */
export interface SeriesForecast {
  series: Series;
  horizon: number;
  median: Float64Array;
  /** Present where the forecaster knows an expected value apart from the median. */
  mean?: Float64Array;
  /** In the order asked for. */
  intervals: FanInterval[];
}

/** Series in one call of the forecaster: enough to fill any batch, few enough to hold little at once. */
const CHUNK = 2048;

/**
 * Forecasts series `horizon` steps ahead with central intervals.
 *
 * @param intervals coverages in percent, e.g. [80, 95]
 */
export async function predict(
  forecaster: Forecaster,
  series: Series[],
  horizon: number,
  intervals: readonly number[],
  onProgress?: (done: number) => void,
): Promise<SeriesForecast[]> {
  const levels = levelsOfIntervals(intervals);
  for (const { id, calendar, values, timeAt } of series) {
    if (!calendar || timeAt(values.length + horizon - 1) <= MAX_TIME) continue;
    throw new AdderError({
      code: 'BAD_HORIZON',
      message: `${horizon} steps ahead run past the year 9999`,
      where: { ...(id === '' ? {} : { series: id }), field: '--h' },
      fix: 'ask for fewer steps',
    });
  }
  const out: SeriesForecast[] = [];
  for (let from = 0; from < series.length; from += CHUNK) {
    const chunk = series.slice(from, from + CHUNK);
    const results = await forecaster.forecast(
      chunk.map(({ values, season, frequency }) => ({
        history: values,
        horizon,
        season,
        frequency,
        quantiles: levels,
      })),
    );
    for (const [i, { quantiles, mean }] of results.entries()) {
      const at = (level: number) => quantiles[levels.indexOf(level)]!;
      out.push({
        series: chunk[i]!,
        horizon,
        median: at(0.5),
        ...(mean ? { mean } : {}),
        intervals: intervals.map((percent) => {
          const [low, high] = intervalLevels(percent);
          return { percent, low: at(low), high: at(high) };
        }),
      });
    }
    onProgress?.(out.length);
  }
  return out;
}
