/** A trained speech model on a backend: configuration, calibration, weights and network. */
import type { Backend } from '../../engine/backend.js';
import { Arena, ParameterLayout } from '../../engine/training/arena.js';
import type { SpeechCalibration, SpeechConfig } from './config.js';
import { SpeechNetwork, speechParameters } from './network.js';

export interface SpeechModelParts {
  /** Name printed with results. */
  name: string;
  /** Of the weights: a stream's state fits these weights only. */
  digest: string;
  config: SpeechConfig;
  calibration: SpeechCalibration;
  /** Parameters in the layout of `speechParameters(config)`. */
  values: ArrayLike<number>;
}

export class SpeechModel {
  readonly name: string;
  readonly digest: string;
  readonly config: SpeechConfig;
  readonly calibration: SpeechCalibration;
  readonly network: SpeechNetwork;
  private readonly arena: Arena;

  /** @param closeBackend called by `close`, for a backend that belongs to the model */
  constructor(
    readonly backend: Backend,
    { name, digest, config, calibration, values }: SpeechModelParts,
    private readonly closeBackend?: () => Promise<void>,
  ) {
    this.name = name;
    this.digest = digest;
    this.config = config;
    this.calibration = calibration;
    this.arena = new Arena(backend, new ParameterLayout(speechParameters(config)));
    this.arena.write(values);
    this.network = new SpeechNetwork(config, this.arena.weights);
  }

  get parameterCount(): number {
    return this.arena.layout.count;
  }

  /** Frees the weights, and the backend where the model opened it. */
  async close(): Promise<void> {
    this.arena.free();
    await this.closeBackend?.();
  }
}
