/** The turn network: rows of history.ts in, logits as config.ts has them out. */
import type { Graph } from '../../engine/graph.js';
import type { ScanOptions, StateSpec } from '../../engine/layers/layer.js';
import {
  constant,
  normal,
  type ParameterSpec,
  prefixed,
  type Weights,
  within,
} from '../../engine/layers/parameters.js';
import type { Tensor } from '../../engine/tensor.js';
import { Encoder, encoderParameters } from '../model/encoder.js';
import { TURN_LOGITS, type TurnConfig } from './config.js';
import { TURN_INPUTS } from './history.js';

export function turnParameters(config: TurnConfig): ParameterSpec[] {
  return [
    ...prefixed('encoder', encoderParameters(config, TURN_INPUTS)),
    normal('head.weight', [TURN_LOGITS, config.dModel], 0.02),
    constant('head.bias', [TURN_LOGITS], 0),
  ];
}

export class TurnNetwork {
  private readonly encoder: Encoder;

  constructor(
    config: TurnConfig,
    private readonly weights: Weights,
  ) {
    this.encoder = new Encoder(config, within(weights, 'encoder'));
  }

  stateSpecs(batch: number): Record<string, StateSpec> {
    return this.encoder.stateSpecs(batch);
  }

  /** rows [batch, length, 14] → logits [batch, length, TURN_LOGITS]. */
  logits(g: Graph, rows: Tensor, options: ScanOptions = {}): Tensor {
    return g.scope(() => {
      const hidden = this.encoder.encode(g, rows, options);
      return g.linear(hidden, this.weights('head.weight'), { bias: this.weights('head.bias') });
    });
  }
}
