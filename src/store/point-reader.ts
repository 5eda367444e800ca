import { MAX_TIME, MIN_TIME } from './checks.js';
import type { Database } from './database.js';
import { readFloat8Array, readTimestampArray } from './pg-binary.js';

/** Times in milliseconds since 1970, ascending; NaN is a missing value. */
export interface PointSeries {
  times: Float64Array;
  values: Float64Array;
}

/** Half-open range [from, to) in milliseconds since 1970; an absent end is open. */
export interface TimeRange {
  from?: number;
  to?: number;
}

/** What lies in each interval of a down-sampled range; intervals without points are absent. */
export interface PointBuckets {
  /** Begin of each interval. */
  times: Float64Array;
  /** Mean, least and greatest of the values that are not missing; NaN where all are. */
  mean: Float64Array;
  min: Float64Array;
  max: Float64Array;
  /** Points, missing ones included. */
  count: Float64Array;
  /** Length of the intervals, milliseconds. */
  stepMs: number;
}

export interface PointStatistics {
  count: number;
  first: number | undefined;
  last: number | undefined;
}

const RANGE = `series_id = $1 and at >= coalesce($2::timestamptz, '-infinity') and at < coalesce($3::timestamptz, 'infinity')`;

/** Interval lengths that people read easily; a longer one is a multiple of the last. */
const NICE_MS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000,
  900_000, 1_800_000, 3_600_000, 7_200_000, 10_800_000, 21_600_000, 43_200_000, 86_400_000,
];

/**
 * Reads points of one series whose owner the caller has checked. Whole columns arrive in binary, so a hundred thousand
 * points cost a few milliseconds of this thread.
 */
export class PointReader {
  constructor(private readonly database: Database) {}

  /** Points of a range in order of time, at most `limit`: the earliest ones, or with `last` the latest ones. */
  async read(seriesId: bigint, options: TimeRange & { limit: number; last?: boolean }): Promise<PointSeries> {
    const direction = options.last ? 'desc' : 'asc';
    const [row] = await this.columns(
      `select array_send(array_agg(at order by at)), array_send(array_agg(value order by at))
       from (select at, value from points where ${RANGE} order by at ${direction} limit $4) p`,
      [seriesId, date(options.from), date(options.to), options.limit],
    );
    return { times: readTimestampArray(row?.[0] ?? null), values: readFloat8Array(row?.[1] ?? null) };
  }

  /**
   * A range in at most about `buckets` intervals of equal, round length, aligned to 1970 UTC, so that the intervals of
   * neighbouring requests meet.
   */
  async downsample(seriesId: bigint, options: TimeRange & { buckets: number }): Promise<PointBuckets> {
    const { first, last } = await this.statistics(seriesId, options);
    const stepMs = niceStep(((last ?? 0) - (first ?? 0)) / Math.max(1, options.buckets));
    const [row] = await this.columns(
      `select array_send(array_agg(b order by b)), array_send(array_agg(mean order by b)), array_send(array_agg(low order by b)), array_send(array_agg(high order by b)), array_send(array_agg(n order by b))
       from (select date_bin($4::interval, at, 'epoch') as b, avg(value) as mean, min(value) as low, max(value) as high, count(*)::float8 as n
             from points where ${RANGE} group by 1) p`,
      [seriesId, date(options.from), date(options.to), `${stepMs} milliseconds`],
    );
    const column = (index: number) => readFloat8Array(row?.[index] ?? null);
    const times = readTimestampArray(row?.[0] ?? null);
    return { times, mean: column(1), min: column(2), max: column(3), count: column(4), stepMs };
  }

  /** How many points a range has, and when the first and the last one are. */
  async statistics(seriesId: bigint, range: TimeRange = {}): Promise<PointStatistics> {
    const { rows } = await this.database.pool.query<{ count: bigint; first: Date | null; last: Date | null }>(
      `select count(*), min(at) as first, max(at) as last from points where ${RANGE}`,
      [seriesId, date(range.from), date(range.to)],
    );
    const row = rows[0]!;
    return { count: Number(row.count), first: row.first?.getTime(), last: row.last?.getTime() };
  }

  /** Runs a query of one row of arrays; each column comes as the bytes of its binary form, which travel as hex. */
  private async columns(text: string, values: unknown[]): Promise<(Buffer | null)[][]> {
    const { rows } = await this.database.pool.query<(Buffer | null)[]>({ text, values, rowMode: 'array' } as never);
    return rows as (Buffer | null)[][];
  }
}

/** An end of a range; one that lies beyond all storable times is as good as none. */
const date = (ms: number | undefined) =>
  ms === undefined || ms < MIN_TIME || ms > MAX_TIME ? null : new Date(Math.ceil(ms)).toISOString();

/** The smallest round length that is not below `ms`. */
export function niceStep(ms: number): number {
  const day = 86_400_000;
  return NICE_MS.find((step) => step >= ms) ?? Math.ceil(ms / day) * day;
}
