import type pg from 'pg';
import { AdderError } from '../platform/errors.js';
import { isStorableTime } from './checks.js';
import type { Database, Queryable } from './database.js';
import { float8Array, int8Array, readInt8Array, readTimestampArray, timestampArray } from './pg-binary.js';
import { ascending } from './point-order.js';
import { shareSeries } from './series-lock.js';

/** Points as columns of one length: whose, when (milliseconds since 1970, whole), how much (NaN is a missing value). */
export interface PointColumns {
  seriesIds: BigInt64Array;
  times: Float64Array;
  values: Float64Array;
}

export interface WriteResult {
  inserted: number;
  /** Points that existed with another value. */
  updated: number;
  /** Points that existed as they are, and repetitions inside the batch. */
  unchanged: number;
  /** The batch was committed before: nothing was done. */
  repeated: boolean;
}

/** Place of a batch in a stream of batches; a batch at or below the committed sequence number is a repetition. */
export interface StreamPlace {
  stream: string;
  sequence: bigint;
}

/** Rows of one statement: beyond this the arrays cost memory and gain no time. */
const STATEMENT_ROWS = 20_000;

/** What a batch changed, ascending by (series, time). */
export interface ChangedPoints {
  /** Points that were not there. */
  fresh: PointColumns;
  /** Points that had another value. */
  updated: Pick<PointColumns, 'seriesIds' | 'times'>;
}

// Which points changed is asked for only where the answer is neither all of them nor none.
const UPSERT = `with written as (
  insert into points as p (series_id, at, value)
  select * from unnest($1::int8[], $2::timestamptz[], $3::float8[])
  on conflict (series_id, at) do update set value = excluded.value where p.value is distinct from excluded.value
  returning series_id, at, xmax = 0 as fresh),
counted as (select count(*) filter (where fresh)::int as inserted, count(*) filter (where not fresh)::int as updated from written)
select inserted, updated,
  case when inserted between 1 and $4::int - 1 then (select array_send(array_agg(series_id order by series_id, at)) from written where fresh) end as "freshIds",
  case when inserted between 1 and $4::int - 1 then (select array_send(array_agg(at order by series_id, at)) from written where fresh) end as "freshTimes",
  case when updated > 0 then (select array_send(array_agg(series_id order by series_id, at)) from written where not fresh) end as "updatedIds",
  case when updated > 0 then (select array_send(array_agg(at order by series_id, at)) from written where not fresh) end as "updatedTimes"
from counted`;

interface UpsertRow {
  inserted: number;
  updated: number;
  freshIds: Buffer | null;
  freshTimes: Buffer | null;
  updatedIds: Buffer | null;
  updatedTimes: Buffer | null;
}

/** Writes points in bulk. Reading is in point-reader.ts. */
export class PointWriter {
  constructor(private readonly database: Database) {}

  /**
   * Writes a batch in one transaction: when it returns, all of it survives a crash of any process; when it throws, nothing
   * of it was kept. A point that exists takes the new value (the last one wins, inside the batch too), so writing the same
   * batch again changes nothing. With a `place` a batch that was committed before is recognised and not even compared.
   *
   * Throws AdderErrors: `BAD_TIMESTAMP` and `BAD_VALUE` with the index of the point, `UNKNOWN_SERIES` when one of the series
   * is not the owner's.
   */
  async write(owner: string, points: PointColumns, place?: StreamPlace): Promise<WriteResult> {
    check(points);
    return this.database.transaction((client) => this.writeIn(client, owner, points, place));
  }

