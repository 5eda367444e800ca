/**
 * A causal language model of Mamba layers, as published checkpoints have it:
 * embedding → n × (x + mixer(rmsNorm(x))) → rmsNorm → head. In Adder it is the yardstick that says whether the engine
 * computes what the field means by Mamba-1 and Mamba-2.
 */
import type { Graph } from '../graph.js';
import { ResidualBlock } from '../layers/block.js';
import { prefixedSpecs, type SequenceLayer, type State, type StateSpec, stateWithin } from '../layers/layer.js';
import { Mamba1Mixer, mamba1Parameters } from '../layers/mamba1.js';
import { Mamba2Mixer, mamba2Parameters } from '../layers/mamba2.js';
import { constant, normal, type ParameterSpec, prefixed, type Weights, within } from '../layers/parameters.js';
import type { Tensor } from '../tensor.js';
import type { LanguageModelConfig } from './language-model-config.js';

const EMBEDDING = 'backbone.embeddings.weight';
const FINAL_NORM = 'backbone.norm_f.weight';
const HEAD = 'lm_head.weight';
const layerName = (i: number) => `backbone.layers.${i}`;

/** Every parameter by its name in Hugging Face checkpoints; a tied head is the embedding and has none of its own. */
export function languageModelParameters(c: LanguageModelConfig): ParameterSpec[] {
  const outScale = 1 / Math.sqrt(c.nLayers);
  const mixer =
    c.mixer.kind === 'mamba1' ? mamba1Parameters({ outScale, ...c.mixer }) : mamba2Parameters({ outScale, ...c.mixer });
  const layer = [constant('norm.weight', [c.dModel], 1), ...prefixed('mixer', mixer)];
  return [
    normal(EMBEDDING, [c.vocabulary, c.dModel], 0.02),
    ...Array.from({ length: c.nLayers }, (_, i) => prefixed(layerName(i), layer)).flat(),
    constant(FINAL_NORM, [c.dModel], 1),
    ...(c.tied === false ? [normal(HEAD, [c.vocabulary, c.dModel], 0.02)] : []),
  ];
}

export interface LanguageScanOptions {
  /** Read as the state before the first token, overwritten with the state after the last. */
  state?: State;
  /** [batch] i32: real tokens of each sequence. */
  lengths?: Tensor;
  /** Receives the embedding, the stream after every layer, and the final norm's output; made in the caller's scope. */
  hidden?: Tensor[];
}

export class LanguageModel {
  private readonly layers: readonly SequenceLayer[];

  constructor(
    readonly config: LanguageModelConfig,
    private readonly weights: Weights,
  ) {
    const { mixer, eps } = config;
    this.layers = Array.from({ length: config.nLayers }, (_, i) => {
      const own = within(weights, layerName(i));
      const inner = within(own, 'mixer');
      const layer = mixer.kind === 'mamba1' ? new Mamba1Mixer(mixer, inner) : new Mamba2Mixer(mixer, inner);
      return new ResidualBlock(layer, own, eps);
    });
  }

  stateSpecs(batch: number): Record<string, StateSpec> {
    return Object.assign({}, ...this.layers.map((layer, i) => prefixedSpecs(`${i}`, layer.stateSpecs(batch))));
  }

  /** ids [batch, length] i32 → logits [batch, length, vocabulary]. */
  scan(g: Graph, ids: Tensor, options: LanguageScanOptions = {}): Tensor {
    return options.hidden ? this.run(g, ids, options) : g.scope(() => this.run(g, ids, options));
  }

  /** One token of each sequence: ids [batch] i32 → logits [batch, vocabulary]; the state moves on by one. */
  step(g: Graph, ids: Tensor, state: State): Tensor {
    const [batch] = ids.shape;
    return g.scope(() => {
      const logits = this.run(g, { ...ids, shape: [batch, 1], stride: 1 }, { state });
      return g.reshape(logits, [batch, this.config.vocabulary]);
    });
  }

  private run(g: Graph, ids: Tensor, { state, lengths, hidden }: LanguageScanOptions): Tensor {
    let stream = g.embedding(ids, this.weights(EMBEDDING));
    hidden?.push(stream);
    for (const [i, layer] of this.layers.entries()) {
      const next = layer.scan(g, stream, { state: stateWithin(state, `${i}`), lengths });
      // Given back early, so that a deep model lives in two activations.
      if (hidden) hidden.push(next);
      else g.release(stream);
      stream = next;
    }
    const normed = g.rmsNorm(stream, this.weights(FINAL_NORM), this.config.eps);
    hidden?.push(normed);
    return g.linear(normed, this.weights(this.config.tied === false ? HEAD : EMBEDDING));
  }
}

/** Targets [batch·length] and weights for the mean next-token cross-entropy of `ids` (row-major): the last token predicts nothing. */
export function nextTokenTargets(
  ids: ArrayLike<number>,
  batch: number,
  length: number,
): { targets: Int32Array; weights: Float64Array } {
  const targets = new Int32Array(batch * length);
  const weights = new Float64Array(batch * length);
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t + 1 < length; t++) {
      targets[b * length + t] = ids[b * length + t + 1];
      weights[b * length + t] = 1 / (batch * (length - 1));
    }
  }
  return { targets, weights };
}
