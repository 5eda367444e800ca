import { createReadStream, existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createGunzip } from 'node:zlib';
import { z } from 'zod';
import { AdderError } from '../../platform/errors.js';
import { defaultSeason } from '../time/frequency.js';

const specSchema = z.object({
  suite: z.string().default('tasks'),
  name: z.string(),
  /** Dataset files whose series make up the task. */
  pool: z.array(z.string()).min(1),
  split: z.string().optional(),
  horizon: z.int().positive(),
  /** Rolling windows, counted from the end of each series, `horizon` apart. */
  windows: z.int().positive().default(1),
  /** Season of the published MASE. */
  mase_m: z.int().positive().default(1),
  /** Seasonal-naive MASE on our data over the published one: how like for like the task is. */
  ratio: z.number().nullish(),
});

/** One evaluation task, as a specs file lists it. */
export type TaskSpec = z.infer<typeof specSchema>;

const seriesSchema = z.object({
  id: z.union([z.string(), z.number()]).transform(String),
  freq: z.string(),
  target: z.array(z.number().nullable()),
  test: z.array(z.number().nullable()).nullish(),
  seasonality: z.number().nullish(),
  anomaly_idx: z.array(z.tuple([z.int().min(0), z.int().min(0)])).nullish(),
});

/** One series of a dataset file: history and held-out tail joined. */
export interface DatasetSeries {
  id: string;
  /** As the file says it; `other` stands for unknown. */
  frequency: string | undefined;
  /** As the file says it, else the usual one of the frequency. */
  season: number;
  /** NaN = missing. */
  values: Float64Array;
}

/** A series of an anomaly benchmark. */
export interface LabelledSeries extends DatasetSeries {
  /** First and last row of each labelled stretch. */
  anomalies: readonly (readonly [number, number])[];
}

/** One forecast to be scored. */
export interface EvaluationWindow {
  series: DatasetSeries;
  history: Float64Array;
  actual: Float64Array;
}

/** Reads a specs file: a JSON array of tasks. */
export async function readSpecs(path: string): Promise<TaskSpec[]> {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new AdderError({
      code: 'BAD_SPECS',
      message: 'the specs file is not JSON',
      where: { file: path },
      fix: 'give a JSON array of tasks',
      cause,
    });
  }
  const parsed = z.array(specSchema).min(1).safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new AdderError({
      code: 'BAD_SPECS',
      message: issue.message,
      where: { file: path, field: issue.path.join('.') || 'top level' },
      fix: 'give a JSON array of tasks with name, pool, horizon, windows, mase_m',
    });
  }
  return parsed.data;
}

/** Reads `DIR/SPLIT/NAME.ndjson.gz` (or `.ndjson`), one series a line. */
export async function readDataset(dir: string, split: string, name: string): Promise<LabelledSeries[]> {
  const base = join(dir, split, `${name}.ndjson`);
  const file = existsSync(`${base}.gz`) ? `${base}.gz` : base;
  const bytes = createReadStream(file);
  const text = file.endsWith('.gz') ? bytes.pipe(createGunzip()) : bytes;
  // A pipe does not carry errors; without this a missing file would end as an unhandled event.
  bytes.on('error', (error) => text.destroy(error));
  const series: LabelledSeries[] = [];
  let line = 0;
  try {
    for await (const row of createInterface({ input: text, crlfDelay: Number.POSITIVE_INFINITY })) {
      line++;
      if (row.trim() !== '') series.push(parseSeries(row));
    }
  } catch (cause) {
    if (cause instanceof AdderError) throw cause.at({ file, line });
    const { code } = cause as NodeJS.ErrnoException;
    if (code?.startsWith('Z_')) {
      throw new AdderError({
        code: 'BAD_DATASET',
        message: 'the file is no intact gzip file',
        where: { file },
        fix: 'fetch it again',
        cause,
      });
    }
    throw cause;
  }
  return series;
}

function parseSeries(row: string): LabelledSeries {
  const bad = (message: string, field?: string, cause?: unknown) =>
    new AdderError({
      code: 'BAD_DATASET',
      message,
      where: field ? { field } : {},
      fix: 'one JSON object a line with id, freq, target, test, seasonality',
      cause,
    });
  let json: unknown;
  try {
    json = JSON.parse(row);
  } catch (cause) {
    throw bad('the line is not JSON', undefined, cause);
  }
  const parsed = seriesSchema.safeParse(json);
  if (!parsed.success) throw bad(parsed.error.issues[0]!.message, parsed.error.issues[0]!.path.join('.'));
  const { id, freq, target, test, seasonality, anomaly_idx } = parsed.data;
  const values = Float64Array.from([...target, ...(test ?? [])], (v) => v ?? Number.NaN);
  return {
    id,
    frequency: freq === 'other' ? undefined : freq,
    season: Math.max(1, Math.round(seasonality ?? usualSeason(freq))),
    values,
    anomalies: anomaly_idx ?? [],
  };
}

/** The usual season of a frequency; 1 for spellings that are none, such as `other`. */
function usualSeason(frequency: string): number {
  try {
    return defaultSeason(frequency);
  } catch {
    return 1;
  }
}

/**
 * The windows of a task: for each series the last `windows` stretches of `horizon` values, each with all that lies
 * before it. Windows with fewer than 3 values before them are left out.
 */
export function windowsOf(
  series: DatasetSeries[],
  { horizon, windows }: Pick<TaskSpec, 'horizon' | 'windows'>,
): EvaluationWindow[] {
  const out: EvaluationWindow[] = [];
  for (const one of series) {
    for (let w = 0; w < windows; w++) {
      const end = one.values.length - (windows - w) * horizon;
      if (end < 3) continue;
      out.push({ series: one, history: one.values.subarray(0, end), actual: one.values.subarray(end, end + horizon) });
    }
  }
  return out;
}
