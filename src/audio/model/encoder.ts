/**
 * The causal encoder that all listening models share:
 *
 *   u = W·x + b;   u ← u + mamba2(rmsNorm(u))  × layers;   hidden = rmsNorm(u)
 *
 * Mamba-2 (Dao & Gu 2024) rather than Mamba-1: a step of one stream costs a third, since decay is one number a head and
 * dt, B and C come out of the first projection.
 */
import { z } from 'zod';
import type { Graph } from '../../engine/graph.js';
import { ResidualBlock, Stack } from '../../engine/layers/block.js';
import type { ScanOptions, StateSpec } from '../../engine/layers/layer.js';
import { type Mamba2Config, Mamba2Mixer, mamba2Parameters } from '../../engine/layers/mamba2.js';
import {
  bias,
  constant,
  fanIn,
  type ParameterSpec,
  prefixed,
  type Weights,
  within,
} from '../../engine/layers/parameters.js';
import type { Tensor } from '../../engine/tensor.js';

const size = z.int().min(1).max(4096);

/** Fields of every encoder's configuration. */
export const encoderFields = {
  dModel: size,
  layers: z.int().min(1).max(64),
  /** Inner channels of the mixer for each model channel. */
  expand: z.int().min(1).max(8),
  headDim: size,
  dState: size,
  convWidth: z.int().min(2).max(16),
  normEps: z.number().positive().default(1e-6),
};

export type EncoderConfig = z.infer<z.ZodObject<typeof encoderFields>>;

/** Shrinks what each block adds to the residual stream at first. */
const OUT_SCALE = 0.3;

function mixerConfig({ dModel, expand, headDim, dState, convWidth, normEps }: EncoderConfig): Mamba2Config {
  const dInner = dModel * expand;
  return { dModel, dInner, nHeads: dInner / headDim, dState, nGroups: 1, convWidth, normEps, outScale: OUT_SCALE };
}

/** Parameters of an encoder of rows with `inputs` columns. */
export function encoderParameters(config: EncoderConfig, inputs: number): ParameterSpec[] {
  const { dModel, layers } = config;
  return [
    fanIn('input.weight', [dModel, inputs]),
    bias('input.bias', dModel, inputs),
    ...Array.from({ length: layers }, (_, i) => [
      constant(`layers.${i}.norm.weight`, [dModel], 1),
      ...prefixed(`layers.${i}.mixer`, mamba2Parameters(mixerConfig(config))),
    ]).flat(),
    constant('norm.weight', [dModel], 1),
  ];
}

/** The encoder over given weights; holds no memory of its own. */
export class Encoder {
  private readonly stack: Stack;

  constructor(
    private readonly config: EncoderConfig,
    private readonly weights: Weights,
  ) {
    this.stack = new Stack(
      Array.from({ length: config.layers }, (_, i) => {
        const w = within(weights, `layers.${i}`);
        return new ResidualBlock(new Mamba2Mixer(mixerConfig(config), within(w, 'mixer')), w, config.normEps);
      }),
    );
  }

  /** Names and shapes of the state of `batch` sequences. */
  stateSpecs(batch: number): Record<string, StateSpec> {
    return this.stack.stateSpecs(batch);
  }

  /** x [batch, length, inputs] → hidden [batch, length, dModel]. */
  encode(g: Graph, x: Tensor, options: ScanOptions = {}): Tensor {
    const w = this.weights;
    return g.scope(() => {
      const u = g.linear(x, w('input.weight'), { bias: w('input.bias') });
      return g.rmsNorm(this.stack.scan(g, u, options), w('norm.weight'), this.config.normEps);
    });
  }
}
