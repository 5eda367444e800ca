/** What `adder train CONFIG` reads: one JSON file that, with the data, determines a run. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { AdderError } from '../../platform/errors.js';
import { forecasterConfigSchema } from '../model/config.js';
import type { PartOptions } from './batch.js';

const share = z.number().min(0).max(1);
const count = z.int().min(1);

const partSchema = z.strictObject({
  /** For logs. */
  name: z.string().regex(/^[\w-]+$/),
  /** Sequences of the part in every batch. */
  windows: count,
  /** Steps of a window, a whole number of patches. */
  length: count,
  /** Share of windows that use the whole length; others are log-uniform from `shortest`. */
  full: share,
  shortest: z.int().min(8),
  weighting: z.enum(['long', 'short']),
  /** Series with fewer values are left out. */
  shortestSeries: count,
  /** Share of windows whose end is masked like a long horizon, and the longest such end in patches. */
  rollout: share.default(0),
  longestRollout: z.int().min(2).default(2),
  /** Share of windows with a look-ahead token, which live streams need. */
  lookAhead: share.default(0.5),
  /** The loss is the sum over parts of weight · mean loss. */
  weight: z.number().positive().default(1),
});

export const trainingConfigSchema = z
  .strictObject({
    name: z.string().regex(/^[\w.-]+$/),
    seed: z.int().min(0),
    /** Folder with `train/*.ndjson.gz`, or with the files themselves; --data overrides it. */
    data: z.string().optional(),
    /** Series of it not to train on, as `dataset/id` or `dataset/beginning*`. */
    exclude: z.array(z.string()).default([]),
    model: forecasterConfigSchema,
    /** Folder or name of a model of the same shape whose weights the run starts from, instead of random ones. */
    initial: z.string().optional(),
    batch: z.strictObject({
      synthetic: share,
      augment: z.boolean().default(true),
      parts: z.array(partSchema).min(1),
    }),
    optimiser: z.strictObject({
      learningRate: z.number().positive(),
      beta1: share.default(0.9),
      beta2: share.default(0.95),
      epsilon: z.number().positive().default(1e-8),
      weightDecay: z.number().min(0).default(0.02),
      /** Largest norm of the gradient; 0: none. */
      clipNorm: z.number().min(0).default(1),
      /** What the loss is multiplied by, against underflow of f16 gradients. */
      lossScale: z.number().positive().default(65_536),
    }),
    schedule: z.strictObject({
      steps: count,
      warmup: z.int().min(0),
      /** Share of all steps at the end in which the learning rate falls linearly to `floor` of its peak. */
      decay: share,
      floor: share.default(0.01),
      /** Steps that the averaged weights span, at most; they begin where the decay begins. */
      average: count.default(400),
    }),
    /** Of matrix products and scans; parameters, sums and the optimiser are f32. */
    precision: z.enum(['f32', 'f16']).default('f16'),
    /** Recompute activations on the reverse pass: less memory, a third more time. */
    recompute: z.boolean().default(false),
    validation: z.strictObject({ every: count, windows: count }).default({ every: 500, windows: 256 }),
    /** Seconds between checkpoints. */
    checkpointSeconds: z.number().positive().default(120),
  })
  .superRefine((config, context) => {
    config.batch.parts.forEach((part, i) => {
      const path = ['batch', 'parts', i, 'length'];
      if (part.length % config.model.patch !== 0) {
        context.addIssue({ code: 'custom', path, message: `must be a multiple of the patch (${config.model.patch})` });
      } else if (part.length < 2 * config.model.patch) {
        context.addIssue({ code: 'custom', path, message: 'must hold at least two patches' });
      }
    });
    const names = config.batch.parts.map((part) => part.name);
    if (new Set(names).size < names.length) {
      context.addIssue({ code: 'custom', path: ['batch', 'parts'], message: 'two parts have the same name' });
    }
  });

export type TrainingConfig = z.infer<typeof trainingConfigSchema>;

/** @throws AdderError `BAD_CONFIG` naming the file and the field; errors of the file layer pass through */
export function readTrainingConfig(file: string): TrainingConfig {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new AdderError({
      code: 'BAD_CONFIG',
      message: `this is no JSON: ${cause.message}`,
      where: { file },
      fix: 'correct the file; configs/ has examples',
      cause,
    });
  }
  return parseTrainingConfig(json, file);
}

export function parseTrainingConfig(json: unknown, file: string): TrainingConfig {
  const parsed = trainingConfigSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new AdderError({
    code: 'BAD_CONFIG',
    message: issue.message,
    where: { file, field: issue.path.join('.') || undefined },
    fix: 'correct the file; configs/ has examples',
    cause: parsed.error,
  });
}

/** The parts as the sampler takes them. */
export function partOptions(config: TrainingConfig): PartOptions[] {
  const { synthetic, augment, parts } = config.batch;
  const { patch, lags } = config.model;
  return parts.map(({ name: _, weight: __, ...part }) => ({
    ...part,
    patch,
    lags,
    synthetic,
    augment,
  }));
}
