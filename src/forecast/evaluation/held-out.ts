/**
 * Windows of the series that training never saw, to choose and fit by. (Development data only ever judge.)
 *
 * Held-out series come from the same sources as the others, so many have a near twin among them: another revision of the
 * same statistic, the neighbouring sensor. A window with such a twin says how well the network remembers, not how well it
 * forecasts. `leaveOutTwins` keeps the windows that nothing in training resembles.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { AdderError } from '../../platform/errors.js';
import { type DatasetSeries, type EvaluationWindow, readDataset } from './dataset.js';

/** As training holds them out: in datasets of at least 20 series, every 20th. A test compares this with the corpus. */
const FROM = 20;
const EVERY = 20;
const AT = 7;

/** Usual horizons by frequency; others have the first that fits. */
const HORIZONS: Record<string, number[]> = {
  Y: [6],
  Q: [8],
  M: [18, 6],
  W: [13, 4],
  D: [30, 14],
  B: [30, 14],
  H: [48, 480],
  '30min': [48, 480],
  '10min': [48, 480],
  '5min': [48, 480],
  '1min': [60, 480],
};
const OTHER = [8];
/** Horizons that are asked beside the shorter one, not instead of it. */
const LONG = 240;

/** Windows of one dataset, frequency and horizon. */
export interface HeldOutTask {
  name: string;
  frequency: string | undefined;
  horizon: number;
  season: number;
  windows: EvaluationWindow[];
}

export interface HeldOut {
  tasks: HeldOutTask[];
  /** Everything that training may have seen, by frequency. */
  seen: Map<string | undefined, Float64Array[]>;
}

/** @param exclude `dataset/id` or `dataset/beginning*`, as the training configuration says it */
export async function readHeldOut(dataDir: string, exclude: readonly string[]): Promise<HeldOut> {
  const names = readdirSync(join(dataDir, 'train')).flatMap((file) => /^(.+)\.ndjson(\.gz)?$/.exec(file)?.[1] ?? []);
  const excluded = (name: string) =>
    exclude.some((p) => (p.endsWith('*') ? name.startsWith(p.slice(0, -1)) : name === p));
  const tasks = new Map<string, HeldOutTask>();
  const seen: HeldOut['seen'] = new Map();
  for (const name of [...new Set(names)].sort()) {
    const series = (await readDataset(dataDir, 'train', name)).filter(({ id }) => !excluded(`${name}/${id}`));
    series.forEach((one, k) => {
      if (series.length < FROM || k % EVERY !== AT) {
        seen.set(one.frequency, [...(seen.get(one.frequency) ?? []), one.values]);
        return;
      }
      for (const horizon of horizonsOf(one)) addWindows(tasks, name, one, horizon);
    });
  }
  if (tasks.size === 0) {
    throw new AdderError({
      code: 'NO_DATA',
      message: `no dataset has the ${FROM} series from which on some are held out`,
      where: { file: join(dataDir, 'train') },
      fix: 'name the folder that holds train/*.ndjson.gz with --data',
    });
  }
  return { tasks: [...tasks.values()], seen };
}

function horizonsOf({ frequency, values }: DatasetSeries): number[] {
  const wanted = HORIZONS[frequency ?? ''] ?? OTHER;
  const short = wanted.filter((h) => h < LONG);
  const long = wanted.filter((h) => h >= LONG && values.length >= 2 * h);
  return [short.find((h) => values.length >= 3 * h) ?? short.at(-1)!, ...long];
}

/** Up to four rolling windows in the last half of the series. */
function addWindows(tasks: Map<string, HeldOutTask>, dataset: string, series: DatasetSeries, horizon: number): void {
  const { values, frequency, season } = series;
  const count = Math.max(1, Math.min(4, Math.floor(values.length / 2 / horizon)));
  for (let w = 0; w < count; w++) {
    const end = values.length - (count - w) * horizon;
    const history = values.subarray(0, Math.max(0, end));
    const actual = values.subarray(Math.max(0, end), end + horizon);
    if (end < 8 || history.filter(Number.isFinite).length < 5 || !actual.some(Number.isFinite)) continue;
    const name = `${dataset}/${frequency ?? 'other'}/${horizon}`;
    const task = tasks.get(name) ?? { name, frequency, horizon, season, windows: [] };
    task.windows.push({ series, history, actual });
    tasks.set(name, task);
  }
}

