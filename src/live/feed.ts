/**
 * The way out of live forecasts: what the doors that push, alert and publish listen to.
 *
 *   const subscription = await feed.subscribe(owner, { prefix: 'boiler/' }, { horizon: 24 }, (output) => send(output));
 *   …
 *   await subscription.close();
 *
 * A forecast is computed for a series as long as somebody demands it: a subscription, or a standing demand.
 */
import type { Queryable } from '../store/database.js';

/** Series of one owner, also ones that do not exist yet. */
export type SeriesFilter = { ids: readonly string[] } | { prefix: string };

/** A new value against the forecast that stood when it came. */
export interface PointScore {
  /** Begin of the value's step, milliseconds since 1970. */
  time: number;
  value: number;
  expected: number;
  /** 10 % and 90 % quantile. */
  low: number;
  high: number;
  /** Distance from the median in standard deviations of the forecast, each side its own, with sign; within ±1000. */
  score: number;
}

/** What the owner of a series' state says after new points. */
export interface LiveOutput {
  owner: string;
  /** `unique_id` */
  series: string;
  seriesId: bigint;
  /** Counts the outputs of this series from 1; a listener that misses one sees it. */
  sequence: number;
  /** Steps since the first observation that the forecast has seen. */
  position: number;
  /** Begin of the latest step seen that has a value, milliseconds since 1970, and its value. */
  at: number;
  value: number;
  /** Pandas-style frequency of the series' grid. */
  frequency: string;
  /** Begin of each forecast step, milliseconds since 1970: the steps after `at`. */
  times: Float64Array;
  /** Quantile levels, ascending. */
  levels: readonly number[];
  /** One array of `times.length` values for each level. */
  quantiles: Float64Array[];
  /** Values that came since the last output, oldest first, at most one patch; empty without a standing forecast. */
  scores: PointScore[];
  /** Name of the model. */
  model: string;
}

export interface Subscription {
  close(): Promise<void>;
}

export interface LiveFeed {
  /**
   * Calls `listener` with each output of the series that the filter names, in the order of their `sequence`, beginning with
   * the present one of each. `listener` must not wait: doors with slow clients drop the oldest themselves. After a lost connection outputs are
   * caught up to the latest; the `sequence` shows what is missing.
   *
   * @param options.horizon steps to forecast; one patch of the model (16) by default
   */
  subscribe(
    owner: string,
    filter: SeriesFilter,
    options: { horizon?: number },
    listener: (output: LiveOutput) => void,
  ): Promise<Subscription>;

  /**
   * Demands forecasts until `release`, across restarts: for alert rules, publishing and scrapes, which have no client that
   * waits. A demand of the same name is replaced.
   */
  demand(owner: string, name: string, filter: SeriesFilter, options: { horizon?: number }): Promise<void>;
  release(owner: string, name: string): Promise<void>;

  /** The present output of each series that the filter names and that has one, in the order of their names. */
  latest(owner: string, filter: SeriesFilter, page?: { after?: string; limit?: number }): Promise<LiveOutput[]>;
}

/**
 * Work that the owner of the states does with its outputs inside the transaction that commits them, and that is so done
 * exactly once for each output: alert rules write what they found as rows for a sender to take.
 */
export interface OutputHook {
  /** Outputs of one commit, each (series, sequence) once. Throwing fails the commit, which is then tried again. */
  within(client: Queryable, outputs: readonly LiveOutput[]): Promise<void>;
}
