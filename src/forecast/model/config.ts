/** The forecaster's shape: what `models/NAME/config.json` says and the weights depend on. */
import { z } from 'zod';
import { STANDARD_LEVELS } from '../forecaster.js';
import { candidateCount, featureCount } from './features.js';

const size = z.int().min(1).max(65_536);

const MIXERS = ['mamba2', 'mamba1', 'gru', 'attention'] as const;

/** What mixes the tokens in a layer, see mixers.ts. */
export type MixerKind = (typeof MIXERS)[number];

export const forecasterConfigSchema = z
  .strictObject({
    /** Raised when the features or the network change so that older weights no longer mean the same. */
    version: z.literal(2),
    architecture: z.literal('mamba2-patch-encoder'),
    /** Values in one token. */
    patch: z.int().min(2).max(128),
    /** Seasonal lags that a token shows of its target: 0, 2 (one and two seasons back) or 3 (a week of seasons too). */
    lags: z.literal([0, 2, 3]).default(3),
    dModel: size,
    layers: z.int().min(1).max(64),
    /** What mixes the tokens in each layer; all Mamba-2 when absent. */
    mixers: z.array(z.enum(MIXERS)).optional(),
    /** Tokens that attention sees, the token itself included. */
    window: z.int().min(1).max(4096).default(128),
    /** Inner channels of the mixer for each model channel. */
    expand: z.int().min(1).max(8),
    headDim: size,
    dState: size,
    convWidth: z.int().min(2).max(16),
    /** Hidden channels of the SwiGLU in every layer. */
    ff: size,
    /** Hidden channels of the input and output networks. */
    hidden: size,
    /** Quantile levels of the output. */
    levels: z
      .array(z.number().gt(0).lt(1))
      .min(2)
      .refine((levels) => levels.every((v, i) => i === 0 || v > levels[i - 1]!), 'must increase')
      .default([...STANDARD_LEVELS]),
    normEps: z.number().positive().default(1e-6),
  })
  .refine((c) => (c.dModel * c.expand) % c.headDim === 0, {
    path: ['headDim'],
    message: 'must divide dModel · expand',
  })
  .refine((c) => c.mixers === undefined || c.mixers.length === c.layers, {
    path: ['mixers'],
    message: 'must name one mixer a layer',
  })
  .transform((c) => ({
    ...c,
    mixers: c.mixers ?? new Array<MixerKind>(c.layers).fill('mamba2'),
  }));

export type ForecasterConfig = z.infer<typeof forecasterConfigSchema>;

/** Sizes that follow from a configuration. */
export function derived(config: ForecasterConfig) {
  const { patch, dModel, expand, headDim, levels } = config;
  const dInner = dModel * expand;
  const candidates = candidateCount(config);
  return {
    dInner,
    nHeads: dInner / headDim,
    inputs: featureCount(config),
    candidates,
    /** Quantile offsets, mixture logits and one scale a token. */
    outputs: patch * levels.length + patch * candidates + 1,
  };
}
