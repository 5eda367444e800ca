import { z } from 'zod';
import { frequencyField, levelFields, modelField, seasonField, seriesInput } from './series-input.js';

const seriesField = z.array(seriesInput).min(1).meta({ description: 'the series, all answered in this order' });
const common = {
  series: seriesField,
  frequency: frequencyField.nullish(),
  season: seasonField.nullish(),
  model: modelField,
};
const horizon = z.int().min(1).max(100_000);

const oneOfLevels = {
  check: (request: { levels?: unknown; quantiles?: unknown }) =>
    request.levels === undefined || request.quantiles === undefined,
  message: { message: 'give either levels or quantiles', path: ['quantiles'] },
};

export const forecastRequest = z
  .strictObject({ ...common, horizon: horizon.meta({ description: 'steps ahead' }), ...levelFields })
  .refine(oneOfLevels.check, oneOfLevels.message)
  .meta({ id: 'ForecastRequest' });
export type ForecastBody = z.output<typeof forecastRequest>;

export const anomalyRequest = z
  .strictObject({
    ...common,
    level: z
      .number()
      .gt(0)
      .max(99.9999)
      .default(99)
      .meta({ description: 'a value outside this central interval of its forecast is an anomaly' }),
    last: z.int().min(1).optional().meta({ description: 'judge only so many of the latest values' }),
    stride: z.int().min(1).max(10_000).optional().meta({
      description: 'values judged by one forecast; 1 is the sharpest, the default bounds the number of forecasts',
    }),
  })
  .meta({ id: 'AnomalyRequest' });
export type AnomalyBody = z.output<typeof anomalyRequest>;

export const backtestRequest = z
  .strictObject({
    ...common,
    horizon: horizon.meta({ description: 'steps of each window' }),
    windows: z.int().min(1).max(10_000).default(1),
    step: z
      .int()
      .min(1)
      .max(100_000)
      .optional()
      .meta({ description: 'steps between windows; the horizon when absent' }),
    ...levelFields,
  })
  .refine(oneOfLevels.check, oneOfLevels.message)
  .meta({ id: 'BacktestRequest' });
export type BacktestBody = z.output<typeof backtestRequest>;

const column = z.array(z.number().nullable());
const about = {
  id: z.string(),
  frequency: z.string().nullable(),
  season: z.int(),
  seasonSource: z.enum(['given', 'frequency', 'detected', 'none']),
  notices: z.array(z.string()).meta({ description: 'what was changed or assumed' }),
};
const interval = z.object({ low: column, high: column });
const engine = { model: z.string(), backend: z.string(), requestId: z.string() };

const values = {
  timestamps: z.array(z.string()).nullable().meta({ description: 'null where the request had no times' }),
  median: column,
  mean: column.optional(),
  intervals: z.record(z.string(), interval).optional().meta({ description: 'by level in percent' }),
  quantiles: z.record(z.string(), column).optional().meta({ description: 'by quantile level' }),
};

export const forecastAnswer = z
  .object({
    ...engine,
    horizon: z.int(),
    forecasts: z.array(
      z.object({
        ...about,
        ...values,
        covariates: z
          .record(z.string(), z.object({ coefficient: z.number(), contribution: column }))
          .optional()
          .meta({ description: 'what each covariate adds to the forecast' }),
      }),
    ),
  })
  .meta({ id: 'ForecastAnswer' });

export const anomalyAnswer = z
  .object({
    ...engine,
    level: z.number(),
    series: z.array(
      z.object({
        ...about,
        timestamps: values.timestamps,
        values: column,
        expected: column,
        low: column,
        high: column,
        scores: column.meta({ description: 'standard deviations of the forecast from its median, with sign' }),
        anomalies: z.array(z.boolean()),
        count: z.int(),
      }),
    ),
  })
  .meta({ id: 'AnomalyAnswer' });

const scores = z.object({
  mae: z.number().nullable(),
  rmse: z.number().nullable(),
  mase: z.number().nullable(),
  wql: z.number().nullable(),
  coverage: z.record(z.string(), z.number()),
});

export const backtestAnswer = z
  .object({
    ...engine,
    horizon: z.int(),
    scores,
    series: z.array(
      z.object({
        ...about,
        scores,
        windows: z.array(z.object({ cutoff: z.int(), actual: column, ...values })),
      }),
    ),
  })
  .meta({ id: 'BacktestAnswer' });
