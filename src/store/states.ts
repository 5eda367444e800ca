import { AdderError } from '../platform/errors.js';
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

/** What a backfill has worked out and a live stream may continue from: the state after the whole stored history of a series. */
export type HandedState = Pick<StoredState, 'seriesId' | 'modelId' | 'weightsDigest' | 'position' | 'lastAt' | 'bytes'>;

/** Layout of handed states: what `stateToBytes` of forecast/model/series-state.ts writes, under the plain id of the model. */
export const HANDED_VERSION = 1;

/** Recurrent states of series. A writer names the revision that it read, so two owners cannot overwrite each other. */
export class StateStore {
  constructor(private readonly database: Database) {}

  async get(owner: string, seriesId: bigint, modelId: string): Promise<StoredState | undefined> {
    return (await this.getMany(owner, [seriesId], modelId)).get(seriesId);
  }

  /** The states of many series at once, by series. */
  async getMany(owner: string, seriesIds: readonly bigint[], modelId: string): Promise<Map<bigint, StoredState>> {
    const { rows } = await this.database.pool.query<StoredState>(
      `select series_id as "seriesId", model_id as "modelId", weights_digest as "weightsDigest", version, position,
              (extract(epoch from last_at) * 1000)::float8 as "lastAt", sequence, bytes, dirty, revision
       from states where owner = $1 and model_id = $2 and series_id = any($3)`,
      [owner, modelId, seriesIds],
    );
    return new Map(rows.map((row) => [row.seriesId, row]));
  }

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

  /** `write` of one state; throws `STATE_CONFLICT` when another process has written or deleted it meanwhile. */
  async writeOne(owner: string, state: StoredState, client?: Queryable): Promise<void> {
    const kept = await this.write(owner, [state], client);
    if (!kept.has(state.seriesId)) {
      throw new AdderError({
        code: 'STATE_CONFLICT',
        message: 'another process has changed this state',
        fix: 'read it again and continue from there',
      });
    }
  }

  /**
   * Hands states over, except where one of the same weights is there that has seen more and is still valid: a stream went on
   * meanwhile. Returns the series whose state is now the one given; handing over again changes nothing.
   */
  async leave(owner: string, states: readonly HandedState[]): Promise<Set<bigint>> {
    const kept = new Set<bigint>();
    for (const modelId of new Set(states.map((state) => state.modelId))) {
      const own = states.filter((state) => state.modelId === modelId);
      const known = await this.getMany(
        owner,
        own.map(({ seriesId }) => seriesId),
        modelId,
      );
      const newer = own.filter(({ seriesId, weightsDigest, position }) => {
        const old = known.get(seriesId);
        const valid = old && !old.dirty && old.weightsDigest === weightsDigest;
        if (valid && old.position === position) kept.add(seriesId);
        return !valid || old.position < position;
      });
      const written = newer.map((state) => ({
        ...state,
        version: HANDED_VERSION,
        sequence: 0n,
        dirty: false,
        revision: known.get(state.seriesId)?.revision ?? 0,
      }));
      for (const id of await this.write(owner, written)) kept.add(id);
    }
    return kept;
  }

  /** Marks every state of a series: points behind them have changed. Returns how many were clean before. */
  async markDirty(owner: string, seriesId: bigint, client?: Queryable): Promise<number> {
    const { rowCount } = await (client ?? this.database.pool).query(
      'update states set dirty = true where owner = $1 and series_id = $2 and not dirty',
      [owner, seriesId],
    );
    return rowCount ?? 0;
  }

  /** Removes the states of a model, or of one series of it; returns how many. */
  async remove(owner: string, modelId: string, seriesId?: bigint): Promise<number> {
    const { count } = await this.database.prisma.state.deleteMany({
      where: { owner, modelId, ...(seriesId === undefined ? {} : { seriesId }) },
    });
    return count;
  }
}
