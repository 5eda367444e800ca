/**
 * The minimal gated recurrent unit (Feng et al. 2024, "Were RNNs All We Needed?"): gate and candidate depend on the
 * token alone, so that the recurrence is linear and runs as a parallel scan.
 *
 *   h ← (1 − z)·h + z·c,   z = σ(W_z·x + b),   c = W_c·x;   out = W_o·h
 *
 * That is a selective scan with one state a channel, A = −1 and zero-order hold: exp(−dt) = 1 − σ(a) for dt = softplus(a).
 */
import type { Graph } from '../graph.js';
import type { Tensor } from '../tensor.js';
import type { ScanOptions, SequenceLayer, StateSpec } from './layer.js';
import { dtBias, fanIn, type ParameterSpec, type Weights } from './parameters.js';

export interface MinGruConfig {
  dModel: number;
  dInner: number;
  /** Range of the initial update rates −log(1 − z), log-uniform over channels. */
  rates?: readonly [number, number];
  outScale?: number;
}

export function minGruParameters(c: MinGruConfig): ParameterSpec[] {
  return [
    fanIn('in_proj.weight', [2 * c.dInner, c.dModel]),
    dtBias('gate_bias', c.dInner, ...(c.rates ?? [0.05, 1])),
    fanIn('out_proj.weight', [c.dModel, c.dInner], c.outScale),
  ];
}

export class MinGru implements SequenceLayer {
  constructor(
    readonly config: MinGruConfig,
    private readonly weights: Weights,
  ) {}

  stateSpecs(batch: number): Record<string, StateSpec> {
    return { h: { shape: [batch, this.config.dInner, 1] } };
  }

  scan(g: Graph, x: Tensor, { state, lengths, residual }: ScanOptions = {}): Tensor {
    const { dInner } = this.config;
    const [batch, length] = x.shape;
    const filled = (shape: readonly number[], value: number) => {
      const t = g.alloc(shape);
      g.backend.kernels.fill(t, value);
      return t;
    };
    return g.scope(() => {
      const [gate, candidate] = g.split(g.linear(x, this.weights('in_proj.weight')), [dInner, dInner]);
      const h = g.selectiveScan({
        x: candidate,
        dt: gate,
        dtBias: this.weights('gate_bias'),
        aLog: filled([dInner, 1], 0),
        B: filled([batch, length, 1], 1),
        C: filled([batch, length, 1], 1),
        discretisation: 'zoh',
        state: state?.h,
        lengths,
      });
      return g.linear(h, this.weights('out_proj.weight'), { residual });
    });
  }
}
