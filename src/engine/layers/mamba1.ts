/**
 * The Mamba-1 mixer (Gu & Dao 2023, figure 3): projection → x | z, convolution, input-dependent dt, B, C, selective scan, projection.
 *
 * With `timeInvariant` dt, B and C are parameters instead: S4D (Gu et al. 2022). Such a scan equals a convolution with the
 * kernel K[c, l] = Σ_n C[n]·w(dt, A)·exp(l·dt·A)·B[n], which `convolutionKernel` gives and `asConvolution` runs.
 */
import type { Graph } from '../graph.js';
import type { Discretisation } from '../kernels.js';
import type { Tensor } from '../tensor.js';
import type { ScanOptions, SequenceLayer, StateSpec } from './layer.js';
import { bias, constant, dtBias, fanIn, normal, type ParameterSpec, s4dReal, type Weights } from './parameters.js';

export interface Mamba1Config {
  dModel: number;
  dInner: number;
  dState: number;
  /** Rank of the projection that gives dt. */
  dtRank: number;
  convWidth: number;
  convBias?: boolean;
  projectionBias?: boolean;
  discretisation?: Discretisation;
  timeInvariant?: boolean;
  outScale?: number;
}

export function mamba1Parameters(c: Mamba1Config): ParameterSpec[] {
  const selection = c.timeInvariant
    ? [dtBias('dt_bias', c.dInner), normal('B', [c.dState, 1], 1), normal('C', [c.dState, 1], 1)]
    : [
        fanIn('x_proj.weight', [c.dtRank + 2 * c.dState, c.dInner]),
        fanIn('dt_proj.weight', [c.dInner, c.dtRank]),
        dtBias('dt_proj.bias', c.dInner),
      ];
  return [
    fanIn('in_proj.weight', [2 * c.dInner, c.dModel]),
    ...(c.projectionBias
      ? [bias('in_proj.bias', 2 * c.dInner, c.dModel), bias('out_proj.bias', c.dModel, c.dInner)]
      : []),
    { ...fanIn('conv1d.weight', [c.dInner, c.convWidth]), decay: false },
    ...(c.convBias === false ? [] : [bias('conv1d.bias', c.dInner, c.convWidth)]),
    ...selection,
    s4dReal('A_log', c.dInner, c.dState),
    constant('D', [c.dInner], 1),
    fanIn('out_proj.weight', [c.dModel, c.dInner], c.outScale),
  ];
}

/** dt, B and C of every token, and the bias the scan adds to dt. */
interface Selection {
  dt: Tensor;
  B: Tensor;
  C: Tensor;
  dtBias: Tensor;
}

export class Mamba1Mixer implements SequenceLayer {
  constructor(
    readonly config: Mamba1Config,
    private readonly weights: Weights,
  ) {}

  stateSpecs(batch: number): Record<string, StateSpec> {
    const { dInner, dState, convWidth } = this.config;
    return { conv: { shape: [batch, convWidth - 1, dInner] }, ssm: { shape: [batch, dInner, dState] } };
  }

  scan(g: Graph, u: Tensor, { state, lengths, residual }: ScanOptions = {}): Tensor {
    const w = this.weights;
    return g.scope(() => {
      const { x, z } = this.front(g, u, { state, lengths });
      const selection = this.config.timeInvariant ? this.constantSelection(g, x) : this.select(g, x);
      const y = g.selectiveScan({
        x,
        z,
        ...selection,
        aLog: w('A_log'),
        skip: w('D'),
        discretisation: this.config.discretisation,
        state: state?.ssm,
        lengths,
      });
      return this.back(g, y, residual);
    });
  }

  /**
   * The time-invariant scan as one long convolution. `kernel` [dInner, length] is `convolutionKernel` for at least the
   * sequence's length, on the graph's backend. Starts from an empty state and keeps none.
   */
  asConvolution(g: Graph, u: Tensor, kernel: Tensor, { lengths, residual }: Omit<ScanOptions, 'state'> = {}): Tensor {
    return g.scope(() => {
      const { x, z } = this.front(g, u, { lengths });
      const y = g.binary(g.conv(x, kernel, { lengths }), g.unary(z, 'silu'), 'mul');
      return this.back(g, y, residual);
    });
  }

  private front(g: Graph, u: Tensor, { state, lengths }: ScanOptions): { x: Tensor; z: Tensor } {
    const { dInner, convBias, projectionBias } = this.config;
    const w = this.weights;
    const projected = g.linear(u, w('in_proj.weight'), { bias: projectionBias ? w('in_proj.bias') : undefined });
    const [raw, z] = g.split(projected, [dInner, dInner]);
    const x = g.conv(raw, w('conv1d.weight'), {
      bias: convBias === false ? undefined : w('conv1d.bias'),
      activation: 'silu',
      state: state?.conv,
      lengths,
    });
    return { x, z };
  }

  private back(g: Graph, y: Tensor, residual: Tensor | undefined): Tensor {
    const w = this.weights;
    return g.linear(y, w('out_proj.weight'), {
      bias: this.config.projectionBias ? w('out_proj.bias') : undefined,
      residual,
    });
  }

  private select(g: Graph, x: Tensor): Selection {
    const { dtRank, dState } = this.config;
    const w = this.weights;
    const [low, B, C] = g.split(g.linear(x, w('x_proj.weight')), [dtRank, dState, dState]);
    return { dt: g.linear(low, w('dt_proj.weight')), B, C, dtBias: w('dt_proj.bias') };
  }

  private constantSelection(g: Graph, x: Tensor): Selection {
    const [batch, length, dInner] = x.shape;
    // A product with a column of ones repeats a row in a way that gradients pass through.
    const ones = g.alloc([batch, length, 1]);
    g.backend.kernels.fill(ones, 1);
    const zero = g.alloc([dInner]);
    g.backend.kernels.fill(zero, 0);
    return {
      dt: g.repeat(zero, x.shape),
      B: g.linear(ones, this.weights('B')),
      C: g.linear(ones, this.weights('C')),
      dtBias: this.weights('dt_bias'),
    };
  }
}

/** Weights of a time-invariant mixer as plain numbers. */
export interface TimeInvariantWeights {
  A_log: ArrayLike<number>;
  B: ArrayLike<number>;
  C: ArrayLike<number>;
  D: ArrayLike<number>;
  dt_bias: ArrayLike<number>;
}

/** Convolution kernel [dInner, length] of a time-invariant mixer, oldest tap first, the skip connection included. */
export function convolutionKernel(c: Mamba1Config, w: TimeInvariantWeights, length: number): Float64Array {
  const kernel = new Float64Array(c.dInner * length);
  for (let channel = 0; channel < c.dInner; channel++) {
    const dt = Math.log1p(Math.exp(w.dt_bias[channel]));
    for (let n = 0; n < c.dState; n++) {
      const A = -Math.exp(w.A_log[channel * c.dState + n]);
      const input = c.discretisation === 'zoh' ? Math.expm1(dt * A) / A : dt;
      for (let l = 0; l < length; l++) {
        kernel[channel * length + length - 1 - l] += w.C[n] * input * Math.exp(l * dt * A) * w.B[n];
      }
    }
    kernel[channel * length + length - 1] += w.D[channel];
  }
  return kernel;
}
