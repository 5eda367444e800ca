/**
 * The forecaster's network: tokens of `features.ts` in, the head of the `quantileMixture` kernel out.
 *
 *   u = W₂·silu(W₁·f + b₁) + b₂ + W₃·f + embedding[frequency]
 *   u ← u + mixer(rmsNorm(u));  u ← u + swiglu(rmsNorm(u))        × layers
 *   raw = W₅·silu(W₄·rmsNorm(u) + b₄) + b₅
 *
 * Token t's output forecasts the patch after it from everything up to t, so any prefix of a sequence is a forecast and a
 * state of fixed size continues it.
 */
import type { Graph } from '../../engine/graph.js';
import { ResidualBlock, Stack } from '../../engine/layers/block.js';
import type { ScanOptions, SequenceLayer, StateSpec } from '../../engine/layers/layer.js';
import { Swiglu, swigluParameters } from '../../engine/layers/mlp.js';
import {
  bias,
  constant,
  fanIn,
  normal,
  type ParameterSpec,
  prefixed,
  type Weights,
  within,
} from '../../engine/layers/parameters.js';
import type { Tensor } from '../../engine/tensor.js';
import { normalQuantile } from '../quantiles.js';
import { derived, type ForecasterConfig } from './config.js';
import { FREQUENCY_CLASSES } from './frequency.js';
import { mixerFactory, OUT_SCALE } from './mixers.js';

/** Initial standard deviation of a quantile's offset, in units of U. */
const INITIAL_SPREAD = 0.7;
/** All parameters of the network with their initial values. */
export function forecasterParameters(config: ForecasterConfig): ParameterSpec[] {
  const { dModel, hidden, patch, levels, layers, ff } = config;
  const { inputs, outputs } = derived(config);
  const blocks = Array.from({ length: layers }, (_, i) => [
    constant(`layers.${i}.mixer_norm.weight`, [dModel], 1),
    ...prefixed(`layers.${i}.mixer`, mixerFactory(config.mixers[i]!, config).parameters),
    constant(`layers.${i}.mlp_norm.weight`, [dModel], 1),
    ...prefixed(`layers.${i}.mlp`, swigluParameters({ dModel, dHidden: ff, outScale: OUT_SCALE })),
  ]).flat();
  return [
    fanIn('input.hidden.weight', [hidden, inputs]),
    bias('input.hidden.bias', hidden, inputs),
    fanIn('input.out.weight', [dModel, hidden]),
    bias('input.out.bias', dModel, hidden),
    fanIn('input.skip.weight', [dModel, inputs]),
    normal('input.frequency.weight', [FREQUENCY_CLASSES.length, dModel], 0.02),
    ...blocks,
    constant('norm.weight', [dModel], 1),
    fanIn('head.hidden.weight', [hidden, dModel]),
    bias('head.hidden.bias', hidden, dModel),
    normal('head.out.weight', [outputs, hidden], 0.01),
    {
      name: 'head.out.bias',
      shape: [outputs],
      decay: false,
      // The first forecast: an even mixture of the candidates with normal quantiles around it.
      init: () =>
        Float32Array.from({ length: outputs }, (_, i) =>
          i < patch * levels.length ? INITIAL_SPREAD * normalQuantile(levels[i % levels.length]!) : 0,
        ),
    },
  ];
}

export interface NetworkInput {
  /** [batch, length, featureCount] */
  features: Tensor;
  /** [batch, length] i32 frequency class of each token's series. */
  frequency: Tensor;
}

/** The network over given weights; holds no memory of its own. */
export class ForecasterNetwork {
  private readonly encoder: SequenceLayer;

  constructor(
    readonly config: ForecasterConfig,
    private readonly weights: Weights,
  ) {
    const { dModel, ff, normEps, layers } = config;
    this.encoder = new Stack(
      Array.from({ length: layers }, (_, i) => {
        const w = within(weights, `layers.${i}`);
        const mixer = mixerFactory(config.mixers[i]!, config).make(within(w, 'mixer'));
        return [
          new ResidualBlock(mixer, w, normEps, 'mixer_norm.weight'),
          new ResidualBlock(new Swiglu({ dModel, dHidden: ff }, within(w, 'mlp')), w, normEps, 'mlp_norm.weight'),
        ];
      }).flat(),
    );
  }

  /** Names and shapes of the state of `batch` sequences. */
  stateSpecs(batch: number): Record<string, StateSpec> {
    return this.encoder.stateSpecs(batch);
  }

  /** Input tokens → the encoder's last hidden values [batch, length, dModel]. */
  encode(g: Graph, { features, frequency }: NetworkInput, options: ScanOptions = {}): Tensor {
    const w = this.weights;
    return g.scope(() => {
      const inner = g.linear(features, w('input.hidden.weight'), {
        bias: w('input.hidden.bias'),
        activation: 'silu',
      });
      const kind = g.embedding(frequency, w('input.frequency.weight'));
      const direct = g.linear(features, w('input.skip.weight'), { residual: kind });
      const u = g.linear(inner, w('input.out.weight'), { bias: w('input.out.bias'), residual: direct });
      return this.encoder.scan(g, u, options);
    });
  }

  /** Hidden values → the head's raw outputs [..., outputs], as `quantileMixture` reads them. */
  head(g: Graph, hidden: Tensor): Tensor {
    const w = this.weights;
    return g.scope(() => {
      const normed = g.rmsNorm(hidden, w('norm.weight'), this.config.normEps);
      const inner = g.linear(normed, w('head.hidden.weight'), { bias: w('head.hidden.bias'), activation: 'silu' });
      return g.linear(inner, w('head.out.weight'), { bias: w('head.out.bias') });
    });
  }
}
