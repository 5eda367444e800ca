import type { Database } from '../../../store/database.js';

/** The sequence number up to which a stream is committed; 0 before its first batch. */
export async function committedSequence(database: Database, owner: string, stream: string): Promise<bigint> {
  const { rows } = await database.pool.query<{ sequence: bigint }>(
    'select sequence from stream_positions where owner = $1 and stream = $2',
    [owner, stream],
  );
  return rows[0]?.sequence ?? 0n;
}
