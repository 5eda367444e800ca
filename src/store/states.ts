import type { Database, Queryable } from './database.js';
import { byteaArray } from './pg-binary.js';

/** The recurrent state of one model after `position` steps of one series. */
export interface StoredState {
  seriesId: bigint;
  modelId: string;
  /** Digest of the weights that made the state; other weights cannot continue it. */
  weightsDigest: string;
  /** Layout of `bytes`. */
  version: number;
  position: bigint;
  /** Time of the last observation inside, milliseconds since 1970; null before the first. */
  lastAt: number | null;
  /** Sequence number of the stream that was last applied. */
  sequence: bigint;
  bytes: Buffer;
  /** Points behind the state have changed: it must be rebuilt before it is continued. */
  dirty: boolean;
  /** Counts the writes; 0 is a state that was never stored. */
  revision: number;
}

/** Recurrent states of series. A writer names the revision that it read, so two owners cannot overwrite each other. */
export class StateStore {
  constructor(private readonly database: Database) {}

  /**
   * Keeps states whose stored revision is still the one given, in one statement, and returns the series that were kept.
   * A series that is missing from the answer was written, or deleted, by another process meanwhile.
   */
  async write(owner: string, states: readonly StoredState[], client?: Queryable): Promise<Set<bigint>> {
    if (states.length === 0) return new Set();
    const { rows } = await (client ?? this.database.pool).query<{ id: bigint }>(
      `insert into states as s (owner, series_id, model_id, weights_digest, version, position, last_at, sequence, bytes, dirty, revision)
       select $1, u.series_id, u.model_id, u.digest, u.version, u.position, u.last_at, u.sequence, u.bytes, u.dirty, u.revision + 1
       from unnest($2::int8[], $3::text[], $4::text[], $5::int[], $6::int8[], $7::timestamptz[], $8::int8[], $9::bytea[], $10::bool[], $11::int[])
            as u (series_id, model_id, digest, version, position, last_at, sequence, bytes, dirty, revision)
       join series on series.id = u.series_id and series.owner = $1
       left join states old on old.series_id = u.series_id and old.model_id = u.model_id
       where u.revision = coalesce(old.revision, 0)
       order by u.series_id
       on conflict (series_id, model_id) do update set weights_digest = excluded.weights_digest, version = excluded.version,
         position = excluded.position, last_at = excluded.last_at, sequence = excluded.sequence, bytes = excluded.bytes,
         dirty = excluded.dirty, revision = excluded.revision, updated_at = now()
         where s.revision = excluded.revision - 1 and s.owner = excluded.owner
       returning s.series_id as id`,
      [
        owner,
        states.map((s) => s.seriesId),
        states.map((s) => s.modelId),
        states.map((s) => s.weightsDigest),
        states.map((s) => s.version),
        states.map((s) => s.position),
        states.map((s) => (s.lastAt === null ? null : new Date(s.lastAt))),
        states.map((s) => s.sequence),
        byteaArray(states.map((s) => s.bytes)),
        states.map((s) => s.dirty),
        states.map((s) => s.revision),
      ],
    );
    return new Set(rows.map((row) => row.id));
  }
}
