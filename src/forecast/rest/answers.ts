import { intervalLevels } from '../quantiles.js';
import type { WindowForecast } from './forecast-service.js';
import { jsonNumbers, type WantedLevels } from './levels.js';
import type { PreparedSeries } from './prepare.js';

/** What an answer says about every series. */
export const aboutSeries = ({ id, frequency, season, seasonSource, notices }: PreparedSeries) => ({
  id,
  frequency: frequency ?? null,
  season,
  seasonSource,
  notices,
});

export function labels(series: PreparedSeries, from: number, count: number): string[] | null {
  const { labelAt } = series;
  return labelAt ? Array.from({ length: count }, (_, k) => labelAt(from + k)) : null;
}

/** The quantiles of one forecast under the names that were asked for. */
export function forecastValues(forecast: WindowForecast, wanted: WantedLevels) {
  const at = (level: number) => jsonNumbers(forecast.quantiles[wanted.all.indexOf(level)]!);
  return {
    median: at(0.5),
    ...(forecast.mean ? { mean: jsonNumbers(forecast.mean) } : {}),
    ...(wanted.intervals.length > 0
      ? {
          intervals: Object.fromEntries(
            wanted.intervals.map((percent) => {
              const [low, high] = intervalLevels(percent);
              return [String(percent), { low: at(low), high: at(high) }];
            }),
          ),
        }
      : {}),
    ...(wanted.quantiles
      ? { quantiles: Object.fromEntries(wanted.quantiles.map((level) => [String(level), at(level)])) }
      : {}),
  };
}
