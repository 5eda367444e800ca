import { z } from 'zod';
import { frequencyField, seasonField } from '../../forecast/rest/series-input.js';
import { numberColumn } from '../../platform/numbers.js';

const name = z.string().min(1).max(256);
const metadata = z
  .record(z.string().max(128), z.union([z.string().max(4096), z.number(), z.boolean(), z.null()]))
  .refine((fields) => Object.keys(fields).length <= 100, { message: 'expected at most 100 fields' });

const fields = {
  frequency: frequencyField.nullish(),
  season: seasonField.nullish(),
  metadata: metadata.optional().meta({ description: 'anything that you want to keep with the series' }),
};

export const newSeries = z.strictObject({ id: name, ...fields }).meta({ id: 'NewSeries' });
export const changedSeries = z.strictObject(fields).meta({ id: 'SeriesChange' });

/** A number in a query string. */
const whole = (max: number) => z.coerce.number().int().min(1).max(max);
const instant = z.string().min(1).max(64).meta({ description: 'ISO 8601, or milliseconds since 1970' });

export const listQuery = z.object({
  after: name.optional().meta({ description: '`next` of the page before' }),
  limit: whole(1000).default(100),
  prefix: name.optional().meta({ description: 'names that begin with it' }),
});

export const rangeQuery = z.object({ from: instant.optional(), to: instant.optional() });

export const pointsQuery = z.object({
  ...rangeQuery.shape,
  limit: whole(1_000_000).default(10_000),
  last: z
    .enum(['true', 'false'])
    .default('false')
    .meta({ description: 'the latest `limit` points instead of the earliest' }),
  buckets: whole(10_000)
    .optional()
    .meta({ description: 'down-sample to about so many intervals: mean, min, max, count' }),
});

/** Place of a batch in a stream of batches: one that was committed before is recognised and changes nothing. */
export const placeQuery = z
  .object({
    stream: name.optional(),
    sequence: z
      .string()
      .regex(/^\d{1,18}$/, { error: 'expected a whole number' })
      .optional()
      .meta({ description: 'number of the batch in its stream, ascending' }),
  })
  .refine(({ stream, sequence }) => (stream === undefined) === (sequence === undefined), {
    message: 'give stream and sequence together',
    path: ['sequence'],
  });

const timestamps = z.any().meta({
  type: 'array',
  items: { oneOf: [{ type: 'string' }, { type: 'integer' }] },
  description: 'ISO 8601, or milliseconds since 1970',
});

/** Points of many series, by column. */
export const pointsBody = z
  .strictObject({
    series: z.array(z.strictObject({ id: name, timestamps, values: numberColumn('null is a missing value') })).min(1),
  })
  .meta({ id: 'Points' });

/** Points of one series, by column. */
export const ownPointsBody = z
  .strictObject({ timestamps, values: numberColumn('null is a missing value') })
  .meta({ id: 'SeriesPoints' });

const time = z.union([z.string(), z.number()], { error: 'expected a time: ISO 8601, or milliseconds since 1970' });
const value = z.number().nullable();

/** One line of NDJSON. */
export const pointLine = z.strictObject({ series: name.optional(), timestamp: time, value });

/** One line of NDJSON with the names of a Nixtla data frame. */
export const frameLine = z.strictObject({ unique_id: name.optional(), ds: time, y: value });
