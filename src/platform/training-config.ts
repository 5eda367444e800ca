/** What the configurations of all training runs have in common: one JSON file each, that with the data determines a run. */
import { z } from 'zod';
import { AdderError } from './errors.js';

export const share = z.number().min(0).max(1);
export const count = z.int().min(1);

/** Fields of every run; what it learns, from which batches and how it validates come beside them. */
export const runFields = {
  name: z.string().regex(/^[\w.-]+$/),
  seed: z.int().min(0),
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
  /** Seconds between checkpoints. */
  checkpointSeconds: z.number().positive().default(120),
};

/** AdamW, by default with the decay of weights given. */
export const optimiserSchema = (weightDecay: number) =>
  z.strictObject({
    learningRate: z.number().positive(),
    beta1: share.default(0.9),
    beta2: share.default(0.95),
    epsilon: z.number().positive().default(1e-8),
    weightDecay: z.number().min(0).default(weightDecay),
    /** Largest norm of the gradient; 0: none. */
    clipNorm: z.number().min(0).default(1),
    /** What the loss is multiplied by, against underflow of f16 gradients. */
    lossScale: z.number().positive().default(65_536),
  });

/** @throws AdderError `BAD_CONFIG` naming the file and the field */
export function parseRunConfig<T>(schema: z.ZodType<T>, json: unknown, file: string): T {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw badConfig(file, issue.message, parsed.error, issue.path.join('.') || undefined);
}

/** A configuration that cannot be used, and why. */
export function badConfig(file: string, message: string, cause: unknown, field?: string): AdderError {
  const fix = 'correct the file; configs/ has examples';
  return new AdderError({ code: 'BAD_CONFIG', message, where: { file, field }, fix, cause });
}
