import { z } from 'zod';
import { wantedFields } from './output-json.js';

const name = z.string().min(1).max(256);

/** A value that may be repeated in a query string, as an array. */
const repeated = <T extends z.ZodType>(item: T, max: number) =>
  z
    .union([item, z.array(item).min(1).max(max)])
    .transform((value): z.output<T>[] => (Array.isArray(value) ? value : [value]) as z.output<T>[]);

const number = (min: number, max: number) => z.coerce.number().min(min).max(max);

/** What a subscriber asks for, in a query string. */
export const wantedQuery = z.object({
  series: repeated(name, 1000).optional().meta({ description: 'name of a series; may be repeated' }),
  prefix: wantedFields.prefix,
  horizon: number(1, 4096).int().optional().meta({ description: 'steps to forecast' }),
  events: repeated(z.enum(['forecasts', 'anomalies']), 2).default(['forecasts', 'anomalies']),
  minScore: number(0, 1000)
    .default(4)
    .meta({ description: 'an anomaly is a value at least so many standard deviations from its forecast' }),
});

/** Which forecasts a scrape reads. */
export const scrapeQuery = z.object({
  series: wantedQuery.shape.series,
  prefix: wantedQuery.shape.prefix,
  step: repeated(number(1, 1024).int(), 20).default([1]).meta({ description: 'steps ahead, from 1; may be repeated' }),
});
