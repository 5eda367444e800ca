/** The Mamba-2 mixer (Dao & Gu 2024, figure 6 right): projection → z | x B C | dt, convolution, SSD, gated norm, projection. */
import type { Graph } from '../graph.js';
import type { Discretisation } from '../kernels.js';
import type { Tensor } from '../tensor.js';
import type { ScanOptions, SequenceLayer, StateSpec } from './layer.js';
import { bias, constant, dtBias, fanIn, headDecay, type ParameterSpec, type Weights } from './parameters.js';

export interface Mamba2Config {
  dModel: number;
  /** nHeads · headDim. */
  dInner: number;
  nHeads: number;
  dState: number;
  nGroups: number;
  convWidth: number;
  convBias?: boolean;
  /** Biases of both projections. */
  projectionBias?: boolean;
  dtLimit?: readonly [number, number];
  discretisation?: Discretisation;
  normEps: number;
  /** Columns normalised together; dInner / nGroups in the original, dInner in transformers. Default dInner / nGroups. */
  normGroupSize?: number;
  /** Scale of out_proj's initial weights; 1/√layers keeps the residual stream's size. */
  outScale?: number;
  /** Range of the initial step sizes. */
  dtRange?: readonly [number, number];
}

export function mamba2Parameters(c: Mamba2Config): ParameterSpec[] {
  const convChannels = c.dInner + 2 * c.nGroups * c.dState;
  const projected = c.dInner + convChannels + c.nHeads;
  return [
    fanIn('in_proj.weight', [projected, c.dModel]),
    ...(c.projectionBias ? [bias('in_proj.bias', projected, c.dModel), bias('out_proj.bias', c.dModel, c.dInner)] : []),
    { ...fanIn('conv1d.weight', [convChannels, c.convWidth]), decay: false },
    ...(c.convBias === false ? [] : [bias('conv1d.bias', convChannels, c.convWidth)]),
    dtBias('dt_bias', c.nHeads, ...(c.dtRange ?? [])),
    headDecay('A_log', c.nHeads),
    constant('D', [c.nHeads], 1),
    constant('norm.weight', [c.dInner], 1),
    fanIn('out_proj.weight', [c.dModel, c.dInner], c.outScale),
  ];
}

export class Mamba2Mixer implements SequenceLayer {
  constructor(
    readonly config: Mamba2Config,
    private readonly weights: Weights,
  ) {}

  stateSpecs(batch: number): Record<string, StateSpec> {
    const { dInner, nHeads, dState, nGroups, convWidth } = this.config;
    return {
      conv: { shape: [batch, convWidth - 1, dInner + 2 * nGroups * dState] },
      ssm: { shape: [batch, nHeads, dInner / nHeads, dState] },
    };
  }

  scan(g: Graph, u: Tensor, { state, lengths, residual }: ScanOptions = {}): Tensor {
    const { dInner, nHeads, dState, nGroups, normEps, dtLimit, discretisation, convBias, projectionBias } = this.config;
    const w = this.weights;
    return g.scope(() => {
      const projected = g.linear(u, w('in_proj.weight'), { bias: projectionBias ? w('in_proj.bias') : undefined });
      const [z, xBC, dt] = g.split(projected, [dInner, dInner + 2 * nGroups * dState, nHeads]);
      const mixed = g.conv(xBC, w('conv1d.weight'), {
        bias: convBias === false ? undefined : w('conv1d.bias'),
        activation: 'silu',
        state: state?.conv,
        lengths,
      });
      const [x, B, C] = g.split(mixed, [dInner, nGroups * dState, nGroups * dState]);
      const y = g.ssd({
        x,
        dt,
        B,
        C,
        aLog: w('A_log'),
        skip: w('D'),
        dtBias: w('dt_bias'),
        nGroups,
        dtLimit,
        discretisation,
        state: state?.ssm,
        lengths,
      });
      const normed = g.gatedRmsNorm(y, z, w('norm.weight'), normEps, this.config.normGroupSize ?? dInner / nGroups);
      return g.linear(normed, w('out_proj.weight'), {
        bias: projectionBias ? w('out_proj.bias') : undefined,
        residual,
      });
    });
  }
}
