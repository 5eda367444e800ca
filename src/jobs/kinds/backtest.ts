import { Injectable } from '@nestjs/common';
import {
  addSums,
  noSums,
  type ScoredWindow,
  type ScoreSums,
  scoresOf,
  sumWindows,
} from '../../forecast/rest/backtest-scores.js';
import { wantedLevels } from '../../forecast/rest/levels.js';
import { backtestCutoffs, rollingForecasts } from '../../forecast/rest/rolling.js';
import { AdderError } from '../../platform/errors.js';
import { type JobContext, type JobHandler, JobProcessor } from '../processor.js';
import type { AdderJobs, DataOfJob } from '../table.js';
import { quantileColumns, timesOf } from './columns.js';
import { CLOSING, eachGroup, type SeriesUnit } from './series-groups.js';
import { InjectParts, type WorkerParts } from './worker-parts.js';

/** Points before the first window that are read: season and context of any model. */
const HISTORY = 8192;

/** Forecasts of one group. */
const WINDOWS_AT_ONCE = 2048;

/** Forecasts the ends of stored series as if they were not known; one result a window, and the scores of each series. */
@Injectable()
@JobProcessor('backtest')
export class BacktestJob implements JobHandler<AdderJobs, 'backtest'> {
  constructor(@InjectParts() private readonly parts: WorkerParts) {}

  async process(context: JobContext<DataOfJob<'backtest'>>) {
    const { data, owner, signal } = context;
    const { horizon, windows, model } = data;
    const step = data.step ?? horizon;
    const wanted = wantedLevels(data);
    const service = this.parts.forecasts(context);
    const engine = await service.describe(owner, model);
    const span = horizon + (windows - 1) * step;
    const options = { last: HISTORY + span, atOnce: Math.max(1, Math.floor(WINDOWS_AT_ONCE / windows)) };
    const done = await eachGroup(this.parts, context, options, async (units) => {
      const rolling = units.map((unit) => ({
        values: unit.prepared.values,
        season: unit.prepared.season,
        frequency: unit.prepared.frequency,
        cutoffs: cutoffs(unit, horizon, windows, step),
      }));
      const rolled = await rollingForecasts(service, rolling, { horizon, quantiles: wanted.all, owner, model, signal });
      const scored = units.map((): ScoredWindow[] => []);
      for (const { series, cutoff, forecast } of rolled) {
        const unit = units[series]!;
        const { values, season } = unit.prepared;
        const actual = values.slice(cutoff, cutoff + horizon);
        await unit.keep({
          window: scored[series]!.length,
          kind: 'backtest',
          cutoff: unit.timeAt(cutoff - 1),
          meta: {},
          columns: { time: timesOf(unit, cutoff, horizon), actual, ...quantileColumns(wanted.all, forecast.quantiles) },
        });
        scored[series]!.push({ history: values.subarray(0, cutoff), actual, quantiles: forecast.quantiles, season });
      }
      return units.map(({ prepared }, i) => {
        const sums = sumWindows(scored[i]!, wanted);
        const { frequency, season, notices } = prepared;
        return { frequency: frequency ?? null, season, notices, scores: scoresOf(sums), sums };
      });
    });
    const total = noSums();
    for await (const { kind, meta } of this.parts.results.closings(context.id, CLOSING)) {
      if (kind === 'summary') addSums(total, meta.sums as ScoreSums);
    }
    return { ...engine, ...done, horizon, windows, scores: scoresOf(total) };
  }
}

function cutoffs({ name, prepared: { values } }: SeriesUnit, horizon: number, windows: number, step: number): number[] {
  const out = backtestCutoffs(values.length, horizon, windows, step);
  const first = values.findIndex((value) => !Number.isNaN(value));
  if (out[0]! > first) return out;
  throw new AdderError({
    code: 'TOO_SHORT',
    message: `${values.length} steps are too few for ${windows} windows of ${horizon}, ${step} apart`,
    where: { series: name },
    fix: 'ask for fewer or shorter windows, or give a longer history',
  });
}
