/**
 * Attention over the last `window` tokens as a read-out: its cache has a fixed size, so a step never costs more because the
 * history is longer. Positions enter as a learned bias per head and distance (as in T5, Raffel et al. 2020, without buckets).
 */
import type { Graph } from '../graph.js';
import type { Tensor } from '../tensor.js';
import type { ScanOptions, SequenceLayer, StateSpec } from './layer.js';
import { constant, fanIn, type ParameterSpec, type Weights } from './parameters.js';

export interface WindowAttentionConfig {
  dModel: number;
  nHeads: number;
  /** Heads of keys and values; divides nHeads. */
  kvHeads: number;
  headDim: number;
  window: number;
  outScale?: number;
}

export function windowAttentionParameters(c: WindowAttentionConfig): ParameterSpec[] {
  return [
    fanIn('qkv.weight', [(c.nHeads + 2 * c.kvHeads) * c.headDim, c.dModel]),
    constant('distance_bias', [c.nHeads, c.window], 0),
    fanIn('out_proj.weight', [c.dModel, c.nHeads * c.headDim], c.outScale),
  ];
}

export class WindowAttention implements SequenceLayer {
  constructor(
    readonly config: WindowAttentionConfig,
    private readonly weights: Weights,
  ) {}

  stateSpecs(batch: number): Record<string, StateSpec> {
    const { kvHeads, headDim, window } = this.config;
    const shape = [batch, window - 1, kvHeads * headDim];
    return { k: { shape }, v: { shape }, count: { shape: [batch], dtype: 'i32' } };
  }

  scan(g: Graph, x: Tensor, { state, lengths, residual }: ScanOptions = {}): Tensor {
    const { nHeads, kvHeads, headDim, window } = this.config;
    return g.scope(() => {
      const widths = [nHeads, kvHeads, kvHeads].map((heads) => heads * headDim);
      const [q, k, v] = g.split(g.linear(x, this.weights('qkv.weight')), widths);
      const cache = state && { k: state.k, v: state.v, count: state.count };
      const y = g.attention({ q, k, v, bias: this.weights('distance_bias'), nHeads, kvHeads, window, cache, lengths });
      return g.linear(y, this.weights('out_proj.weight'), { residual });
    });
  }
}
