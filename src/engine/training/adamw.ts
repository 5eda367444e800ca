/**
 * AdamW with gradient clipping, loss scaling and weight averaging, as a part of a recorded step.
 *
 * `record` is called while the step's plan is being recorded, after the reverse pass; `prepare` writes the numbers that
 * change from step to step before each run. A step whose gradients are not finite (an f16 overflow) changes nothing;
 * the caller sees it in `sumSquares`.
 */
import type { Backend, NumericArray } from '../backend.js';
import { EngineError } from '../errors.js';
import { reshape, rows, type Tensor } from '../tensor.js';
import { Arena, type TrainableParameters } from './arena.js';

export interface AdamWOptions {
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
  /** Largest norm of the gradient; 0: no clipping. */
  clipNorm: number;
  /** What the loss was multiplied by to keep f16 gradients in range. */
  lossScale: number;
}

/** All that the next step depends on, besides the data: arrays in arena layout. */
export const ARENAS = ['parameters', 'm', 'v', 'average'] as const;
export type ArenaName = (typeof ARENAS)[number];

export class AdamW {
  readonly m: Arena;
  readonly v: Arena;
  readonly average: Arena;
  private readonly hyper: Tensor;
  private readonly gradScale: Tensor;
  private readonly averageRate: Tensor;

  constructor(
    private readonly backend: Backend,
    private readonly model: TrainableParameters,
    private readonly options: AdamWOptions,
  ) {
    const { layout } = model;
    this.m = new Arena(backend, layout);
    this.v = new Arena(backend, layout);
    this.average = new Arena(backend, layout);
    this.m.zero();
    this.v.zero();
    this.hyper = backend.alloc([8]);
    this.gradScale = backend.alloc([1]);
    this.averageRate = backend.alloc([1]);
    backend.write(this.gradScale, [options.lossScale]);
  }

  /** New parameters and no past. */
  start(parameters: Float32Array): void {
    this.model.parameters.write(parameters);
    this.average.write(parameters);
    this.m.zero();
    this.v.zero();
  }

  /** Enqueue (or record) the update. `sumSquares` [1] receives the squared norm of the raw, still scaled gradients. */
  record(sumSquares: Tensor): void {
    const { model, m, v, average, hyper, gradScale, averageRate } = this;
    const gradients = model.gradients.tensor;
    this.backend.kernels.sumSquares(sumSquares, gradients);
    this.backend.kernels.adamW({
      parameters: model.parameters.tensor,
      gradients,
      m: m.tensor,
      v: v.tensor,
      decayEnd: model.layout.decayEnd,
      hyper,
      gradScale,
      sumSquares,
      average: average.tensor,
      averageRate,
    });
  }

  /**
   * Set the numbers of the next run.
   * @param step 0 for the first
   */
  prepare(step: number, learningRate: number, averageRate: number): void {
    const { beta1, beta2, epsilon, weightDecay, clipNorm } = this.options;
    const t = step + 1;
    this.backend.write(this.hyper, [
      learningRate,
      beta1,
      beta2,
      epsilon,
      weightDecay,
      1 - beta1 ** t,
      1 - beta2 ** t,
      clipNorm,
    ]);
    this.backend.write(this.averageRate, [averageRate]);
  }

  private arena(name: ArenaName): Arena {
    return name === 'parameters' ? this.model.parameters : this[name];
  }

  /** Everything the next step depends on, exactly. */
  async snapshot(): Promise<Record<ArenaName, NumericArray>> {
    const out: Partial<Record<ArenaName, NumericArray>> = {};
    for (const name of ARENAS) out[name] = await this.arena(name).read();
    return out as Record<ArenaName, NumericArray>;
  }

  restore(snapshot: Record<ArenaName, ArrayLike<number>>): void {
    for (const name of ARENAS) {
      const values = snapshot[name];
      if (values.length !== this.model.layout.size) {
        throw new EngineError({
          code: 'CHECKPOINT_SIZE',
          message: `${name} has ${values.length} numbers, the model ${this.model.layout.size}`,
          where: { field: name },
          fix: 'resume with the configuration of the run',
        });
      }
      this.arena(name).write(values);
    }
  }

  free(): void {
    for (const arena of [this.m, this.v, this.average]) arena.free();
    for (const t of [this.hyper, this.gradScale, this.averageRate]) this.backend.free(t);
  }
}

/** A tensor of scalars, one row each: losses and norms that one read brings back together. */
export class Scalars {
  readonly tensor: Tensor;

  constructor(
    private readonly backend: Backend,
    readonly count: number,
  ) {
    this.tensor = backend.alloc([count, 1]);
    backend.kernels.fill(this.tensor, 0);
  }

  /** [1] view of scalar i. */
  at(i: number): Tensor {
    return { ...rows(this.tensor, i, i + 1), shape: [1] };
  }

  /** [1, n] view of the first n. */
  row(n: number): Tensor {
    return reshape(rows(this.tensor, 0, n), [1, n]);
  }

  read(): Promise<NumericArray> {
    return this.backend.read(this.tensor);
  }

  free(): void {
    this.backend.free(this.tensor);
  }
}
