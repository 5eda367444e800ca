import { z } from 'zod';
import { type DataOf, defineJobs, type KindOf } from './define.js';

/** As the engines know it: a name of the catalogue, or `tuned:` and what follows (forecast/model-names.ts). */
const model = z.string().min(1).max(160);

/** Asked again by whoever waits, so there is nothing to keep. */
const asked = {
  queue: 'interactive',
  attempts: 3,
  backoff: { type: 'exponential', delayMs: 200 },
  timeoutMs: 120_000,
  durable: false,
  keepMs: 60_000,
} as const;

/**
 * The queues and job kinds of Adder. Every kind has exactly one processor, which the worker checks at its start; a new kind
 * is a line here and a processor in `processors.ts`.
 */
export const jobTable = defineJobs({
  queues: {
    /** Somebody waits for the answer. Many at a time, because together they make a batch. */
    interactive: { concurrency: 64 },
  },
  kinds: {
    /** Forecasts of series that come with the job (`forecast/codec.ts`). */
    forecast: { ...asked, priority: 10, data: z.strictObject({ model }) },
    /** What runs a model. */
    describe: { ...asked, priority: 5, givesBack: true, data: z.strictObject({ model }) },
    /** Whether the configured model computes what it must. */
    'self-test': { ...asked, priority: 5, givesBack: true, data: z.strictObject({}) },
  },
});

export type AdderJobs = typeof jobTable;
export type DataOfJob<K extends KindOf<AdderJobs>> = DataOf<AdderJobs, K>;