  /** `write` as a part of a transaction of the caller. `onChanged` is told what changed, statement by statement. */
  async writeIn(
    client: Queryable,
    owner: string,
    points: PointColumns,
    place?: StreamPlace,
    onChanged?: (changed: ChangedPoints) => void,
  ): Promise<WriteResult> {
    const total = points.times.length;
    const result: WriteResult = { inserted: 0, updated: 0, unchanged: 0, repeated: false };
    if (place && !(await advance(client, owner, place))) return { ...result, unchanged: total, repeated: true };
    if (total === 0) return result;
    const seriesIds = new Set(points.seriesIds);
    await shareSeries(client, seriesIds);
    const { rowCount } = await client.query('select from series where owner = $1 and id = any($2)', [
      owner,
      [...seriesIds],
    ]);
    if (rowCount !== seriesIds.size) {
      throw new AdderError({
        code: 'UNKNOWN_SERIES',
        message: 'a series of this batch does not exist or was deleted meanwhile',
        fix: 'create the series again, then send the batch again',
      });
    }
    const sorted = ascending(points);
    for (let from = 0; from < sorted.times.length; from += STATEMENT_ROWS) {
      const to = Math.min(from + STATEMENT_ROWS, sorted.times.length);
      const part = {
        seriesIds: sorted.seriesIds.subarray(from, to),
        times: sorted.times.subarray(from, to),
        values: sorted.values.subarray(from, to),
      };
      const { rows }: pg.QueryResult<UpsertRow> = await client.query({
        name: 'adder_upsert_points',
        text: UPSERT,
        values: [int8Array(part.seriesIds), timestampArray(part.times), float8Array(part.values), to - from],
      });
      const row = rows[0]!;
      result.inserted += row.inserted;
      result.updated += row.updated;
      if (onChanged && row.inserted + row.updated > 0) onChanged(changedOf(part, row));
    }
    result.unchanged = total - result.inserted - result.updated;
    return result;
  }

  /** Removes the points of [from, to), milliseconds since 1970; returns how many. The caller has checked the owner. */
  async removeRange(seriesId: bigint, from: number, to: number, client?: Queryable): Promise<number> {
    const { rowCount } = await (client ?? this.database.pool).query(
      'delete from points where series_id = $1 and at >= $2 and at < $3',
      [seriesId, new Date(from), new Date(to)],
    );
    return rowCount ?? 0;
  }
}

function changedOf(part: PointColumns, row: UpsertRow): ChangedPoints {
  const updated = { seriesIds: readInt8Array(row.updatedIds), times: readTimestampArray(row.updatedTimes) };
  if (row.inserted === part.times.length) return { fresh: part, updated };
  const seriesIds = readInt8Array(row.freshIds);
  const times = readTimestampArray(row.freshTimes);
  const values = new Float64Array(times.length);
  // Both in one order, so one walk finds the values.
  for (let i = 0, k = 0; i < times.length; i++, k++) {
    while (part.times[k] !== times[i] || part.seriesIds[k] !== seriesIds[i]) k++;
    values[i] = part.values[k]!;
  }
  return { fresh: { seriesIds, times, values }, updated };
}

/** Moves the stream to this batch; false when it has been there. Other batches of the stream wait until we are done. */
async function advance(client: Queryable, owner: string, { stream, sequence }: StreamPlace): Promise<boolean> {
  const { rowCount } = await client.query(
    `insert into stream_positions as p (owner, stream, sequence) values ($1, $2, $3)
     on conflict (owner, stream) do update set sequence = excluded.sequence, updated_at = now()
     where p.sequence < excluded.sequence`,
    [owner, stream, sequence],
  );
  return rowCount === 1;
}

/** Throws `BAD_TIMESTAMP` and `BAD_VALUE` with the index of the point. */
function check({ seriesIds, times, values }: PointColumns): void {
  if (seriesIds.length !== times.length || values.length !== times.length) {
    throw new Error(`columns of ${seriesIds.length}, ${times.length} and ${values.length} points`);
  }
  for (let i = 0; i < times.length; i++) {
    if (!isStorableTime(times[i]!)) {
      throw new AdderError({
        code: 'BAD_TIMESTAMP',
        message: `point ${i} has a time outside the years 1 to 9999`,
        where: { field: `points[${i}].timestamp` },
        fix: 'send milliseconds since 1970 or an ISO 8601 date',
      });
    }
    if (values[i] === Number.POSITIVE_INFINITY || values[i] === Number.NEGATIVE_INFINITY) {
      throw new AdderError({
        code: 'BAD_VALUE',
        message: `point ${i} is infinite`,
        where: { field: `points[${i}].value` },
        fix: 'send null for a missing value',
      });
    }
  }
}
