/** What may mix the tokens in a layer of the encoder: Mamba-2 by default, others to be compared with it. */
import { WindowAttention, windowAttentionParameters } from '../../engine/layers/attention.js';
import type { SequenceLayer } from '../../engine/layers/layer.js';
import { Mamba1Mixer, mamba1Parameters } from '../../engine/layers/mamba1.js';
import { Mamba2Mixer, mamba2Parameters } from '../../engine/layers/mamba2.js';
import { MinGru, minGruParameters } from '../../engine/layers/min-gru.js';
import type { ParameterSpec, Weights } from '../../engine/layers/parameters.js';
import { derived, type ForecasterConfig, type MixerKind } from './config.js';

/** Shrinks what each block adds to the residual stream at first. */
export const OUT_SCALE = 0.2;
/** Step sizes and update rates at first: tokens are patches, and a series has tens of them, not thousands. */
const RATES = [0.01, 0.5] as const;

export interface MixerFactory {
  parameters: ParameterSpec[];
  make(weights: Weights): SequenceLayer;
}

export function mixerFactory(kind: MixerKind, config: ForecasterConfig): MixerFactory {
  const { dInner, nHeads } = derived(config);
  const { dModel, headDim, dState, convWidth, normEps, window } = config;
  switch (kind) {
    case 'mamba2': {
      const c = { dModel, dInner, nHeads, dState, nGroups: 1, convWidth, normEps, outScale: OUT_SCALE };
      return { parameters: mamba2Parameters(c).map(timescales), make: (weights) => new Mamba2Mixer(c, weights) };
    }
    case 'mamba1': {
      const c = { dModel, dInner, dState, dtRank: Math.ceil(dModel / 16), convWidth, outScale: OUT_SCALE };
      return { parameters: mamba1Parameters(c).map(timescales), make: (weights) => new Mamba1Mixer(c, weights) };
    }
    case 'gru': {
      const c = { dModel, dInner, rates: RATES, outScale: OUT_SCALE };
      return { parameters: minGruParameters(c), make: (weights) => new MinGru(c, weights) };
    }
    case 'attention': {
      const heads = dInner / headDim;
      const c = { dModel, nHeads: heads, kvHeads: heads, headDim, window, outScale: OUT_SCALE };
      return { parameters: windowAttentionParameters(c), make: (weights) => new WindowAttention(c, weights) };
    }
  }
}

/**
 * Time scales in tokens instead of in the samples that the layers' defaults are made for: step sizes log-spaced from
 * .01 to .5 and, for Mamba-2, decay rates evenly from 8 down to .5, so that heads remember from four tokens to all.
 */
function timescales(spec: ParameterSpec): ParameterSpec {
  const spaced = (value: (share: number) => number) => () =>
    Float32Array.from({ length: spec.shape[0]! }, (_, i) => value(spec.shape[0]! > 1 ? i / (spec.shape[0]! - 1) : 0.5));
  if (spec.name === 'dt_bias' || spec.name === 'dt_proj.bias') {
    const [low, high] = RATES;
    return { ...spec, init: spaced((share) => Math.log(Math.expm1(low * (high / low) ** share))) };
  }
  if (spec.name === 'A_log' && spec.shape.length === 1) {
    return { ...spec, init: spaced((share) => Math.log(8 - 7.5 * share)) };
  }
  return spec;
}
