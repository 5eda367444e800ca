import { z } from 'zod';
import { jsonNumbers } from '../../../forecast/rest/levels.js';
import { AdderError } from '../../../platform/errors.js';
import type { LiveOutput, PointScore, SeriesFilter } from '../../feed.js';

/** Scores from here on are told as anomalies where a subscriber says nothing else: one value in about 16,000. */
const MIN_SCORE = 4;

const name = z.string().min(1).max(256);

/** What a subscriber of live outputs asks for; the same words at every door. */
export const wantedFields = {
  series: z.array(name).min(1).max(10_000).optional().meta({ description: 'names of series' }),
  prefix: z.string().max(256).optional().meta({ description: 'instead of series: names that begin with it' }),
  horizon: z.number().int().min(1).max(4096).optional().meta({ description: 'steps to forecast' }),
  events: z
    .array(z.enum(['forecasts', 'anomalies']))
    .min(1)
    .default(['forecasts', 'anomalies']),
  minScore: z
    .number()
    .min(0)
    .max(1000)
    .default(MIN_SCORE)
    .meta({ description: 'an anomaly is a value at least so many standard deviations from its forecast' }),
};

const wanted = z.object(wantedFields);
export type Wanted = z.output<typeof wanted>;

/** The series that a subscriber means; all of its own when it names none. Throws `INVALID_REQUEST`. */
export function filterOf({ series, prefix }: Pick<Wanted, 'series' | 'prefix'>): SeriesFilter {
  if (series && prefix !== undefined) {
    throw new AdderError({
      code: 'INVALID_REQUEST',
      message: 'series and prefix exclude each other',
      where: { field: 'prefix' },
      fix: 'give one of them, or none for all series',
    });
  }
  return series ? { ids: series } : { prefix: prefix ?? '' };
}

const time = (ms: number) => new Date(ms).toISOString();

/** A forecast as JSON: quantiles by level. Others may demand more steps of the series; `steps` cuts them off. */
export const forecastJson = (output: LiveOutput, steps = output.times.length) => ({
  series: output.series,
  sequence: output.sequence,
  at: time(output.at),
  value: output.value,
  frequency: output.frequency,
  model: output.model,
  times: Array.from(output.times.subarray(0, steps), time),
  quantiles: Object.fromEntries(
    output.levels.map((level, i) => [String(level), jsonNumbers(output.quantiles[i]!.subarray(0, steps))]),
  ),
});

/** A value that was not expected. */
export const anomalyJson = (output: LiveOutput, score: PointScore) => ({
  series: output.series,
  sequence: output.sequence,
  time: time(score.time),
  value: score.value,
  expected: score.expected,
  low: score.low,
  high: score.high,
  score: score.score,
});

export type OutputEvent =
  | ({ type: 'forecast' } & ReturnType<typeof forecastJson>)
  | ({ type: 'anomaly' } & ReturnType<typeof anomalyJson>);

/** What an output means to a subscriber, anomalies first. */
export function eventsOf(
  output: LiveOutput,
  { events, minScore, horizon }: Pick<Wanted, 'events' | 'minScore' | 'horizon'>,
): OutputEvent[] {
  const out: OutputEvent[] = [];
  if (events.includes('anomalies')) {
    for (const score of output.scores) {
      if (Math.abs(score.score) >= minScore) out.push({ type: 'anomaly', ...anomalyJson(output, score) });
    }
  }
  if (events.includes('forecasts')) out.push({ type: 'forecast', ...forecastJson(output, horizon) });
  return out;
}
