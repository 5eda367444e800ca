/** A trained turn model on a backend, and from disk. */
import { z } from 'zod';
import type { Backend } from '../../engine/backend.js';
import { Arena, ParameterLayout } from '../../engine/training/arena.js';
import { withAdderErrors } from '../../platform/model/engine-errors.js';
import { openBackend } from '../../platform/model/open-backend.js';
import { modelFolder, readModelFile, readWeights } from '../model/load.js';
import {
  NO_TURN_CALIBRATION,
  type TurnCalibration,
  type TurnConfig,
  turnCalibrationSchema,
  turnConfigSchema,
} from './config.js';
import { TurnNetwork, turnParameters } from './network.js';

/** The turn model that is used when none is named. */
export const DEFAULT_TURN_MODEL = 'speech-turns';

export interface TurnModelParts {
  name: string;
  /** Of the weights: a conversation's state fits these weights only. */
  digest: string;
  config: TurnConfig;
  calibration: TurnCalibration;
  /** Parameters in the layout of `turnParameters(config)`. */
  values: ArrayLike<number>;
}

export class TurnModel {
  readonly name: string;
  readonly digest: string;
  readonly config: TurnConfig;
  readonly calibration: TurnCalibration;
  readonly network: TurnNetwork;
  private readonly arena: Arena;

  /** @param closeBackend called by `close`, for a backend that belongs to the model */
  constructor(
    readonly backend: Backend,
    { name, digest, config, calibration, values }: TurnModelParts,
    private readonly closeBackend?: () => Promise<void>,
  ) {
    this.name = name;
    this.digest = digest;
    this.config = config;
    this.calibration = calibration;
    this.arena = new Arena(backend, new ParameterLayout(turnParameters(config)));
    this.arena.write(values);
    this.network = new TurnNetwork(config, this.arena.weights);
  }

  get parameterCount(): number {
    return this.arena.layout.count;
  }

  async close(): Promise<void> {
    this.arena.free();
    await this.closeBackend?.();
  }
}

export const turnModelFileSchema = z.object({
  name: z.string().min(1),
  config: turnConfigSchema,
  calibration: turnCalibrationSchema.default(NO_TURN_CALIBRATION),
  training: z.record(z.string(), z.unknown()).optional(),
});

/** Options and errors as those of `loadSpeechModel`. */
export function loadTurnModel(model = DEFAULT_TURN_MODEL, backend?: string | Backend): Promise<TurnModel> {
  return withAdderErrors(async () => {
    const folder = modelFolder(model);
    const { name, config, calibration } = readModelFile(folder, turnModelFileSchema);
    const { values, digest } = readWeights(folder, turnParameters(config));
    const own = typeof backend === 'object' ? undefined : await openBackend(backend);
    const device = own ?? (backend as Backend);
    return new TurnModel(device, { name, digest, config, calibration, values }, async () => own?.dispose());
  });
}
