/**
 * The operations layers are written in: shape-checked, allocating, differentiable where the graph trains, over any backend.
 *
 * One graph is one run or one recorded plan. Build layers inside `scope` so that intermediates are given back; in training
 * what the reverse pass needs is kept until it has been used. Sequence tensors are [batch, length, channels].
 *
 * The operations lie in graph/: core (memory and gradients), dense (rows), sequence; here are the losses and the head.
 */
import { SequenceOperations } from './graph/sequence.js';
import { sizeOf, type Tensor } from './tensor.js';

export type { GraphOptions } from './graph/core.js';

export class Graph extends SequenceOperations {
  // Losses: each returns its value [1] and, in training, starts the reverse pass at its prediction.

  private loss(prediction: Tensor, compute: (loss: Tensor, gradient: Tensor | undefined) => void): Tensor {
    const loss = this.alloc([1]);
    if (!this.tape.taping || !this.tape.wants(prediction)) {
      compute(loss, undefined);
      return loss;
    }
    const d = this.tape.exclusive(prediction);
    compute(loss, d.tensor);
    d.finish();
    return loss;
  }

  /** Σ weights·cross-entropy; logits [..., vocabulary], targets i32 and weights one per row. */
  crossEntropy(logits: Tensor, targets: Tensor, weights: Tensor): Tensor {
    return this.loss(logits, (loss, dLogits) => this.kernels.crossEntropy({ loss, dLogits, logits, targets, weights }));
  }

  /** Σ weights·mean squared error of a row. */
  mse(prediction: Tensor, target: Tensor, weights: Tensor): Tensor {
    return this.loss(prediction, (loss, dPrediction) =>
      this.kernels.mse({ loss, dPrediction, prediction, target, weights }),
    );
  }

  /** Σ weights·pinball loss of a row against one target; levels [Q]. */
  pinball(prediction: Tensor, target: Tensor, weights: Tensor, levels: Tensor): Tensor {
    return this.loss(prediction, (loss, dPrediction) =>
      this.kernels.pinball({ loss, dPrediction, prediction, target, weights, levels }),
    );
  }

  /** The forecaster's head as a loss; shapes as `QuantileMixtureArgs` in kernels.ts. */
  quantileMixtureLoss(args: {
    raw: Tensor;
    candidates: Tensor;
    levels: Tensor;
    patch: number;
    nCandidates: number;
    target: Tensor;
    weights: Tensor;
  }): Tensor {
    return this.loss(args.raw, (loss, dRaw) => this.kernels.quantileMixture({ ...args, loss, dRaw }));
  }

  /** The forecaster's head as quantiles [..., patch·Q]. */
  quantileMixture(args: {
    raw: Tensor;
    candidates: Tensor;
    levels: Tensor;
    patch: number;
    nCandidates: number;
  }): Tensor {
    const quantiles = this.alloc([...args.raw.shape.slice(0, -1), args.patch * sizeOf(args.levels.shape)]);
    this.kernels.quantileMixture({ ...args, quantiles });
    return quantiles;
  }
}
