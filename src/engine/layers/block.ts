/** Pre-norm residual blocks and stacks of them: x + layer(norm(x)), layer after layer. */
import type { Graph } from '../graph.js';
import type { Tensor } from '../tensor.js';
import { prefixedSpecs, type ScanOptions, type SequenceLayer, type StateSpec, stateWithin } from './layer.js';
import type { Weights } from './parameters.js';

/** x + layer(rmsNorm(x)); `norm` is the weight's name. */
export class ResidualBlock implements SequenceLayer {
  constructor(
    private readonly layer: SequenceLayer,
    private readonly weights: Weights,
    private readonly eps: number,
    private readonly norm = 'norm.weight',
  ) {}

  stateSpecs(batch: number): Record<string, StateSpec> {
    return this.layer.stateSpecs(batch);
  }

  scan(g: Graph, x: Tensor, { state, lengths }: ScanOptions = {}): Tensor {
    return g.recompute([x], () => {
      const normed = g.rmsNorm(x, this.weights(this.norm), this.eps);
      return this.layer.scan(g, normed, { state, lengths, residual: x });
    });
  }
}

/** Layers one after another; states are named by position. */
export class Stack implements SequenceLayer {
  constructor(private readonly layers: readonly SequenceLayer[]) {}

  stateSpecs(batch: number): Record<string, StateSpec> {
    return Object.assign({}, ...this.layers.map((layer, i) => prefixedSpecs(`${i}`, layer.stateSpecs(batch))));
  }

  scan(g: Graph, x: Tensor, { state, lengths }: ScanOptions = {}): Tensor {
    return g.scope(() => {
      let y = x;
      for (const [i, layer] of this.layers.entries()) {
        const next = layer.scan(g, y, { state: stateWithin(state, `${i}`), lengths });
        // Give back early what the tape does not need: a deep stack then lives in two activations.
        if (y !== x) g.release(y);
        y = next;
      }
      return y;
    });
  }
}
