/** What every operation of a graph stands on: memory, gradients, views and the check of shapes. */
import type { Backend } from '../backend.js';
import { EngineError } from '../errors.js';
import type { Precision } from '../kernels.js';
import { Tape } from '../tape.js';
import { columnsOf, sizeOf, type Tensor } from '../tensor.js';

export interface GraphOptions {
  /** Record operations for `backward`. */
  train?: boolean;
  /** Of matrix products and the SSD; everything else is f32. */
  precision?: Precision;
  /** Recompute what `graph.recompute` wraps instead of keeping it (training only). Default true. */
  recompute?: boolean;
}

/** @throws EngineError `SHAPE` unless `ok`; `where` names the operation. */
export function check(ok: boolean, where: string, message: string): void {
  if (!ok)
    throw new EngineError({
      code: 'SHAPE',
      where: { field: where },
      message,
      fix: 'give tensors of the documented shapes',
    });
}

export abstract class GraphCore {
  readonly precision: Precision;
  protected readonly tape: Tape;
  private readonly recomputes: boolean;

  constructor(
    readonly backend: Backend,
    readonly options: GraphOptions = {},
  ) {
    if (options.train && !backend.trains) {
      throw new EngineError({
        code: 'NO_TRAINING',
        where: { field: backend.name },
        message: 'this backend runs inference only',
        fix: 'train on webgpu or reference',
      });
    }
    this.tape = new Tape(backend, options.train ?? false);
    this.precision = options.precision ?? 'f32';
    this.recomputes = options.recompute ?? true;
  }

  protected get kernels() {
    return this.backend.kernels;
  }

  // Memory and gradients

  alloc(shape: readonly number[], dtype?: Tensor['dtype']): Tensor {
    return this.tape.alloc(shape, dtype);
  }

  /** Give back a tensor this graph made. */
  release(t: Tensor): void {
    this.tape.drop(t);
  }

  /** Run `body`; intermediates made in it are given back, the returned tensors are not. */
  scope<T extends Tensor | readonly Tensor[] | undefined>(body: () => T): T {
    return this.tape.scope(body);
  }

  /** In training, keep only `inputs` and the result of `body` and compute its inside again on the reverse pass. */
  recompute(inputs: readonly Tensor[], body: () => Tensor): Tensor {
    return this.recomputes ? this.tape.recompute(inputs, body) : this.scope(body);
  }

  /** Gradients with respect to `t` are written to `gradient` (same shape) by `backward`. */
  trainable(t: Tensor, gradient: Tensor): void {
    check(sizeOf(t.shape) === sizeOf(gradient.shape), 'trainable', `gradient [${gradient.shape}] for [${t.shape}]`);
    this.tape.trainable(t, gradient);
  }

  /** Add `value` (same shape) to the gradient of `t`: the start of a reverse pass from anything but a loss. */
  seed(t: Tensor, value: Tensor): void {
    this.accumulate(t, value);
  }

  /** Reverse pass from the losses and seeds given so far. */
  backward(): void {
    this.tape.backward();
  }

  /** Adjacent ranges of the last dimension, as views; `widths` must add up to it. */
  split(t: Tensor, widths: readonly number[]): Tensor[] {
    const total = widths.reduce((s, w) => s + w, 0);
    check(total === columnsOf(t), 'split', `widths ${widths} of ${columnsOf(t)} columns`);
    return this.tape.split(t, widths);
  }

  /** The same elements under other leading dimensions, as a view. */
  reshape(t: Tensor, shape: readonly number[]): Tensor {
    check(shape.at(-1) === columnsOf(t) && sizeOf(shape) === sizeOf(t.shape), 'reshape', `[${t.shape}] as [${shape}]`);
    return this.tape.reshape(t, shape);
  }

  /** One row [C] read as every row of `shape` [..., C], without memory of its own. No gradient passes through it. */
  repeat(t: Tensor, shape: readonly number[]): Tensor {
    check(!this.tape.wants(t), 'repeat', 'no gradient passes through a repeated row');
    return this.tape.repeat(t, shape);
  }

  /** Add `value` to the gradient of `t`. */
  protected accumulate(t: Tensor, value: Tensor): void {
    const d = this.tape.exclusive(t);
    this.kernels.copy(d.tensor, value);
    d.finish();
  }
}
