import type { Prisma, Series } from '../generated/prisma/client.js';
import { AdderError, quote } from '../platform/errors.js';
import { checkName } from './checks.js';
import type { Database, Queryable } from './database.js';
import { claimSeries } from './series-lock.js';

export type { Series };

/** What is known of a series when it is first seen, and what may be changed later. */
export interface SeriesFields {
  freq?: string | null;
  season?: number | null;
  metadata?: Prisma.InputJsonObject;
}

export interface SeriesPage {
  series: Series[];
  /** Pass as `after` for the next page; undefined on the last one. */
  next: string | undefined;
}

/** Points removed by one statement of a delete: enough to be fast, few enough to let others work between. */
const DELETE_CHUNK = 50_000;

/** Advisory lock under which series of one owner are created, so that a quota cannot be passed by two at once. */
const QUOTA_LOCK = 20_572;

const COLUMNS =
  's.id, s.owner, s.unique_id as "uniqueId", s.freq, s.season, s.metadata, s.created_at as "createdAt", s.updated_at as "updatedAt"';

/** Series by owner and `unique_id`. No method returns, changes or admits the existence of another owner's series. */
export class SeriesStore {
  constructor(private readonly database: Database) {}

  /** The series, or `UNKNOWN_SERIES`. */
  async get(owner: string, uniqueId: string): Promise<Series> {
    const found = await this.database.prisma.series.findUnique({ where: { owner_uniqueId: { owner, uniqueId } } });
    if (!found) throw unknownSeries(uniqueId);
    return found;
  }

  /** Those of `uniqueIds` that exist, by name. */
  async find(owner: string, uniqueIds: readonly string[]): Promise<Map<string, Series>> {
    const rows = await this.database.pool.query<Series>(
      `select ${COLUMNS} from series s where owner = $1 and unique_id = any($2)`,
      [owner, uniqueIds],
    );
    return new Map(rows.rows.map((row) => [row.uniqueId, row]));
  }

  /**
   * The series of these names; missing ones are created with the fields given, existing ones stay as they are.
   * Throws `BAD_NAME`, and `TOO_MANY_SERIES` when creating them would pass `limit`; then none is created.
   */
  async ensure(
    owner: string,
    wanted: readonly ({ uniqueId: string } & SeriesFields)[],
    limit: number,
  ): Promise<Map<string, Series>> {
    const unique = new Map(wanted.map((entry) => [checkName(entry.uniqueId, 'unique_id'), entry]));
    const found = await this.find(owner, [...unique.keys()]);
    const missing = [...unique.values()].filter((entry) => !found.has(entry.uniqueId));
    if (missing.length === 0) return found;
    await this.database.transaction(async (client) => {
      await client.query('select pg_advisory_xact_lock($1, hashtext($2))', [QUOTA_LOCK, owner]);
      await client.query(
        `insert into series (owner, unique_id, freq, season, metadata)
         select $1, u.* from unnest($2::text[], $3::text[], $4::int[], $5::jsonb[]) u
         on conflict (owner, unique_id) do nothing`,
        [
          owner,
          missing.map((entry) => entry.uniqueId),
          missing.map((entry) => entry.freq ?? null),
          missing.map((entry) => entry.season ?? null),
          missing.map((entry) => JSON.stringify(entry.metadata ?? {})),
        ],
      );
      const { rows } = await client.query<{ count: bigint }>('select count(*) from series where owner = $1', [owner]);
      const count = Number(rows[0]?.count ?? 0);
      if (count > limit) {
        throw new AdderError({
          code: 'TOO_MANY_SERIES',
          message: `${missing.length} new series would make ${count}, the limit is ${limit}`,
          fix: 'delete series that are no longer needed, or raise ADDER_MAX_SERIES',
        });
      }
    });
    return this.find(owner, [...unique.keys()]);
  }

  /** Series in the order of their names. `prefix` narrows to names that begin with it. */
  async list(owner: string, options: { after?: string; limit?: number; prefix?: string } = {}): Promise<SeriesPage> {
    const limit = Math.min(options.limit ?? 100, 1000);
    const series = await this.database.prisma.series.findMany({
      where: {
        owner,
        uniqueId: {
          ...(options.after === undefined ? {} : { gt: options.after }),
          ...(options.prefix ? { startsWith: options.prefix } : {}),
        },
      },
      orderBy: { uniqueId: 'asc' },
      take: limit + 1,
    });
    const more = series.length > limit;
    if (more) series.pop();
    return { series, next: more ? series.at(-1)?.uniqueId : undefined };
  }

  count(owner: string): Promise<number> {
    return this.database.prisma.series.count({ where: { owner } });
  }

  /** Changes the fields given and leaves the others; returns the series as it was and as it is. Throws `UNKNOWN_SERIES`. */
  async update(
    owner: string,
    uniqueId: string,
    { freq, season, metadata }: SeriesFields,
    client: Queryable = this.database.pool,
  ): Promise<{ before: Pick<Series, 'freq' | 'season'>; after: Series }> {
    const { rows } = await client.query<Series & { oldFreq: string | null; oldSeason: number | null }>(
      `update series s set freq = case when $3 then $4 else s.freq end, season = case when $5 then $6::int else s.season end,
         metadata = coalesce($7::jsonb, s.metadata), updated_at = now()
       from (select id, freq, season from series where owner = $1 and unique_id = $2 for no key update) old where s.id = old.id
       returning ${COLUMNS}, old.freq as "oldFreq", old.season as "oldSeason"`,
      [
        owner,
        uniqueId,
        freq !== undefined,
        freq ?? null,
        season !== undefined,
        season ?? null,
        metadata === undefined ? null : JSON.stringify(metadata),
      ],
    );
    if (!rows[0]) throw unknownSeries(uniqueId);
    const { oldFreq, oldSeason, ...after } = rows[0];
    return { before: { freq: oldFreq, season: oldSeason }, after };
  }

  /**
   * Removes a series with its points, states and results. When it returns nothing is left; when it is cut short the series
   * is gone and `sweep` removes the rest. Throws `UNKNOWN_SERIES`.
   */
  async remove(owner: string, uniqueId: string): Promise<void> {
    const { id } = await this.get(owner, uniqueId);
    await this.database.transaction(async (client) => {
      await claimSeries(client, [id]);
      const { rowCount } = await client.query('delete from series where id = $1 and owner = $2', [id, owner]);
      if (!rowCount) throw unknownSeries(uniqueId);
      await client.query('insert into deleted_series (id, owner) values ($1, $2)', [id, owner]);
    });
    await this.removePoints(id);
  }

  /** Finishes deletes that were cut short; returns how many. */
  async sweep(): Promise<number> {
    const left = await this.database.prisma.deletedSeries.findMany({ orderBy: { id: 'asc' }, take: 1000 });
    for (const { id } of left) await this.removePoints(id);
    return left.length;
  }

  private async removePoints(id: bigint): Promise<void> {
    for (let rows = DELETE_CHUNK; rows === DELETE_CHUNK; ) {
      const result = await this.database.pool.query(
        'delete from points where series_id = $1 and at in (select at from points where series_id = $1 order by at limit $2)',
        [id, DELETE_CHUNK],
      );
      rows = result.rowCount ?? 0;
    }
    await this.database.pool.query('delete from deleted_series where id = $1', [id]);
  }
}

export const unknownSeries = (uniqueId: string) =>
  new AdderError({
    code: 'UNKNOWN_SERIES',
    message: `there is no series ${quote(uniqueId)}`,
    where: { series: uniqueId },
    fix: 'create it by writing points to it, or check the spelling',
  });
