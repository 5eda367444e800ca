/** Tensors of one part of a batch and the loss over them, for training and for validation alike. */
import type { Backend } from '../../engine/backend.js';
import type { Graph } from '../../engine/graph.js';
import type { Tensor } from '../../engine/tensor.js';
import { derived, type ForecasterConfig } from '../model/config.js';
import type { ForecasterNetwork } from '../model/network.js';
import { type PartBuffers, type PartOptions, tokensOf } from './batch.js';

export class PartInputs {
  readonly features: Tensor;
  readonly frequency: Tensor;
  readonly candidates: Tensor;
  readonly target: Tensor;
  readonly weights: Tensor;
  readonly lengths: Tensor;
  /** The weights on their way to the device: they are scaled. */
  private readonly scaled: Float32Array;

  constructor(
    private readonly backend: Backend,
    readonly part: PartOptions,
    private readonly config: ForecasterConfig,
  ) {
    const { windows, patch } = part;
    const tokens = tokensOf(part);
    const { inputs, candidates } = derived(config);
    this.features = backend.alloc([windows, tokens, inputs]);
    this.frequency = backend.alloc([windows, tokens], 'i32');
    this.candidates = backend.alloc([windows, tokens, patch * candidates]);
    this.target = backend.alloc([windows, tokens, patch]);
    this.weights = backend.alloc([windows, tokens, patch]);
    this.lengths = backend.alloc([windows], 'i32');
    this.scaled = new Float32Array(windows * tokens * patch);
  }

  /**
   * Sends a batch to the device; `scale` is what the mean loss over all targets is multiplied by.
   * Returns the number of tokens that are not padding.
   */
  write(buffers: PartBuffers, scale: number): number {
    const count = buffers.counts.reduce((sum, n) => sum + n, 0);
    const each = count > 0 ? scale / count : 0;
    const { scaled } = this;
    for (let i = 0; i < scaled.length; i++) scaled[i] = each * buffers.weights[i]!;
    this.backend.write(this.weights, scaled);
    for (const key of ['features', 'candidates', 'target', 'frequency', 'lengths'] as const) {
      this.backend.write(this[key], buffers[key]);
    }
    return buffers.lengths.reduce((sum, n) => sum + n, 0);
  }

  /** [1] the scaled loss; in a training graph the start of the reverse pass. */
  loss(g: Graph, network: ForecasterNetwork, levels: Tensor): Tensor {
    return g.scope(() => {
      const raw = network.head(g, network.encode(g, this, { lengths: this.lengths }));
      const { candidates, target, weights } = this;
      const { patch } = this.config;
      const nCandidates = derived(this.config).candidates;
      return g.quantileMixtureLoss({ raw, candidates, levels, patch, nCandidates, target, weights });
    });
  }

  free(): void {
    for (const t of [this.features, this.frequency, this.candidates, this.target, this.weights, this.lengths]) {
      this.backend.free(t);
    }
  }
}
