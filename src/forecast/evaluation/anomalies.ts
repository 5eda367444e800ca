/**
 * Anomaly detection with a forecaster, scored as NAB and SKAB score it. Every value is compared with the forecast that
 * stood one step before it; all these forecasts of a series come from one scan.
 */
import { NAB_PROFILES, type NabFile, nabScore } from '../anomaly/nab.js';
import { type PointScore, pointScore } from '../anomaly/skab.js';
import { eventScores, surprise } from '../anomaly/surprise.js';
import { type RollRequest, type RollResult, STANDARD_LEVELS } from '../forecaster.js';
import type { LabelledSeries } from './dataset.js';
import { table } from './report.js';

/** Answers forecasts of many origins of one history: `NeuralRoller`. */
export interface Roller {
  roll(requests: readonly RollRequest[]): Promise<RollResult[]>;
}

/** Values of one stretch that is scanned, and values before it that its first forecast has seen. */
const BLOCK = 1024;
const CONTEXT = 1024;

/** The surprise (see `surprise`) of every value at one step ahead; NaN where nothing was known or nothing observed. */
export async function surprises(roller: Roller, series: LabelledSeries): Promise<Float64Array> {
  const { values, season, frequency } = series;
  const out = new Float64Array(values.length).fill(Number.NaN);
  const requests: (RollRequest & { from: number })[] = [];
  for (let from = 1; from < values.length; from += BLOCK) {
    const start = Math.max(0, from - CONTEXT);
    const end = Math.min(values.length, from + BLOCK);
    requests.push({
      from,
      history: values.subarray(start, end - 1),
      season,
      frequency,
      quantiles: [...STANDARD_LEVELS],
      horizon: 1,
      origins: Array.from({ length: end - from }, (_, i) => from - start + i),
    });
  }
  const results = await roller.roll(requests);
  results.forEach(({ quantiles }, r) => {
    const { from, origins } = requests[r]!;
    for (let i = 0; i < origins.length; i++) {
      const at = quantiles.map((of) => of[i]!);
      const value = values[from + i]!;
      if (!Number.isNaN(value) && !Number.isNaN(at[0]!)) out[from + i] = surprise(value, at);
    }
  });
  return out;
}

export interface AnomalyReport {
  model: string;
  nab?: { files: number; windows: number; scores: Record<string, number> };
  skab?: PointScore & { runs: number };
  seconds: number;
}

/** Values within which a second alarm is the same event: a season, or 100 values where that is more. */
const QUIET = 100;

/** NAB: the rank of a value is its surprise, in relation to those before it, once an event. */
export async function evaluateNab(roller: Roller, series: readonly LabelledSeries[]): Promise<AnomalyReport['nab']> {
  const files: NabFile[] = [];
  for (const one of series) {
    const scores = eventScores(await surprises(roller, one), Math.max(QUIET, one.season));
    files.push({ scores, windows: one.anomalies });
  }
  return {
    files: files.length,
    windows: files.reduce((sum, { windows }) => sum + windows.length, 0),
    scores: Object.fromEntries(NAB_PROFILES.map((profile) => [profile.name, nabScore(files, profile).score])),
  };
}

/** Rows of a SKAB run that are known to be normal: the benchmark gives them for training. The first ones surprise whoever starts. */
const NORMAL = 400;
const WARM = 64;
/** Rows over which surprise is averaged, and how far over its 99 % quantile on normal rows an alarm lies. */
const SPAN = 30;
const MARGIN = 1.5;

/** SKAB: mean surprise of the channels of a run, averaged over half a minute, against what is usual while all is normal. */
export async function evaluateSkab(roller: Roller, series: readonly LabelledSeries[]): Promise<AnomalyReport['skab']> {
  const runs = new Map<string, LabelledSeries[]>();
  for (const one of series) {
    const run = one.id.split(':')[0]!;
    runs.set(run, [...(runs.get(run) ?? []), one]);
  }
  const judged = [];
  for (const channels of runs.values()) {
    const each = [];
    for (const channel of channels) each.push(await surprises(roller, channel));
    const mean = trailingMean(columnMeans(each), SPAN);
    const normal = mean.slice(WARM, NORMAL).sort();
    const bound = MARGIN * normal[Math.floor(0.99 * (normal.length - 1))]!;
    const labelled = Array.from(mean, (_, i) => channels[0]!.anomalies.some(([a, b]) => i >= a && i <= b));
    judged.push({ reported: Array.from(mean, (v) => v > bound), labelled });
  }
  return { runs: judged.length, ...pointScore(judged) };
}

/** Mean over the rows, without missing ones; 0 where all are missing. */
function columnMeans(rows: readonly Float64Array[]): Float64Array {
  return rows[0]!.map((_, i) => {
    const known = rows.map((row) => row[i]!).filter((v) => !Number.isNaN(v));
    return known.length > 0 ? known.reduce((a, b) => a + b, 0) / known.length : 0;
  });
}

function trailingMean(values: Float64Array, span: number): Float64Array {
  let sum = 0;
  return values.map((v, i) => {
    sum += v - (i >= span ? values[i - span]! : 0);
    return sum / Math.min(i + 1, span);
  });
}

/** Our figures among the published ones. */
export function anomalyTables(
  report: AnomalyReport,
  boards: { nab: Record<string, string>[]; skab: Record<string, string>[] },
) {
  const ours = `**${report.model}**`;
  const lines = [`# Anomaly detection by ${report.model}`, ''];
  if (report.nab) {
    const { scores, files, windows } = report.nab;
    const rows = boards.nab.map((row) => Object.values(row));
    const own = [ours, ...NAB_PROFILES.map(({ name }) => scores[name]!.toFixed(1))];
    const number = (row: string[]) => Number.parseFloat(row[1]!);
    const all = [...rows, own].sort((a, b) => number(b) - number(a));
    lines.push(
      `## NAB, ${files} files, ${windows} windows`,
      '',
      ...table(['detector', ...NAB_PROFILES.map((p) => p.name)], all),
      '',
    );
  }
  if (report.skab) {
    const { f1, falseAlarmRate, missedAlarmRate, runs } = report.skab;
    const rows = boards.skab.map((row) => Object.values(row));
    const own = [ours, f1.toFixed(2), (100 * falseAlarmRate).toFixed(2), (100 * missedAlarmRate).toFixed(2)];
    const all = [...rows, own].sort((a, b) => Number(b[1]) - Number(a[1]));
    lines.push(`## SKAB, ${runs} runs`, '', ...table(['algorithm', 'F1', 'FAR, %', 'MAR, %'], all), '');
  }
  return lines;
}
