/** What the owner of partitions asks of the store besides the series' own data. */
import type { Database } from '../store/database.js';
import { int8Array } from '../store/pg-binary.js';
import { markStates } from './log/append.js';
import { decodeChanges } from './log/entry.js';
import { PARTITIONS } from './log/partition.js';

export interface NamedSeries {
  id: bigint;
  owner: string;
  name: string;
}

/** Series of these partitions that somebody demands. */
export async function demandedSeries({ pool }: Database, partitions: readonly number[]): Promise<NamedSeries[]> {
  const { rows } = await pool.query<NamedSeries>(
    `select distinct s.id, s.owner, s.unique_id as name from live_demands d
     join series s on s.owner = d.owner and (s.unique_id = any(d.ids) or starts_with(s.unique_id, d.prefix))
     where s.id % ${PARTITIONS} = any($1) and (d.until is null or d.until >= now())`,
    [partitions],
  );
  return rows;
}

export async function seriesByNumber({ pool }: Database, ids: readonly number[]): Promise<NamedSeries[]> {
  const { rows } = await pool.query<NamedSeries>(
    'select id, owner, unique_id as name from series where id = any($1::int8[])',
    [int8Array(ids.map(BigInt))],
  );
  return rows;
}

/**
 * Marks states behind which points changed without the mark of the writer: their owner was writing them at that moment.
 * Such changes are in the log behind the cursor that the owner committed with the states.
 *
 * @returns the head of the log: what comes after it has yet to be worked in
 */
export async function settleCursor({ pool }: Database, partition: number, cursor: number): Promise<number> {
  const { rows } = await pool.query<{ bytes: Buffer }>(
    'select bytes from live_log where partition = $1 and seq > $2 order by seq',
    [partition, cursor],
  );
  const earliest = new Map<number, number>();
  const see = (id: number, time: number) => {
    earliest.set(id, Math.min(earliest.get(id) ?? Number.POSITIVE_INFINITY, time));
  };
  for (const { bytes } of rows) {
    const { points, touched } = decodeChanges(bytes);
    points.ids.forEach((id, i) => {
      see(id, points.times[i]!);
    });
    touched.ids.forEach((id, i) => {
      see(id, touched.from[i]!);
    });
  }
  if (earliest.size > 0) {
    await markStates(
      pool,
      [...earliest].map(([id, time]) => [BigInt(id), time]),
    );
  }
  const { rows: heads } = await pool.query<{ head: number }>(
    'select head::float8 as head from live_heads where partition = $1',
    [partition],
  );
  return heads[0]?.head ?? cursor;
}

/**
 * Removes entries that were worked in, and those that nobody will: of partitions without an owner, older than two minutes
 * and at least a minute younger than the last commit of an owner. States know of later changes by their marks.
 */
export async function trimLog({ pool }: Database): Promise<void> {
  await pool.query(
    `delete from live_log l using live_partitions p where l.partition = p.partition and
     (l.seq <= p.cursor or (l.at < now() - interval '2 minutes' and l.at > p.touched_at + interval '1 minute'
       and (p.lease_until is null or p.lease_until < now() - interval '1 minute')))`,
  );
}