/**
 * Steps before the forecast that are compared too, and the correlation of differences from which a window has a twin.
 * Short windows resemble each other by chance, so the bound is higher for them. Frequencies that are not named have too
 * few held-out series to lose any.
 */
const TWINS: Record<string, { before: number; bound: number }> = {
  Y: { before: 8, bound: 0.95 },
  Q: { before: 12, bound: 0.92 },
  M: { before: 18, bound: 0.88 },
  W: { before: 16, bound: 0.85 },
  D: { before: 28, bound: 0.8 },
};

/** The tasks without the windows that resemble a stretch of training; tasks without any left are gone. */
export function leaveOutTwins({ tasks, seen }: HeldOut): HeldOutTask[] {
  const groups = new Map<string, { pattern: Float32Array; window: EvaluationWindow }[]>();
  for (const { frequency, windows } of tasks) {
    const rule = TWINS[frequency ?? ''];
    if (!rule) continue;
    for (const window of windows) {
      const before = Math.min(rule.before, window.history.length - 1);
      const values = Float64Array.of(...window.history.subarray(window.history.length - before), ...window.actual);
      const pattern = differencePattern(filled(values), 0, values.length - 1);
      const key = `${frequency} ${pattern.length}`;
      groups.set(key, [...(groups.get(key) ?? []), { pattern, window }]);
    }
  }
  const twins = new Set<EvaluationWindow>();
  for (const [key, members] of groups) {
    const frequency = key.split(' ')[0]!;
    const most = highestCorrelations(
      members.map(({ pattern }) => pattern),
      seen.get(frequency) ?? [],
    );
    members.forEach(({ window }, i) => {
      if (most[i]! >= TWINS[frequency]!.bound) twins.add(window);
    });
  }
  return tasks
    .map((task) => ({ ...task, windows: task.windows.filter((window) => !twins.has(window)) }))
    .filter(({ windows }) => windows.length > 0);
}

/** For each pattern the largest |correlation| with the differences of any stretch of the series. */
export function highestCorrelations(patterns: readonly Float32Array[], series: readonly Float64Array[]): Float32Array {
  const length = patterns[0]?.length ?? 0;
  const all = Float32Array.from(
    { length: patterns.length * length },
    (_, i) => patterns[Math.floor(i / length)]![i % length]!,
  );
  const most = new Float32Array(patterns.length);
  for (const one of series) {
    const values = filled(one);
    for (let from = 0; from + length < values.length; from++) {
      const stretch = differencePattern(values, from, length);
      for (let p = 0, at = 0; p < patterns.length; p++) {
        let dot = 0;
        for (let i = 0; i < length; i++, at++) dot += all[at]! * stretch[i]!;
        if (dot < 0) dot = -dot;
        if (dot > most[p]!) most[p] = dot;
      }
    }
  }
  return most;
}

/** `count` differences from `from` on, less their mean, as a vector of length 1 (or 0 where they are all equal). */
function differencePattern(values: Float64Array, from: number, count: number): Float32Array {
  const out = new Float32Array(count);
  const mean = (values[from + count]! - values[from]!) / count;
  let squares = 0;
  for (let i = 0; i < count; i++) {
    const d = values[from + i + 1]! - values[from + i]! - mean;
    out[i] = d;
    squares += d * d;
  }
  const scale = squares > 0 ? 1 / Math.sqrt(squares) : 0;
  for (let i = 0; i < count; i++) out[i]! *= scale;
  return out;
}

/** Missing values replaced by the mean. */
function filled(values: Float64Array): Float64Array {
  const seen = values.filter((v) => !Number.isNaN(v));
  const mean = seen.reduce((a, b) => a + b, 0) / Math.max(1, seen.length);
  return values.map((v) => (Number.isNaN(v) ? mean : v));
}
