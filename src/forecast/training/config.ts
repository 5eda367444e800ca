/** What `adder train CONFIG` reads: one JSON file that, with the data, determines a run. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { badConfig, count, optimiserSchema, parseRunConfig, runFields, share } from '../../platform/training-config.js';
import { forecasterConfigSchema } from '../model/config.js';
import type { PartOptions } from './batch.js';

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
    ...runFields,
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
    optimiser: optimiserSchema(0.02),
    /** Recompute activations on the reverse pass: less memory, a third more time. */
    recompute: z.boolean().default(false),
    validation: z.strictObject({ every: count, windows: count }).default({ every: 500, windows: 256 }),
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
    throw badConfig(file, `this is no JSON: ${cause.message}`, cause);
  }
  return parseTrainingConfig(json, file);
}

export function parseTrainingConfig(json: unknown, file: string): TrainingConfig {
  return parseRunConfig(trainingConfigSchema, json, file);
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
