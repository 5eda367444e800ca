/** Judges every value of histories by the forecast that stood before it came. */
import type { RollRequest } from '../../forecast/forecaster.js';
import { intervalLevels } from '../../forecast/quantiles.js';
import {
  newScores,
  type PointScores,
  SCORE_LEVELS,
  scorePoint,
  scorePoints,
} from '../../forecast/rest/anomaly-score.js';
import type { ForecastService } from '../../forecast/rest/forecast-service.js';
import { cutoffsOver, type RolledForecast, rollingForecasts, strideFor, warmUp } from '../../forecast/rest/rolling.js';
import type { ModelInfo } from '../inference/protocol.js';
import type { BatchEngine } from './batch-engine.js';
import type { SeriesUnit } from './series-groups.js';

/** Values that one scan judges, and values that it reads before them. */
const SEGMENT = 1024;
const CONTEXT = 1024;

/** Segments that are asked for together. */
const SEGMENTS_AT_ONCE = 32;

export interface JudgeOptions {
  /** Coverage of the interval outside of which a value is an anomaly, percent. */
  level: number;
  /** Only so many of the latest values. */
  last?: number | undefined;
  /** Values that one forecast judges; 1 where the model scans, else what bounds the number of forecasts. */
  stride?: number | undefined;
  /** What runs the model. */
  info: ModelInfo;
  owner: string;
  model: string | undefined;
  /** As the engine knows the model. */
  engineModel: string | undefined;
  signal: AbortSignal;
  progress(share: number): void;
}

export interface Judged {
  /** First judged value. */
  from: number;
  stride: number;
  scores: PointScores;
}

/** Scores of the values of each unit; the definition is that of `POST /v1/anomalies`. */
export async function judge(
  units: readonly SeriesUnit[],
  engine: BatchEngine,
  service: ForecastService,
  options: JudgeOptions,
): Promise<Judged[]> {
  const { level, last, info } = options;
  const ends = intervalLevels(level);
  const levels = [...new Set([...SCORE_LEVELS, ...ends])].sort((a, b) => a - b);
  const starts = units.map(({ prepared }) =>
    Math.max(warmUp(prepared), last === undefined ? 0 : prepared.values.length - last),
  );
  if (info.rollStep !== undefined && (options.stride ?? 1) === 1) {
    const scores = await byScan(units, starts, engine, { levels, ends, step: info.rollStep }, options);
    return scores.map((own, i) => ({ from: starts[i]!, stride: 1, scores: own }));
  }
  const stride = options.stride ?? strideFor(units.map(({ prepared }, i) => prepared.values.length - starts[i]!));
  const rolling = units.map(({ prepared: { values, season, frequency } }, i) => ({
    values,
    season,
    frequency,
    cutoffs: cutoffsOver(starts[i]!, values.length, stride),
  }));
  const { owner, model, signal } = options;
  const rolled = await rollingForecasts(service, rolling, { horizon: stride, quantiles: levels, owner, model, signal });
  const bySeries = units.map((): RolledForecast[] => []);
  for (const forecast of rolled) bySeries[forecast.series]!.push(forecast);
  return units.map(({ prepared }, i) => ({
    from: starts[i]!,
    stride,
    scores: scorePoints(prepared.values, bySeries[i]!, levels, ends),
  }));
}

interface Segment {
  unit: number;
  from: number;
  to: number;
}

