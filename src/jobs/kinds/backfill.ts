import { Injectable } from '@nestjs/common';
import type { ForecastService } from '../../forecast/rest/forecast-service.js';
import { levelsWithMedian } from '../../forecast/rest/levels.js';
import { cutoffsOver, rollingForecasts, warmUp } from '../../forecast/rest/rolling.js';
import { Demands } from '../../live/demands.js';
import type { ModelInfo } from '../inference/protocol.js';
import { type JobContext, type JobHandler, JobProcessor } from '../processor.js';
import type { AdderJobs, DataOfJob } from '../table.js';
import type { BatchEngine } from './batch-engine.js';
import { quantileColumns, timesOf } from './columns.js';
import { judge, keepJudged } from './one-step.js';
import { CLOSING, eachGroup, type SeriesUnit } from './series-groups.js';
import { InjectParts, type WorkerParts } from './worker-parts.js';

/** Windows of forecasts are numbered from here on; those of anomaly scores from 0. */
export const FIRST_FORECAST = 1_000_000;

/** Forecasts that are asked for together. */
const FORECASTS_AT_ONCE = 2048;

/** A horizon for those who name none, where the model does not say how far one scan looks. */
const HORIZON = 16;

/**
 * Works over whole stored histories: forecasts as they would have stood all along, and a score for every value. States for
 * live forecasts are not made here but demanded: their owner scans the history itself, in one view with the log
 * (src/live/loader.ts), and keeps them.
 */
@Injectable()
@JobProcessor('backfill')
export class BackfillJob implements JobHandler<AdderJobs, 'backfill'> {
  constructor(@InjectParts() private readonly parts: WorkerParts) {}

  async process(context: JobContext<DataOfJob<'backfill'>>) {
    const { data, owner, signal } = context;
    const { level, model } = data;
    const engine = this.parts.engine(context);
    const service = this.parts.forecasts(context);
    const engineModel = await service.names.resolve(owner, model);
    const info = await engine.describe(engineModel);
    const horizon = data.horizon ?? info.rollStep ?? HORIZON;
    const every = data.every ?? horizon;
    const levels = levelsWithMedian(data.levels);
    const demands = new Demands(this.parts.database);
    const run: Forecasting = { horizon, every, levels, info, owner, model, engineModel, signal };
    const done = await eachGroup(this.parts, context, {}, async (units, progress) => {
      const judging = {
        level,
        info,
        owner,
        model,
        engineModel,
        signal,
        progress: (share: number) => progress(0.6 * share),
      };
      const judged = await judge(units, engine, service, judging);
      const found = await Promise.all(units.map((unit, i) => keepJudged(unit, judged[i]!, level)));
      const forecasts = await forecastAll(units, engine, service, run, (share) => progress(0.6 + 0.4 * share));
      if (data.live) {
        const ids = units.map(({ name }) => name);
        await demands.put(owner, `backfill:${context.id}:${units[0]!.ordinal}`, { ids }, horizon, false);
      }
      return found.map((own, i) => ({ ...own, forecasts: forecasts[i]! }));
    });
    const total = { values: 0, judged: 0, anomalies: 0, forecasts: 0 };
    for await (const { kind, meta } of this.parts.results.closings(context.id, CLOSING)) {
      if (kind !== 'summary') continue;
      for (const key of ['values', 'judged', 'anomalies', 'forecasts'] as const) total[key] += meta[key] as number;
    }
    return { model: info.model, backend: info.backend, ...done, horizon, every, level, ...total };
  }
}

interface Forecasting {
  horizon: number;
  every: number;
  levels: number[];
  info: ModelInfo;
  owner: string;
  model: string | undefined;
  engineModel: string | undefined;
  signal: AbortSignal;
}

