import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { parse } from 'csv-parse/sync';
import { toAdderError } from '../../platform/errors.js';

/** The published scores of one model on one task. */
export interface PublishedScore {
  mase: number;
  wql: number;
}

/** Published scores: task name → model → score. */
export type Published = Map<string, Map<string, PublishedScore>>;

/**
 * Reads every CSV file (plain or gzip) of a folder that has a task column (`published_task` or `config`), `model`,
 * `MASE` and `WQL` or `CRPS_mean_wQL`; other tables in the folder are passed over. Rows without both numbers count for
 * nothing.
 */
export async function readPublished(dir: string): Promise<Published> {
  const published: Published = new Map();
  const names = (await readdir(dir)).filter((name) => /\.csv(\.gz)?$/.test(name)).sort();
  for (const name of names) {
    const file = join(dir, name);
    try {
      const bytes = await readFile(file);
      const text = name.endsWith('.gz') ? gunzipSync(bytes) : bytes;
      addRows(published, parse(text, { columns: true, bom: true, skip_empty_lines: true }) as Record<string, string>[]);
    } catch (cause) {
      throw toAdderError(cause, { file });
    }
  }
  return published;
}

function addRows(published: Published, rows: Record<string, string>[]): void {
  for (const row of rows) {
    const task = row.published_task ?? row.config;
    const wql = row.WQL ?? row.CRPS_mean_wQL;
    if (!task || !row.model || !row.MASE || !wql) continue;
    const score = { mase: Number(row.MASE), wql: Number(wql) };
    if (!(score.mase > 0 && score.wql > 0)) continue;
    const models = published.get(task) ?? new Map<string, PublishedScore>();
    models.set(row.model, score);
    published.set(task, models);
  }
}

/** The rows of one published table as they are; none where there is no such file. */
export async function readBoard(folder: string | undefined, name: string): Promise<Record<string, string>[]> {
  const file = folder === undefined ? undefined : join(folder, name);
  if (file === undefined || !existsSync(file)) return [];
  return parse(await readFile(file, 'utf8'), { columns: true, bom: true, skip_empty_lines: true });
}

/** `--published DIR`, or DIR/published beside the data if that exists, or none. */
export function publishedFolder(given: string | undefined, dataDir: string): string | undefined {
  if (given !== undefined) return given;
  const beside = join(dataDir, 'published');
  return existsSync(beside) ? beside : undefined;
}
