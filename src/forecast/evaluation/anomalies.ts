/**
 * Anomaly detection with a forecaster, scored as NAB and SKAB score it. For NAB every value is compared with the forecasts
 * that stood one to four steps before it; all these forecasts of a series come from one scan.
 */
import { EventScorer, VIEW } from '../anomaly/event-scorer.js';
import { NAB_PROFILES, type NabFile, nabScore } from '../anomaly/nab.js';
import { type PointScore, pointScore } from '../anomaly/skab.js';
import { EXPECTED_SURPRISE, surprise } from '../anomaly/surprise.js';
import { type Forecaster, type RollRequest, type RollResult, STANDARD_LEVELS } from '../forecaster.js';
import type { LabelledSeries } from './dataset.js';
import { table } from './report.js';

/** Answers forecasts of many origins of one history: `NeuralRoller`. */
export interface Roller {
  roll(requests: readonly RollRequest[]): Promise<RollResult[]>;
}

/** Values of one stretch that is scanned, and values before it that its first forecast has seen. */
const BLOCK = 1024;
const CONTEXT = 1024;

/** What an EventScorer is told of every value of a series; NaN where nothing was known or nothing observed. */
export interface Surprises {
  /** By the forecast one step before. */
  step: Float64Array;
  /** Mean over the last values by the forecast before all of them. */
  block: Float64Array;
}

/** The surprise (see `surprise`) of every value at one step ahead, and of the latest values together. */
export async function surprises(roller: Roller, series: LabelledSeries): Promise<Surprises> {
  const { values, season, frequency } = series;
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
      horizon: VIEW,
      origins: Array.from({ length: end - from }, (_, i) => from - start + i),
    });
  }
  const results = await roller.roll(requests);
  const step = new Float64Array(values.length).fill(Number.NaN);
  const sums = new Float64Array(values.length);
  const counts = new Uint8Array(values.length);
  results.forEach(({ quantiles }, r) => {
    const { from, origins } = requests[r]!;
    origins.forEach((_, o) => {
      for (let h = 0; h < VIEW; h++) {
        const value = values[from + o + h] ?? Number.NaN;
        const at = quantiles.map((of) => of[o * VIEW + h]!);
        if (Number.isNaN(value) || Number.isNaN(at[0]!)) continue;
        const s = surprise(value, at);
        if (h === 0) step[from + o] = s;
        const last = from + o + VIEW - 1;
        if (last >= values.length) continue;
        sums[last]! += s;
        counts[last]!++;
      }
    });
  });
  return { step, block: sums.map((sum, t) => sum / counts[t]!) };
}

/** Scores by profile. */
export interface NabReport {
  files: number;
  windows: number;
  scores: Record<string, number>;
}

export interface AnomalyReport {
  model: string;
  nab?: NabReport;
  /** Anomalies put into training series, scored as NAB scores. */
  injected?: NabReport;
  skab?: PointScore & { runs: number };
  seconds: number;
}

/** The score of NAB, as `EventScorer` ranks the values. */
export async function evaluateNab(roller: Roller, series: readonly LabelledSeries[]): Promise<NabReport> {
  const files: NabFile[] = [];
  for (const one of series) {
    const { step, block } = await surprises(roller, one);
    const scorer = new EventScorer();
    files.push({
      scores: one.values.map((value, t) => scorer.push(value, step[t]!, block[t]!)),
      windows: one.anomalies,
    });
  }
  return {
    files: files.length,
    windows: files.reduce((sum, { windows }) => sum + windows.length, 0),
    scores: Object.fromEntries(NAB_PROFILES.map((profile) => [profile.name, nabScore(files, profile).score])),
  };
}

/** Rows of a SKAB run that are known to be normal: the benchmark gives them for training. */
const NORMAL = 400;
/** Rows over which surprise is averaged, and how many times the usual surprise an alarm is. */
const SPAN = 30;
const MARGIN = 1.5;

/**
 * SKAB: its anomalies last for minutes, so that a forecast of one step has soon learnt them. Here the whole run is forecast
 * from its normal beginning, and what is judged is the mean surprise of the channels, averaged over half a minute, against
 * that of the second half of the normal rows as forecast from the first.
 */
export async function evaluateSkab(
  forecaster: Forecaster,
  series: readonly LabelledSeries[],
): Promise<AnomalyReport['skab']> {
  const runs = new Map<string, LabelledSeries[]>();
  for (const one of series) {
    const run = one.id.split(':')[0]!;
    runs.set(run, [...(runs.get(run) ?? []), one]);
  }
  const judged = [];
  for (const channels of runs.values()) {
    const rows = channels[0]!.values.length;
    const usual = await surprisesFrom(forecaster, channels, NORMAL / 2, NORMAL);
    const later = await surprisesFrom(forecaster, channels, NORMAL, rows);
    const mean = usual.reduce((a, b) => a + b, 0) / usual.length;
    const bound = MARGIN * Math.max(EXPECTED_SURPRISE, mean);
    const all = Float64Array.of(
      ...new Float64Array(NORMAL / 2),
      ...trailingMean(usual, SPAN),
      ...trailingMean(later, SPAN),
    );
    const labelled = Array.from(all, (_, i) => channels[0]!.anomalies.some(([a, b]) => i >= a && i <= b));
    judged.push({ reported: Array.from(all, (v) => v > bound), labelled });
  }
  return { runs: judged.length, ...pointScore(judged) };
}

/** Mean surprise over the channels of rows `from` to `to`, all forecast from row `from`. */
async function surprisesFrom(
  forecaster: Forecaster,
  channels: readonly LabelledSeries[],
  from: number,
  to: number,
): Promise<Float64Array> {
  const results = await forecaster.forecast(
    channels.map(({ values, season, frequency }) => ({
      history: values.subarray(0, from),
      horizon: to - from,
      season,
      frequency,
      quantiles: [...STANDARD_LEVELS],
    })),
  );
  const each = results.map(({ quantiles }, c) =>
    channels[c]!.values.slice(from, to).map((value, i) =>
      Number.isNaN(value)
        ? Number.NaN
        : surprise(
            value,
            quantiles.map((of) => of[i]!),
          ),
    ),
  );
  return columnMeans(each);
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
  if (report.injected) {
    const { scores, files, windows } = report.injected;
    const own = [ours, ...NAB_PROFILES.map(({ name }) => scores[name]!.toFixed(1))];
    lines.push(
      `## Anomalies put into ${files} training series, ${windows} windows, scored as NAB`,
      '',
      ...table(['detector', ...NAB_PROFILES.map((p) => p.name)], [own]),
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
