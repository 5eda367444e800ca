import { z } from 'zod';
import { quantilesAt } from '../../../forecast/quantiles.js';
import type { LiveOutput, SeriesFilter } from '../../feed.js';

const name = z.string().min(1).max(256);

const condition = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('anomaly'),
    minScore: z
      .number()
      .positive()
      .max(1000)
      .meta({ description: 'a value at least so many standard deviations from its forecast' }),
  }),
  z
    .strictObject({
      kind: z.literal('threshold'),
      level: z.number().gt(0).lt(1).default(0.5).meta({ description: 'quantile of the forecast' }),
      above: z.number().optional(),
      below: z.number().optional(),
      withinSteps: z.number().int().min(1).max(1024).meta({ description: 'steps ahead that are looked at' }),
    })
    .refine(({ above, below }) => (above === undefined) !== (below === undefined), {
      message: 'give either above or below',
      path: ['above'],
    }),
  z.strictObject({
    kind: z.literal('missing'),
    afterSeconds: z.number().min(1).max(31_536_000).meta({ description: 'no value for so long' }),
  }),
]);
export type Condition = z.output<typeof condition>;

/** A rule as a client writes it. */
export const newRule = z
  .strictObject({
    name,
    series: z.array(name).min(1).max(1000).optional().meta({ description: 'names of series' }),
    prefix: z.string().max(256).optional().meta({ description: 'instead of series: names that begin with it' }),
    condition,
    url: z
      .url({ protocol: /^https?$/, error: 'expected http:// or https://' })
      .max(2048)
      .meta({ description: 'where alerts are sent' }),
  })
  .refine(({ series, prefix }) => series === undefined || prefix === undefined, {
    message: 'series and prefix exclude each other',
    path: ['prefix'],
  })
  .meta({ id: 'NewAlertRule' });

/** What is kept of a rule beside its name. */
export interface RuleSpec {
  filter: SeriesFilter;
  condition: Condition;
  url: string;
}

export interface Rule {
  id: string;
  owner: string;
  name: string;
  spec: RuleSpec;
}

export const concerns = ({ filter }: RuleSpec, series: string) =>
  'ids' in filter ? filter.ids.includes(series) : series.startsWith(filter.prefix);

/** Steps that must be forecast for a rule; undefined where it needs no forecast. */
export function horizonOf({ kind, ...condition }: Condition): number | undefined {
  if (kind === 'missing') return undefined;
  return 'withinSteps' in condition ? condition.withinSteps : 1;
}

/** What makes a rule fire on an output, or undefined where it does not. A rule about missing values looks at the clock. */
export function findingOf(condition: Condition, output: LiveOutput): object | undefined {
  if (condition.kind === 'anomaly') {
    const worst = output.scores
      .filter(({ score }) => Math.abs(score) >= condition.minScore)
      .reduce<LiveOutput['scores'][number] | undefined>(
        (a, b) => (a && Math.abs(a.score) >= Math.abs(b.score) ? a : b),
        undefined,
      );
    return worst && { ...worst, time: new Date(worst.time).toISOString() };
  }
  if (condition.kind === 'missing') return undefined;
  const { level, above, below, withinSteps } = condition;
  const [forecast] = quantilesAt(output.levels, output.quantiles, [level]);
  const steps = forecast!.subarray(0, withinSteps);
  const step = steps.findIndex((value) => (above === undefined ? value < below! : value > above));
  if (step < 0) return undefined;
  return {
    level,
    ...(above === undefined ? { below } : { above }),
    step: step + 1,
    time: new Date(output.times[step]!).toISOString(),
    value: steps[step]!,
  };
}

/** Whether an output can say anything about a rule: without new values it says nothing about anomalies. */
export const decides = (condition: Condition, output: LiveOutput) =>
  condition.kind === 'threshold' || (condition.kind === 'anomaly' && output.scores.length > 0);
