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

/** Goes on where it was when its worker ends. */
const long = {
  queue: 'batch',
  attempts: 5,
  backoff: { type: 'exponential', delayMs: 2000 },
  timeoutMs: 12 * 3_600_000,
  givesBack: true,
} as const;

/** Stored series that a job is about. */
const series = {
  /** Object that holds their names; null: the series of the job before this one in its flow. */
  names: z.uuid().nullable(),
  frequency: z.string().max(32).optional(),
  season: z.int().optional(),
  /** As requests name it. */
  model: z.string().max(64).optional(),
};
const levels = { levels: z.array(z.number()).max(50).optional(), quantiles: z.array(z.number()).max(64).optional() };

/**
 * The queues and job kinds of Adder. Every kind has exactly one processor, which the worker checks at its start; a new kind
 * is a line here and a processor in `processors.ts`.
 */
export const jobTable = defineJobs({
  queues: {
    /** Somebody waits for the answer. Many at a time, because together they make a batch. */
    interactive: { concurrency: 64 },
    /** Minutes and hours; gets what inference the interactive ones leave. */
    batch: { concurrency: 2 },
    /** Training takes a device for itself. */
    training: { concurrency: 1 },
  },
  kinds: {
    /** Forecasts of series that come with the job (`forecast/codec.ts`). */
    forecast: { ...asked, priority: 10, data: z.strictObject({ model }) },
    /** What runs a model. */
    describe: { ...asked, priority: 5, givesBack: true, data: z.strictObject({ model }) },
    /** Whether the configured model computes what it must. */
    'self-test': { ...asked, priority: 5, givesBack: true, data: z.strictObject({}) },
    /** Forecasts of the ends of stored series, and how good they were. */
    backtest: {
      ...long,
      priority: 20,
      data: z.strictObject({ ...series, ...levels, horizon: z.int(), windows: z.int(), step: z.int().optional() }),
    },
    /** A score for every value of stored series. */
    anomaly: {
      ...long,
      priority: 20,
      data: z.strictObject({ ...series, level: z.number(), last: z.int().optional(), stride: z.int().optional() }),
    },
    /** Forecasts, scores and the last state of whole stored histories. */
    backfill: {
      ...long,
      priority: 30,
      data: z.strictObject({
        ...series,
        horizon: z.int().optional(),
        every: z.int().optional(),
        levels: z.array(z.number()).max(50),
        level: z.number(),
        live: z.boolean(),
      }),
    },
    /** An uploaded file into the store. */
    import: {
      ...long,
      priority: 10,
      data: z.strictObject({ upload: z.uuid(), series: z.string().max(256).optional() }),
    },
    /** A model of the account, from another one and its series: stored ones by `names`, or sent ones by `values`. */
    'fine-tune': {
      ...long,
      queue: 'training',
      priority: 20,
      attempts: 3,
      data: z.strictObject({
        ...series,
        /** Object with the series of a request, instead of names. */
        values: z.uuid().optional(),
        id: z.string().max(36),
        /** Model to begin from, as the engines know it. */
        base: model.optional(),
        steps: z.int(),
        scope: z.enum(['head', 'all']).optional(),
        /** 1 to 5, where there is no scope: beyond 1 all weights are trained if the device can. */
        depth: z.int().default(1),
        learningRate: z.number().optional(),
        /** Digest of the request, by which its repetition is known. */
        request: z.string().max(64),
        /** What else the card says. */
        about: z.record(z.string(), z.union([z.string(), z.number()])).default({}),
      }),
    },
    /** An asynchronous request of the Nixtla protocol. */
    nixtla: {
      ...long,
      priority: 10,
      attempts: 3,
      data: z.strictObject({
        endpoint: z.enum([
          'forecast',
          'cross_validation',
          'anomaly_detection',
          'online_anomaly_detection',
          'historic_forecast',
        ]),
        input: z.uuid(),
      }),
    },
    /** Speech in a long recording. */
    listen: {
      ...long,
      priority: 20,
      attempts: 3,
      data: z.strictObject({
        clip: z.uuid(),
        contentType: z.string().max(1024).optional(),
        format: z.strictObject({ encoding: z.string().max(16), sampleRate: z.int(), channels: z.int() }).optional(),
        embeddingSeconds: z.number().optional(),
        turns: z
          .strictObject({ threshold: z.number(), delayMs: z.number(), timeoutMs: z.number() })
          .partial()
          .optional(),
      }),
    },
    /** What import and backfill of a flow found. */
    report: { ...long, priority: 10, data: z.strictObject({}) },
  },
});

export type AdderJobs = typeof jobTable;
export type DataOfJob<K extends KindOf<AdderJobs>> = DataOf<AdderJobs, K>;