/** Keeps a forecast from every `every`-th value on, and one from the end; returns how many there are of each unit. */
async function forecastAll(
  units: readonly SeriesUnit[],
  engine: BatchEngine,
  service: ForecastService,
  run: Forecasting,
  progress: (share: number) => void,
): Promise<number[]> {
  const origins = units.map(({ prepared }) => originsOf(prepared.values, warmUp(prepared), run.every));
  const places = origins.flatMap((own, unit) => own.map((origin, k) => ({ unit, origin, window: FIRST_FORECAST + k })));
  for (let at = 0; at < places.length; at += FORECASTS_AT_ONCE) {
    run.signal.throwIfAborted();
    const portion = places.slice(at, at + FORECASTS_AT_ONCE);
    const forecasts = await forecastSome(units, portion, engine, service, run);
    for (const [i, { unit, origin, window }] of portion.entries()) {
      const own = units[unit]!;
      await own.keep({
        window,
        kind: 'forecast',
        cutoff: own.timeAt(origin - 1),
        meta: {},
        columns: { time: timesOf(own, origin, run.horizon), ...quantileColumns(run.levels, forecasts[i]!) },
      });
    }
    progress(Math.min(1, (at + portion.length) / places.length));
  }
  return origins.map((own) => own.length);
}

/** Every `every`-th place from `from` on, so that the last forecast is that of the whole history. */
function originsOf(values: Float64Array, warm: number, every: number): number[] {
  const { length } = values;
  // Nothing is forecast before the first observation.
  const from = Math.max(warm, values.findIndex((value) => !Number.isNaN(value)) + 1);
  return cutoffsOver(length - Math.floor((length - from) / every) * every, length + 1, every);
}

interface Place {
  unit: number;
  origin: number;
}

/** Quantiles of each place: out of shared scans as far as those look ahead, each by itself beyond. */
async function forecastSome(
  units: readonly SeriesUnit[],
  places: readonly Place[],
  engine: BatchEngine,
  service: ForecastService,
  { horizon, every, levels, info, owner, model, engineModel, signal }: Forecasting,
): Promise<Float64Array[][]> {
  const byUnit = new Map<number, number[]>();
  for (const { unit, origin } of places) byUnit.set(unit, [...(byUnit.get(unit) ?? []), origin]);
  const step = info.rollStep ?? 0;
  const out: Float64Array[][] = [];
  if (horizon > step || every % step !== 0) {
    const rolling = [...byUnit].map(([unit, cutoffs]) => {
      const { values, season, frequency } = units[unit]!.prepared;
      return { values, season, frequency, cutoffs };
    });
    const wanted = { horizon, quantiles: levels, owner, model, signal };
    for (const { forecast } of await rollingForecasts(service, rolling, wanted)) out.push(forecast.quantiles);
    return out;
  }
  // Origins are whole tokens apart, so a scan has them all; pieces of bounded length keep what waits behind them waiting little.
  const pieces = [...byUnit].flatMap(([unit, origins]) =>
    cutoffsOver(0, origins.length, PIECE).map((i) => ({ unit, origins: origins.slice(i, i + PIECE) })),
  );
  const requests = pieces.map(({ unit, origins }) => {
    const { values, season, frequency } = units[unit]!.prepared;
    let begin = Math.max(0, origins[0]! - CONTEXT);
    if (values.subarray(begin, origins[0]).every(Number.isNaN)) {
      begin = values.subarray(0, origins[0]).findLastIndex((value) => !Number.isNaN(value));
    }
    return {
      history: values.subarray(begin, origins.at(-1)),
      season,
      frequency,
      quantiles: levels,
      horizon,
      origins: origins.map((origin) => origin - begin),
    };
  });
  for (const [i, { quantiles }] of (await engine.roll(requests, engineModel)).entries()) {
    requests[i]!.origins.forEach((_, o) => {
      out.push(quantiles.map((values) => values.slice(o * horizon, (o + 1) * horizon)));
    });
  }
  return out;
}

/** Origins of one scan, and values that it reads before the first. */
const PIECE = 64;
const CONTEXT = 1024;
