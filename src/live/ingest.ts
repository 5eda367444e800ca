/**
 * The way in for live points: what every door calls, whatever its protocol.
 *
 *   const rows = new ColumnStore();
 *   rows.push('boiler/temperature', Date.now(), 71.5, line);
 *   const ack = await ingest.write(caller, rows, { stream: 'gateway-7', sequence: 41n });   // committed
 */
import type { ColumnStore } from '../forecast/series/columns.js';
import type { SeriesFields } from '../store/series.js';

/** Who writes, and how many series they may have. A Caller of the HTTP side fits. */
export interface Writer {
  owner: string;
  limits: { storedSeries: number };
}

export interface WriteOptions {
  /**
   * Place of the batch in a stream of batches, for doors whose clients number them: a batch at or below the committed
   * number is acknowledged as `repeated` and changes nothing. Batches of a stream are committed in the order of the calls;
   * one that fails must be sent again before the next one of its stream.
   */
  stream?: string;
  sequence?: bigint;
  /**
   * Keep the good points and report the others in `rejected`, for protocols that acknowledge in part. Otherwise one bad
   * point refuses the batch and nothing of it is kept.
   */
  partial?: boolean;
  /** What is known of a series that is seen for the first time; series that exist stay as they are. */
  describe?: (series: string) => SeriesFields;
}

/** A point that was not kept. */
export interface Rejection {
  /** Row of the batch. */
  index: number;
  series: string;
  code: 'BAD_NAME' | 'BAD_TIMESTAMP' | 'BAD_VALUE' | 'TOO_MANY_SERIES';
  message: string;
}

/** What became of a batch. All of it is committed when the caller gets this. */
export interface Ack {
  /** Distinct series in the batch. */
  series: number;
  inserted: number;
  /** Points that existed with another value. */
  updated: number;
  /** Points that existed as they are, and repetitions inside the batch. */
  unchanged: number;
  /** The batch was committed before: nothing was done. */
  repeated: boolean;
  /** Empty unless `partial`. */
  rejected: Rejection[];
}

/** Writes points of any number of callers; those that come together share a transaction. */
export interface Ingest {
  /**
   * Commits a batch: names are mapped to series, missing series are created under the owner's quota, points are upserted
   * (of one series and time the last one wins) and the series' live states hear of it. NaN is a missing value.
   *
   * Throws AdderErrors: `BAD_NAME`, `BAD_TIMESTAMP`, `BAD_VALUE` with the place of the point, `TOO_MANY_SERIES`, and
   * `IngestOverloaded` (code `OVERLOADED`, with `retryAfter` in seconds) when too many points wait already.
   */
  write(writer: Writer, points: ColumnStore, options?: WriteOptions): Promise<Ack>;
}
