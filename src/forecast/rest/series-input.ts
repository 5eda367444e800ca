import { z } from 'zod';
import { mixedColumn, numberColumn } from '../../platform/numbers.js';

const time = z.union([z.string().max(64), z.number()]);

const covariates = (about: string) =>
  z
    .record(z.string().min(1).max(128), mixedColumn('numbers (null is unknown) or names of categories'))
    .refine((columns) => Object.keys(columns).length <= 64, { message: 'expected at most 64 covariates' })
    .meta({ description: about });

export const frequencyField = z
  .string()
  .max(32)
  .meta({ description: 'pandas-style: `H`, `15min`, `D`, `W`, `M`; inferred from the timestamps when absent' });

export const seasonField = z
  .int()
  .min(1)
  .max(100_000)
  .meta({ description: 'steps of one season; 1 means none; inferred when absent' });

/** One series, sent with the request or stored. */
export const seriesInput = z
  .strictObject({
    id: z
      .string()
      .min(1)
      .max(256)
      .optional()
      .meta({ description: 'name, echoed in the answer; its index when absent' }),
    values: numberColumn('observations in order of time; null is a missing one').optional(),
    stored: z.string().min(1).max(256).optional().meta({ description: 'name of a stored series, instead of values' }),
    last: z.int().min(1).optional().meta({ description: 'how many of the latest stored points to use' }),
    start: time.optional().meta({ description: 'time of the first value, where values are regular' }),
    timestamps: z
      .any()
      .meta({
        type: 'array',
        items: { oneOf: [{ type: 'string' }, { type: 'number' }] },
        description: 'time of each value (ISO 8601, or Unix time); need not be sorted or regular',
      })
      .optional(),
    frequency: frequencyField.nullish(),
    season: seasonField.nullish(),
    pastCovariates: covariates('one value for each observation').optional(),
    futureCovariates: covariates('one value for each observation and then one for each step of the horizon').optional(),
  })
  .superRefine((series, context) => {
    if ((series.values === undefined) === (series.stored === undefined)) {
      context.addIssue({ code: 'custom', message: 'give either values or stored', path: ['values'] });
    }
    if (series.start !== undefined && series.timestamps !== undefined) {
      context.addIssue({ code: 'custom', message: 'give either start or timestamps', path: ['start'] });
    }
  })
  .meta({ id: 'SeriesInput' });

export type SeriesInput = z.output<typeof seriesInput>;

/** Coverage of a central interval in percent, and a quantile level. */
export const level = z.number().gt(0).max(99.9999);
export const quantile = z
  .number()
  .min(1e-6)
  .max(1 - 1e-6);

/** Which quantiles are wanted: `levels` of central intervals in percent, or `quantiles`. */
export const levelFields = {
  levels: z.array(level).max(50).optional().meta({
    description: 'coverage of central intervals in percent; [80, 95] when neither this nor quantiles is given',
  }),
  quantiles: z.array(quantile).min(1).max(100).optional().meta({ description: 'quantile levels instead of intervals' }),
};

export const modelField = z
  .string()
  .regex(/^[A-Za-z0-9_.-]{1,64}$/, { error: 'expected the name of a model, see GET /v1/models' })
  .optional()
  .meta({ description: 'what forecasts; the configured default when absent' });
