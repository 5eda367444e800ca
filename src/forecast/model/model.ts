/** A trained forecaster on a backend: configuration, weights and network, shared by batch and streaming inference. */
import type { Backend } from '../../engine/backend.js';
import type { Tensor } from '../../engine/tensor.js';
import { Arena, ParameterLayout } from '../../engine/training/arena.js';
import type { ForecasterConfig } from './config.js';
import { ForecasterNetwork, forecasterParameters } from './network.js';

export class ForecasterModel {
  readonly network: ForecasterNetwork;
  /** [levels] the quantile levels, for the head. */
  readonly levels: Tensor;
  private readonly arena: Arena;

  /**
   * @param id name printed with every forecast
   * @param digest of the weights: a stream's state fits these weights only
   * @param values parameters in the layout of `forecasterParameters(config)`
   */
  constructor(
    readonly backend: Backend,
    readonly config: ForecasterConfig,
    values: ArrayLike<number>,
    readonly id: string,
    readonly digest = '',
  ) {
    this.arena = new Arena(backend, new ParameterLayout(forecasterParameters(config)));
    this.arena.write(values);
    this.network = new ForecasterNetwork(config, this.arena.weights);
    this.levels = backend.alloc([config.levels.length]);
    backend.write(this.levels, config.levels);
  }

  get parameterCount(): number {
    return this.arena.layout.count;
  }

  free(): void {
    this.arena.free();
    this.backend.free(this.levels);
  }
}
