import type { Database, Queryable } from '../store/database.js';
import { byteaArray, int8Array, timestampArray } from '../store/pg-binary.js';
import type { LiveOutput, SeriesFilter } from './feed.js';
import { decodeOutput } from './output-codec.js';
import { type Standing, standingOf } from './standing.js';

/** Outputs with their bytes, as they are committed and told. */
export interface EncodedOutput {
  output: LiveOutput;
  bytes: Buffer;
}

interface Row {
  id: string;
  owner: string;
  name: string;
  sequence: number;
  at: number;
  bytes: Buffer;
}

const COLUMNS = `o.series_id::text as id, o.owner, s.unique_id as name, o.sequence::float8 as sequence,
  (extract(epoch from o.at) * 1000)::float8 as at, o.bytes`;

const outputOf = ({ id, owner, name, sequence, at, bytes }: Row): LiveOutput =>
  decodeOutput({ owner, series: name, seriesId: BigInt(id), sequence, at }, bytes);

/** The present output of each series. One that cannot be read, being of another version or damaged, is told and left out. */
export class OutputStore {
  constructor(
    private readonly database: Database,
    private readonly onError: (error: Error) => void,
  ) {}

  /** Keeps outputs, and returns the series that do not exist any more. */
  async write(client: Queryable, outputs: readonly EncodedOutput[]): Promise<bigint[]> {
    if (outputs.length === 0) return [];
    const sorted = [...outputs].sort((a, b) => (a.output.seriesId < b.output.seriesId ? -1 : 1));
    const { rows } = await client.query<{ id: bigint }>({
      name: 'adder_live_outputs',
      text: `insert into live_outputs as o (series_id, owner, sequence, at, bytes)
       select s.id, s.owner, u.sequence, u.at, u.bytes
       from unnest($1::int8[], $2::int8[], $3::timestamptz[], $4::bytea[]) u (id, sequence, at, bytes) join series s on s.id = u.id
       order by s.id
       on conflict (series_id) do update set sequence = excluded.sequence, at = excluded.at, bytes = excluded.bytes
       returning series_id as id`,
      values: [
        int8Array(sorted.map(({ output }) => output.seriesId)),
        int8Array(sorted.map(({ output }) => BigInt(output.sequence))),
        timestampArray(sorted.map(({ output }) => output.at)),
        byteaArray(sorted.map(({ bytes }) => bytes)),
      ],
    });
    if (rows.length === sorted.length) return [];
    const kept = new Set(rows.map(({ id }) => id));
    return sorted.map(({ output }) => output.seriesId).filter((id) => !kept.has(id));
  }

  /** By number of series. */
  async byId(ids: readonly bigint[]): Promise<LiveOutput[]> {
    return this.readEach(await this.rows(ids), outputOf);
  }

  /**
   * What the next outputs of series need of their present ones. Of one that cannot be read that is its number and its time,
   * so that its sequence goes on.
   */
  async standings(ids: readonly bigint[]): Promise<Map<bigint, Standing>> {
    const rows = await this.rows(ids);
    const none = new Float64Array();
    return new Map([
      ...rows.map(({ id, sequence, at }) => [BigInt(id), { sequence, at, times: none, quantiles: none }] as const),
      ...this.readEach(rows, (row) => [BigInt(row.id), standingOf(outputOf(row))] as const),
    ]);
  }

  /** Those that a filter names, in the order of their names; fewer than `limit` when there are no more. */
  async find(
    owner: string,
    filter: SeriesFilter,
    { after, limit = 1000 }: { after?: string; limit?: number } = {},
  ): Promise<LiveOutput[]> {
    const found: LiveOutput[] = [];
    for (let last = after ?? null; found.length < limit; ) {
      const left = limit - found.length;
      const { rows } = await this.database.pool.query<Row>(
        `select ${COLUMNS} from series s join live_outputs o on o.series_id = s.id
         where s.owner = $1 and ($2::text[] is null or s.unique_id = any($2)) and ($3::text is null or starts_with(s.unique_id, $3))
           and ($4::text is null or s.unique_id > $4) order by s.unique_id limit $5`,
        [owner, 'ids' in filter ? filter.ids : null, 'prefix' in filter ? filter.prefix : null, last, left],
      );
      found.push(...this.readEach(rows, outputOf));
      if (rows.length < left) break;
      last = rows.at(-1)!.name;
    }
    return found;
  }

  private async rows(ids: readonly bigint[]): Promise<Row[]> {
    if (ids.length === 0) return [];
    const text = `select ${COLUMNS} from live_outputs o join series s on s.id = o.series_id where o.series_id = any($1)`;
    return (await this.database.pool.query<Row>(text, [int8Array(ids)])).rows;
  }

  private readEach<T>(rows: readonly Row[], read: (row: Row) => T): T[] {
    const failed: { row: Row; cause: unknown }[] = [];
    const done: T[] = [];
    for (const row of rows) {
      try {
        done.push(read(row));
      } catch (cause) {
        failed.push({ row, cause });
      }
    }
    const [first] = failed;
    if (first) {
      const { row, cause } = first;
      const others = failed.length > 1 ? ` and ${failed.length - 1} more` : '';
      this.onError(new Error(`the output of series ${row.name} (${row.id})${others} cannot be read`, { cause }));
    }
    return done;
  }
}
