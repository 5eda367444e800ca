import type { CovariateColumn } from './covariates.js';
import type { ForecastService, WantedForecast, WindowForecast } from './forecast-service.js';

/** Latest values of the past that a window of many reads. */
const MAX_CONTEXT = 2048;

/** A history, cut at several places. */
export interface RollingSeries {
  values: Float64Array;
  season: number;
  frequency: string | undefined;
  columns?: readonly CovariateColumn[];
  /** Values that each window has seen, ascending; the values after it are what it forecasts. */
  cutoffs: readonly number[];
}

export interface RolledForecast {
  series: number;
  cutoff: number;
  forecast: WindowForecast;
}

/**
 * Forecasts made as if only the values before each cutoff were known, in the order of series and cutoffs. A cutoff before the
 * first value that is not missing has no forecast and is left out.
 */
export async function rollingForecasts(
  service: ForecastService,
  series: readonly RollingSeries[],
  wanted: WantedForecast,
): Promise<RolledForecast[]> {
  const places: { series: number; cutoff: number }[] = [];
  const windows = series.flatMap(({ values, season, frequency, columns, cutoffs }, index) => {
    const first = values.findIndex((value) => !Number.isNaN(value));
    return cutoffs
      .filter((cutoff) => first >= 0 && cutoff > first)
      .map((cutoff) => {
        // Not before the cutoff's last known value, or nothing would be left to go by.
        let from = Math.max(0, cutoff - MAX_CONTEXT);
        if (values.subarray(from, cutoff).every(Number.isNaN)) {
          from = values.subarray(0, cutoff).findLastIndex((value) => !Number.isNaN(value));
        }
        places.push({ series: index, cutoff });
        return {
          history: values.subarray(from, cutoff),
          season,
          frequency,
          columns: columns?.map((column) => ({
            ...column,
            values: column.values.subarray(from, cutoff + (column.known ? wanted.horizon : 0)),
          })),
        };
      });
  });
  const forecasts = await service.forecast(windows, wanted);
  return places.map((place, i) => ({ ...place, forecast: forecasts[i]! }));
}

/** Cutoffs that cover the values of [from, length) in blocks of `stride`. */
export function cutoffsOver(from: number, length: number, stride: number): number[] {
  const out: number[] = [];
  for (let cutoff = from; cutoff < length; cutoff += stride) out.push(cutoff);
  return out;
}

/** Cutoffs of a backtest: the last window ends with the history, each begins `step` before the next. */
export function backtestCutoffs(length: number, horizon: number, windows: number, step: number): number[] {
  return Array.from({ length: windows }, (_, k) => length - horizon - (windows - 1 - k) * step);
}

/** Forecasts of one request that judge its history, where it does not say how sharply. */
const DEFAULT_WINDOWS = 4096;

/** A block this long is as blurred as an answer should be; longer histories cost more instead. */
const MAX_STRIDE = 48;

/** Values that one forecast judges, so that all series together need a bounded number of forecasts. */
export function strideFor(lengths: readonly number[]): number {
  const total = lengths.reduce((sum, length) => sum + length, 0);
  return Math.min(MAX_STRIDE, Math.max(1, Math.ceil(total / DEFAULT_WINDOWS), Math.ceil(Math.max(...lengths) / 512)));
}

/** Values that come before the first judged one where there are so many: two seasons, and a few at least. */
export const warmUp = ({ values, season }: { values: Float64Array; season: number }) =>
  Math.min(Math.floor(values.length / 2), Math.max(8, 2 * season));
