import { AdderError } from '../platform/errors.js';
import { type Columns, decodeColumns, encodeColumns } from './columns.js';
import type { Database, Queryable } from './database.js';

/** One window of one series of a job. */
export interface JobResult {
  /** `unique_id` of the series. */
  seriesKey: string;
  /** Place of the series in the job; results are paged in this order. */
  ordinal: number;
  window: number;
  /** `forecast`, `anomaly`, `backtest`, …: what the columns mean. */
  kind: string;
  /** Stored series; null for one that came with the request. */
  seriesId: bigint | null;
  /** Time of the last observation that the window has seen, milliseconds since 1970. */
  cutoff: number | null;
  meta: Record<string, unknown>;
  columns: Columns;
}

export interface ResultPage {
  results: JobResult[];
  /** Pass as `after` for the next page; undefined on the last one. */
  next: ResultCursor | undefined;
}

export interface ResultCursor {
  ordinal: number;
  window: number;
}

/** What jobs leave behind. Keyed by (job, series, window) and written once. */
export class ResultStore {
  constructor(private readonly database: Database) {}

  /**
   * Keeps results that are not there yet and leaves those that are: a job that runs again after a crash changes nothing.
   * Returns how many were new. Throws `UNKNOWN_JOB` when the job was deleted meanwhile.
   */
  async write(owner: string, jobId: string, results: readonly JobResult[], client?: Queryable): Promise<number> {
    if (results.length === 0) return 0;
    try {
      const { rowCount } = await (client ?? this.database.pool).query(
        `insert into results (job_id, owner, series_key, "window", ordinal, kind, series_id, cutoff, meta, columns)
         select $1, $2, u.* from unnest($3::text[], $4::int[], $5::int[], $6::text[], $7::int8[], $8::timestamptz[], $9::jsonb[], $10::bytea[]) u
         on conflict do nothing`,
        [
          jobId,
          owner,
          results.map((r) => r.seriesKey),
          results.map((r) => r.window),
          results.map((r) => r.ordinal),
          results.map((r) => r.kind),
          results.map((r) => r.seriesId),
          results.map((r) => (r.cutoff === null ? null : new Date(r.cutoff))),
          results.map((r) => JSON.stringify(r.meta)),
          results.map((r) => encodeColumns(r.columns)),
        ],
      );
      return rowCount ?? 0;
    } catch (error) {
      if ((error as { code?: string; constraint?: string }).constraint !== 'results_job_id_fkey') throw error;
      throw new AdderError({ code: 'UNKNOWN_JOB', message: 'the job was deleted while it ran', cause: error });
    }
  }

  /** A page of the results of a job of this owner, by ordinal and window. */
  async page(
    owner: string,
    jobId: string,
    options: { after?: ResultCursor; limit?: number } = {},
  ): Promise<ResultPage> {
    const limit = Math.min(options.limit ?? 100, 10_000);
    const { rows } = await this.database.pool.query<Omit<JobResult, 'columns'> & { columns: Buffer }>(
      `select series_key as "seriesKey", ordinal, "window", kind, series_id as "seriesId",
              (extract(epoch from cutoff) * 1000)::float8 as cutoff, meta, columns
       from results where job_id = $1 and owner = $2 and (ordinal, "window") > ($3, $4)
       order by ordinal, "window" limit $5`,
      [jobId, owner, options.after?.ordinal ?? -1, options.after?.window ?? -1, limit + 1],
    );
    const more = rows.length > limit;
    if (more) rows.pop();
    const results = rows.map((row) => ({ ...row, columns: decodeColumns(row.columns) }));
    const last = results.at(-1);
    return { results, next: more && last ? { ordinal: last.ordinal, window: last.window } : undefined };
  }

  /** Windows of a series that exist already. */
  async windowsDone(jobId: string, seriesKey: string): Promise<Set<number>> {
    const { rows } = await this.database.pool.query<{ window: number }>(
      'select "window" from results where job_id = $1 and series_key = $2',
      [jobId, seriesKey],
    );
    return new Set(rows.map((row) => row.window));
  }

  /** Series whose closing window exists already, with its kind: a job that runs again leaves them out. */
  async closed(jobId: string, window: number): Promise<Map<string, string>> {
    const { rows } = await this.database.pool.query<{ seriesKey: string; kind: string }>(
      'select series_key as "seriesKey", kind from results where job_id = $1 and "window" = $2',
      [jobId, window],
    );
    return new Map(rows.map(({ seriesKey, kind }) => [seriesKey, kind]));
  }

  /** What closing windows of a job say, a series at a time, in no order. */
  async *closings(jobId: string, window: number): AsyncGenerator<Pick<JobResult, 'seriesKey' | 'kind' | 'meta'>> {
    for (let after = -1; ; ) {
      const { rows } = await this.database.pool.query<Pick<JobResult, 'seriesKey' | 'kind' | 'meta' | 'ordinal'>>(
        `select series_key as "seriesKey", kind, meta, ordinal from results
         where job_id = $1 and "window" = $2 and ordinal > $3 order by ordinal limit 1000`,
        [jobId, window, after],
      );
      yield* rows;
      if (rows.length < 1000) return;
      after = rows.at(-1)!.ordinal;
    }
  }
}
