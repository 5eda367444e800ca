/** Feed-forward layers without memory. */
import type { Graph } from '../graph.js';
import type { Tensor } from '../tensor.js';
import type { ScanOptions, SequenceLayer, StateSpec } from './layer.js';
import { fanIn, type ParameterSpec, type Weights } from './parameters.js';

export interface SwigluConfig {
  dModel: number;
  dHidden: number;
  outScale?: number;
}

export function swigluParameters(c: SwigluConfig): ParameterSpec[] {
  return [fanIn('gate_up.weight', [2 * c.dHidden, c.dModel]), fanIn('down.weight', [c.dModel, c.dHidden], c.outScale)];
}

/** down · (silu(gate·x) ⊙ up·x) (Shazeer 2020). */
export class Swiglu implements SequenceLayer {
  constructor(
    readonly config: SwigluConfig,
    private readonly weights: Weights,
  ) {}

  stateSpecs(): Record<string, StateSpec> {
    return {};
  }

  scan(g: Graph, x: Tensor, { residual }: ScanOptions = {}): Tensor {
    return g.scope(() =>
      g.linear(g.swiglu(g.linear(x, this.weights('gate_up.weight'))), this.weights('down.weight'), { residual }),
    );
  }
}
