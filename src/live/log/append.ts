import type { Queryable } from '../../store/database.js';
import { byteaArray, int8Array, timestampArray } from '../../store/pg-binary.js';
import type { Collected } from './collect.js';
import { encodeChanges } from './entry.js';

/** PostgreSQL tells followers through it that the log has grown. */
export const LOG_CHANNEL = 'adder_live_log';

/** An entry as it was written. */
export interface Appended {
  partition: number;
  seq: number;
  bytes: Buffer;
}

/**
 * States that have passed a changed point must be rebuilt. A state that is being written at this moment may escape: its
 * writer commits, with it, how far it had read the log, and whoever loads the state looks at what came after.
 */
const mark = (ids: string, times: string) => `update states s set dirty = true
from unnest(${ids}::int8[], ${times}::timestamptz[]) u (id, at) where s.series_id = u.id and s.last_at >= u.at and not s.dirty`;

// The rows of live_heads are taken in one order by all writers, and held until the commit.
const APPEND = `with given as (select * from unnest($1::int[], $2::bytea[]) g (partition, bytes)),
marked as (${mark('$4', '$5')}),
locked as (select partition from live_heads where partition = any($1) order by partition for update),
counted as (update live_heads h set head = h.head + 1 from locked where h.partition = locked.partition returning h.partition, h.head),
kept as (insert into live_log (partition, seq, bytes) select partition, head, bytes from counted join given using (partition) returning partition, seq)
select partition, seq::float8 as seq, case when $3 then pg_notify('${LOG_CHANNEL}', '') end from kept`;

/** Marks the states of series that have passed a time, milliseconds since 1970. */
export async function markStates(client: Queryable, changes: readonly (readonly [bigint, number])[]): Promise<void> {
  await client.query({ name: 'adder_mark_states', text: mark('$1', '$2'), values: columnsOf(changes) });
}

/** Numbers and times of changed series, in one order for all writers. */
function columnsOf(changes: readonly (readonly [bigint, number])[]): [Buffer, Buffer] {
  const sorted = [...changes].sort(([a], [b]) => (a < b ? -1 : 1));
  return [int8Array(sorted.map(([id]) => id)), timestampArray(sorted.map(([, time]) => time))];
}

/**
 * Adds what a transaction changed to the log, as its last step before the commit.
 *
 * @param notify tell followers that listen on PostgreSQL; those on Redis are told after the commit
 */
export async function appendChanges(
  client: Queryable,
  { byPartition, earliest }: Collected,
  notify: boolean,
): Promise<Appended[]> {
  if (earliest.size === 0) return [];
  const partitions = [...byPartition.keys()];
  const bytes = partitions.map((partition) => encodeChanges(byPartition.get(partition)!));
  const { rows } = await client.query<{ partition: number; seq: number }>({
    name: 'adder_append_log',
    text: APPEND,
    values: [partitions, byteaArray(bytes), notify, ...columnsOf([...earliest])],
  });
  return rows.map(({ partition, seq }) => ({ partition, seq, bytes: bytes[partitions.indexOf(partition)]! }));
}
