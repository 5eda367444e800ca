import { z } from 'zod';
import { frequencyField, level, modelField, quantile, seasonField } from '../../forecast/rest/series-input.js';

const name = z.string().min(1).max(256);
const horizon = z.int().min(1).max(100_000);

/** Stored series: by name, or by how their names begin. */
const selection = {
  series: z.array(name).min(1).max(100_000).optional().meta({ description: 'names of stored series' }),
  prefix: name.optional().meta({ description: 'instead of names: all series whose names begin so' }),
};
const how = {
  frequency: frequencyField.optional(),
  season: seasonField.optional(),
  model: modelField,
};
const when = {
  deadline: z.iso
    .datetime({ offset: true })
    .optional()
    .meta({ description: 'the job fails when it has not finished by then' }),
};

const backfillFields = {
  ...how,
  horizon: horizon.optional().meta({ description: 'steps of each forecast; what one scan gives when absent' }),
  every: horizon.optional().meta({ description: 'steps between forecasts; the horizon when absent' }),
  levels: z.array(level).max(50).default([80]).meta({ description: 'intervals of the forecasts, percent' }),
  level: level.default(99).meta({ description: 'a value outside this interval of its forecast is an anomaly' }),
  live: z
    .boolean()
    .default(false)
    .meta({ description: 'have the live workers build the states of these series, for live forecasts to go on from' }),
};
const importFields = {
  upload: z.uuid().meta({ description: 'id that POST /v1/uploads gave' }),
  series: name.optional().meta({ description: 'series of all rows, for files that name none' }),
};

const backtest = z.strictObject({
  kind: z.literal('backtest'),
  ...selection,
  ...how,
  ...when,
  horizon: horizon.meta({ description: 'steps of each window' }),
  windows: z.int().min(1).max(1000).default(1),
  step: horizon.optional().meta({ description: 'steps between windows; the horizon when absent' }),
  levels: z.array(level).max(50).optional(),
  quantiles: z.array(quantile).min(1).max(64).optional(),
});
const anomaly = z.strictObject({
  kind: z.literal('anomaly'),
  ...selection,
  ...how,
  ...when,
  level: backfillFields.level,
  last: z.int().min(1).max(10_000_000).optional().meta({ description: 'judge only so many of the latest values' }),
  stride: z.int().min(1).max(10_000).optional().meta({
    description: 'values judged by one forecast; 1 for models that scan, else what bounds the number of forecasts',
  }),
});
const backfill = z.strictObject({ kind: z.literal('backfill'), ...selection, ...when, ...backfillFields });
const fineTune = z.strictObject({
  kind: z.literal('fine-tune'),
  ...selection,
  frequency: how.frequency,
  season: how.season,
  ...when,
  id: z
    .string()
    .regex(/^[a-zA-Z0-9_-]{1,36}$/, { error: 'expected 1 to 36 letters, digits, - and _' })
    .optional()
    .meta({ description: 'name of the new model; made up when absent' }),
  base: modelField.meta({ description: 'model to begin from; the configured one when absent' }),
  steps: z.int().min(1).max(5000).default(200).meta({ description: 'most optimiser steps' }),
  scope: z
    .enum(['head', 'all'])
    .default('head')
    .meta({ description: '`head` trains the output network, on any device; `all` every weight, on a GPU' }),
  learningRate: z.number().gt(0).max(1).optional(),
});
const importing = z.strictObject({ kind: z.literal('import'), ...importFields, ...when });

export const newJob = z
  .discriminatedUnion('kind', [backtest, anomaly, backfill, fineTune, importing])
  .superRefine((job, context) => {
    if (job.kind === 'import') return;
    if ((job.series === undefined) === (job.prefix === undefined)) {
      context.addIssue({ code: 'custom', message: 'give either series or prefix', path: ['series'] });
    }
    if (job.kind === 'backtest' && job.levels && job.quantiles) {
      context.addIssue({ code: 'custom', message: 'give either levels or quantiles', path: ['quantiles'] });
    }
  })
  .meta({ id: 'NewJob' });
export type NewJobBody = z.output<typeof newJob>;

export const newFlow = z
  .strictObject({ import: z.strictObject(importFields), backfill: z.strictObject(backfillFields), ...when })
  .meta({ id: 'NewFlow' });
export type NewFlowBody = z.output<typeof newFlow>;