/** One step ahead of every value: origins a token apart share a scan, so as many scans as a token has values do it all. */
async function byScan(
  units: readonly SeriesUnit[],
  starts: readonly number[],
  engine: BatchEngine,
  { levels, ends, step }: { levels: number[]; ends: readonly [number, number]; step: number },
  { engineModel, signal, progress }: JudgeOptions,
): Promise<PointScores[]> {
  const scores = units.map(({ prepared }) => newScores(prepared.values.length));
  const segments = units.flatMap(({ prepared }, unit): Segment[] =>
    cutoffsOver(starts[unit]!, prepared.values.length, SEGMENT).map((from) => ({
      unit,
      from,
      to: Math.min(from + SEGMENT, prepared.values.length),
    })),
  );
  const [q10, median, q90, low, high] = [0.1, 0.5, 0.9, ...ends].map((level) => levels.indexOf(level)) as number[];
  for (let at = 0; at < segments.length; at += SEGMENTS_AT_ONCE) {
    signal.throwIfAborted();
    const portion = segments.slice(at, at + SEGMENTS_AT_ONCE);
    const asked = portion.flatMap((segment) => scansOf(units[segment.unit]!, segment, step, levels));
    const rolled = await engine.roll(
      asked.map(({ request }) => request),
      engineModel,
    );
    let next = 0;
    for (const { unit, from, to } of portion) {
      const { values } = units[unit]!.prepared;
      for (let scan = 0; scan < Math.min(step, to - from); scan++, next++) {
        const { begin, request } = asked[next]!;
        const { quantiles } = rolled[next]!;
        request.origins.forEach((origin, o) => {
          const t = begin + origin;
          const at = (index: number) => quantiles[index]![o]!;
          if (Number.isNaN(at(median!))) return;
          scorePoint(scores[unit]!, t, values[t]!, {
            q10: at(q10!),
            median: at(median!),
            q90: at(q90!),
            low: at(low!),
            high: at(high!),
          });
        });
      }
    }
    progress(Math.min(1, (at + portion.length) / segments.length));
  }
  return scores;
}

/** The scans that together have an origin before every value of a segment; `begin` is where their history begins. */
function scansOf(
  { prepared: { values, season, frequency } }: SeriesUnit,
  { from, to }: Segment,
  step: number,
  quantiles: number[],
): { begin: number; request: RollRequest }[] {
  let begin = Math.max(0, from - CONTEXT);
  // Not before the last known value, or nothing would be left to go by.
  if (values.subarray(begin, from).every(Number.isNaN)) {
    begin = Math.max(
      0,
      values.subarray(0, from).findLastIndex((value) => !Number.isNaN(value)),
    );
  }
  return Array.from({ length: Math.min(step, to - from) }, (_, phase) => {
    const origins = cutoffsOver(from + phase, to, step);
    return {
      begin,
      request: {
        history: values.subarray(begin, origins.at(-1)!),
        season,
        frequency,
        quantiles,
        horizon: 1,
        origins: origins.map((origin) => origin - begin),
      },
    };
  });
}

/** Values of one result. */
const WINDOW = 4096;

/** Keeps what was found of one series, some thousand values a window from window 0 on; returns what is said about all of it. */
export async function keepJudged(unit: SeriesUnit, { from, stride, scores }: Judged, level: number) {
  const { values, frequency, season, notices } = unit.prepared;
  let anomalies = 0;
  let judged = 0;
  for (const begin of cutoffsOver(from, values.length, WINDOW)) {
    const end = Math.min(begin + WINDOW, values.length);
    const flags = Uint8Array.from(scores.anomaly.slice(begin, end), Number);
    anomalies += flags.reduce((sum, flag) => sum + flag, 0);
    for (let t = begin; t < end; t++) if (!Number.isNaN(scores.score[t]!)) judged++;
    await unit.keep({
      window: (begin - from) / WINDOW,
      kind: 'anomaly',
      cutoff: begin > 0 ? unit.timeAt(begin - 1) : null,
      meta: { level },
      columns: {
        time: Float64Array.from({ length: end - begin }, (_, k) => unit.timeAt(begin + k)),
        value: values.slice(begin, end),
        expected: scores.expected.slice(begin, end),
        low: scores.low.slice(begin, end),
        high: scores.high.slice(begin, end),
        score: scores.score.slice(begin, end),
        anomaly: flags,
      },
    });
  }
  return {
    frequency: frequency ?? null,
    season,
    notices,
    level,
    stride,
    values: values.length,
    judged,
    anomalies,
    largest: largest(unit, scores),
  };
}

/** The values furthest from what was expected of them. */
function largest(unit: SeriesUnit, { score, expected, anomaly }: PointScores) {
  const places: number[] = [];
  anomaly.forEach((flag, t) => {
    if (flag) places.push(t);
  });
  places.sort((a, b) => Math.abs(score[b]!) - Math.abs(score[a]!));
  return places.slice(0, 5).map((t) => ({
    time: new Date(unit.timeAt(t)).toISOString(),
    value: unit.prepared.values[t]!,
    expected: expected[t]!,
    score: score[t]!,
  }));
}
