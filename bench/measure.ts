/** Timing, statistics and result files shared by all benchmarks. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, platform, release, totalmem } from 'node:os';
import { dirname } from 'node:path';
import type { Backend } from '../src/engine/backend.js';

/** One measured figure. */
export interface Row {
  name: string;
  /** Median. */
  value: number;
  unit: string;
  /** 10th and 90th percentile over the repeats, where there were repeats. */
  spread?: [number, number];
  /** The figure to reach: `least` is demanded, `aim` is hoped for, in the row's unit. */
  least?: number;
  aim?: number;
  /** Larger is better (rates); otherwise smaller is. */
  higher?: boolean;
  note?: string;
}

export interface Report {
  name: string;
  date: string;
  commit: string;
  machine: string;
  device: string;
  rows: Row[];
}

export function quantile(sorted: readonly number[], q: number): number {
  const at = (sorted.length - 1) * q;
  const low = Math.floor(at);
  return sorted[low] + (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]) * (at - low);
}

/** Median with its spread. */
export function summarise(samples: readonly number[]): { value: number; spread: [number, number] } {
  const sorted = [...samples].sort((a, b) => a - b);
  return { value: quantile(sorted, 0.5), spread: [quantile(sorted, 0.1), quantile(sorted, 0.9)] };
}

/**
 * Milliseconds a call of `run` takes when calls follow each other without waiting: each sample is `inner` calls and one
 * wait, divided by `inner`. The first sample is thrown away (compilation, first touch of memory).
 */
export async function timeCalls(
  backend: Pick<Backend, 'sync'>,
  run: () => void,
  { samples = 15, inner = 20 } = {},
): Promise<{ value: number; spread: [number, number] }> {
  const times: number[] = [];
  for (let s = 0; s <= samples; s++) {
    await backend.sync();
    const start = performance.now();
    for (let i = 0; i < inner; i++) run();
    await backend.sync();
    if (s > 0) times.push((performance.now() - start) / inner);
  }
  return summarise(times);
}

/**
 * The same for several things beside each other: sample by sample in turn, so that a clock that rises or falls meanwhile
 * touches all alike. The first round is thrown away.
 */
export async function timeInTurn(
  backend: Pick<Backend, 'sync'>,
  runs: readonly { run: () => void; inner: number }[],
  samples = 15,
): Promise<{ value: number; spread: [number, number] }[]> {
  const times: number[][] = runs.map(() => []);
  for (let s = 0; s <= samples; s++) {
    for (const [i, { run, inner }] of runs.entries()) {
      await backend.sync();
      const start = performance.now();
      for (let n = 0; n < inner; n++) run();
      await backend.sync();
      if (s > 0) times[i].push((performance.now() - start) / inner);
    }
  }
  return times.map(summarise);
}

function commit(): string {
  try {
    const hash = execFileSync('git', ['rev-parse', '--short=12', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
    const dirty = execFileSync('git', ['status', '--porcelain', '--untracked-files=no'], { encoding: 'utf8' }).trim();
    return dirty ? `${hash} with changes` : hash;
  } catch {
    return process.env.ADDER_COMMIT ?? 'unknown';
  }
}

export function report(name: string, device: string, rows: Row[]): Report {
  const machine = `${cpus()[0]?.model ?? 'unknown CPU'} × ${cpus().length}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${platform()} ${release()}, Node ${process.version}`;
  return { name, date: new Date().toISOString(), commit: commit(), machine, device, rows };
}

function figure(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value) || 1)));
  return value.toFixed(Math.min(digits, 6));
}

/** A Markdown table with the verdict of each row. */
export function table(r: Report): string {
  const line = (row: Row) => {
    const meets = (bound: number | undefined) =>
      bound !== undefined && (row.higher ? row.value >= bound : row.value <= bound);
    const verdict =
      row.least === undefined && row.aim === undefined
        ? ''
        : meets(row.aim)
          ? 'aim reached'
          : meets(row.least)
            ? 'met'
            : 'missed';
    const spread = row.spread ? `${figure(row.spread[0])} – ${figure(row.spread[1])}` : '';
    const bound = (b: number | undefined) => (b === undefined ? '' : figure(b));
    return `| ${row.name} | ${figure(row.value)} ${row.unit} | ${spread} | ${bound(row.least)} | ${bound(row.aim)} | ${verdict} | ${row.note ?? ''} |`;
  };
  return [
    `# ${r.name}`,
    '',
    `${r.device}; ${r.machine}; ${r.date}; commit ${r.commit}. Medians, spread from the 10th to the 90th percentile.`,
    '',
    '| | median | spread | at least | aim | | note |',
    '|---|---|---|---|---|---|---|',
    ...r.rows.map(line),
    '',
  ].join('\n');
}

/** Print the table; with `out`, write FILE.json and the table beside it as FILE.md. */
export function publish(r: Report, out?: string): void {
  console.log(table(r));
  if (!out) return;
  mkdirSync(dirname(out), { recursive: true });
  const base = out.replace(/\.(json|md)$/, '');
  writeFileSync(`${base}.json`, `${JSON.stringify(r, null, 2)}\n`);
  writeFileSync(`${base}.md`, table(r));
}
