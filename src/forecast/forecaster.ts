/** What a forecaster is asked: one history, how far to look ahead, and which quantiles. */
export interface ForecastRequest {
  /** Observations in time order on a regular grid; NaN marks a missing one. At least one is finite. */
  history: Float64Array;
  /** Steps ahead, ≥ 1. */
  horizon: number;
  /** Steps of one season; 1 means none is known. */
  season: number;
  /** Pandas-style frequency such as `H` or `15min`; undefined when the sampling is unknown. */
  frequency: string | undefined;
  /** Wanted quantile levels, each in (0, 1), strictly increasing. */
  quantiles: number[];
}

/** The answer to one ForecastRequest. */
export interface ForecastResult {
  /** One array of `horizon` values for each requested level, in the order requested; non-decreasing over levels. */
  quantiles: Float64Array[];
  /** Expected values, where the forecaster knows them apart from the median (intermittent demand). */
  mean?: Float64Array;
}

/** Forecasts of one history as they stood at several of its values. */
export interface RollRequest {
  /** As in a ForecastRequest. Each forecast sees all of it up to its origin, so the caller cuts what is too long ago. */
  history: Float64Array;
  season: number;
  frequency: string | undefined;
  quantiles: number[];
  /** Steps ahead of each origin. */
  horizon: number;
  /** Values that each forecast has seen, ascending, from 1 to the length of the history. */
  origins: number[];
}

export interface RollResult {
  /** For each level [origins · horizon], the first origin's steps first; NaN for origins before the first observation. */
  quantiles: Float64Array[];
}

/** Everything that forecasts, neural or statistical, speaks this. */
export interface Forecaster {
  /** Stable name, printed with every forecast. */
  readonly id: string;
  /**
   * Forecasts many histories, results in the order of the requests. Requests may differ in length, horizon and levels.
   * A history without any finite value is an AdderError (`NO_VALUES`).
   */
  forecast(requests: ForecastRequest[]): Promise<ForecastResult[]>;
  /** Releases devices and threads; a forecaster without such things has no close. */
  close?(): Promise<void>;
}

/** The nine levels that the neural forecaster is trained on and that published scores are means over. */
export const STANDARD_LEVELS: readonly number[] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
