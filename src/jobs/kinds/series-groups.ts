import { type PreparedSeries, prepareSeries } from '../../forecast/rest/prepare.js';
import { AdderError, toAdderError } from '../../platform/errors.js';
import type { JobResult } from '../../store/results.js';
import { type Series, unknownSeries } from '../../store/series.js';
import { isTransient } from '../failures.js';
import type { JobContext } from '../processor.js';
import type { WorkerParts } from './worker-parts.js';

/** Window of the row that closes a series: what was found over all of it, or why it could not be done. */
export const CLOSING = 2 ** 31 - 1;

/** Series, and values, that are worked on together: enough for full batches, few enough to be read again after a crash. */
const GROUP_SERIES = 64;
const GROUP_VALUES = 60_000;

/** Points of one series that a job reads. */
const MAX_POINTS = 10_000_000;

/** Bytes of results that are written together. */
const WRITE_BYTES = 4 * 2 ** 20;

/** Parameters that every kind over stored series has. */
export interface SeriesData {
  /** Object that holds their names; null: the series that the job before this one in its flow has worked on. */
  names: string | null;
  frequency?: string | undefined;
  season?: number | undefined;
}

/** One series of a job. */
export interface SeriesUnit {
  name: string;
  /** Place in the job. */
  ordinal: number;
  row: Series;
  prepared: PreparedSeries;
  /** Time of step k, milliseconds since 1970. */
  timeAt(k: number): number;
  /** Keeps one window. */
  keep(result: Pick<JobResult, 'window' | 'kind' | 'cutoff' | 'meta' | 'columns'>): Promise<void>;
}

export interface SeriesGroupsOptions {
  /** Latest points of each series that are read; all of them when absent. */
  last?: number;
  /** Most series in a group. */
  atOnce?: number;
}

/**
 * Walks over the series of a job in groups, and closes each series with a row of its own once `work` is through with it;
 * series that an earlier run has closed are left out. A series that is at fault is closed with its error, and the others
 * go on. `work` returns what is said about each series over all.
 */
export async function eachGroup(
  parts: WorkerParts,
  context: JobContext<SeriesData>,
  options: SeriesGroupsOptions,
  work: (units: SeriesUnit[], progress: (share: number) => void) => Promise<Record<string, unknown>[]>,
): Promise<{ series: number; failed: number }> {
  const { id, owner, signal } = context;
  const names = await selectedNames(parts, context);
  const closed = await parts.results.closed(id, CLOSING);
  const writer = new ResultWriter(parts, owner, id);
  const left = names.map((name, ordinal) => ({ name, ordinal })).filter(({ name }) => !closed.has(name));
  let done = names.length - left.length;
  while (left.length > 0) {
    signal.throwIfAborted();
    const units: SeriesUnit[] = [];
    for (let values = 0; left.length > 0 && values < GROUP_VALUES; ) {
      if (units.length >= (options.atOnce ?? GROUP_SERIES)) break;
      const next = left.shift()!;
      const unit = await open(parts, context, options, writer, next);
      if (unit) {
        units.push(unit);
        values += unit.prepared.values.length;
      } else done++;
    }
    const from = done;
    const tell = (share: number) =>
      context.progress((from + share * units.length) / names.length, `${from} of ${names.length} series done`);
    for (const [i, findings] of (await together(units, (some) => work(some, tell))).entries()) {
      await close(writer, units[i]!, findings);
    }
    await writer.flush();
    done += units.length;
    context.progress(done / names.length, `${done} of ${names.length} series done`);
  }
  await writer.flush();
  const rows = await parts.results.closed(id, CLOSING);
  return { series: rows.size, failed: [...rows.values()].filter((kind) => kind === 'error').length };
}

type Findings = { meta: Record<string, unknown> } | { error: AdderError };

/** All at once; if one of them is at fault each alone, so that only that one fails. */
async function together(
  units: SeriesUnit[],
  work: (units: SeriesUnit[]) => Promise<Record<string, unknown>[]>,
): Promise<Findings[]> {
  if (units.length === 0) return [];
  try {
    return (await work(units)).map((meta) => ({ meta }));
  } catch (thrown) {
    if (isTransient(thrown)) throw thrown;
    if (units.length === 1) return [{ error: toAdderError(thrown) }];
    const findings: Findings[] = [];
    for (const unit of units) findings.push(...(await together([unit], work)));
    return findings;
  }
}

async function open(
  parts: WorkerParts,
  { owner, data }: JobContext<SeriesData>,
  { last }: SeriesGroupsOptions,
  writer: ResultWriter,
  { name, ordinal }: { name: string; ordinal: number },
): Promise<SeriesUnit | undefined> {
  const about = { seriesKey: name, ordinal };
  let row: Series | undefined;
  try {
    row = (await parts.series.find(owner, [name])).get(name);
    if (!row) throw unknownSeries(name);
    const { times, values } = await parts.reader.read(row.id, { limit: last ?? MAX_POINTS, last: true });
    if (values.length === 0) {
      throw new AdderError({
        code: 'NO_VALUES',
        message: 'this series has no points',
        fix: 'write points to it first',
      });
    }
    const frequency = data.frequency ?? row.freq ?? undefined;
    const season = data.season ?? row.season ?? undefined;
    const prepared = prepareSeries({ values, times, frequency, season }, name, { horizon: 0 });
    const { id } = row;
    return {
      name,
      ordinal,
      row,
      prepared,
      timeAt: prepared.timeAt ?? ((k) => times[k]!),
      keep: (result) => writer.add({ ...about, seriesId: id, ...result }),
    };
  } catch (thrown) {
    if (isTransient(thrown)) throw thrown;
    await writer.add(closing(about, row?.id ?? null, { error: toAdderError(thrown) }));
    return undefined;
  }
}

const close = (writer: ResultWriter, { name, ordinal, row }: SeriesUnit, findings: Findings) =>
  writer.add(closing({ seriesKey: name, ordinal }, row.id, findings));

const closing = (
  about: { seriesKey: string; ordinal: number },
  seriesId: bigint | null,
  findings: Findings,
): JobResult => ({
  ...about,
  window: CLOSING,
  kind: 'error' in findings ? 'error' : 'summary',
  seriesId,
  cutoff: null,
  meta: 'error' in findings ? { ...findings.error.toJSON() } : findings.meta,
  columns: {},
});

/** Gathers results, so that many small ones are one statement and large ones do not pile up. */
class ResultWriter {
  private waiting: JobResult[] = [];
  private bytes = 0;

  constructor(
    private readonly parts: WorkerParts,
    private readonly owner: string,
    private readonly jobId: string,
  ) {}

  async add(result: JobResult): Promise<void> {
    this.waiting.push(result);
    for (const column of Object.values(result.columns)) this.bytes += column.byteLength;
    if (this.bytes >= WRITE_BYTES) await this.flush();
  }

  async flush(): Promise<void> {
    const results = this.waiting.splice(0);
    this.bytes = 0;
    await this.parts.results.write(this.owner, this.jobId, results);
  }
}

/** Names of the series that a job is about. */
export async function selectedNames(
  { objects }: WorkerParts,
  context: Pick<JobContext<SeriesData>, 'owner' | 'data' | 'children'>,
): Promise<string[]> {
  const { owner, data } = context;
  let { names } = data;
  if (names === null) {
    const found = (await context.children()).find(({ result }) => typeof result?.names === 'string');
    if (!found) throw new Error('no job before this one says which series');
    names = found.result!.names as string;
  }
  return JSON.parse((await objects.get(owner, names)).toString('utf8')) as string[];
}
