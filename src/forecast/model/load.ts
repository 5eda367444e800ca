/** Forecasters on disk: a folder with config.json and model.safetensors, as training writes it. */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import type { Backend } from '../../engine/backend.js';
import { EngineError } from '../../engine/errors.js';
import { ParameterLayout } from '../../engine/training/arena.js';
import { readJsonFile, readSafetensorsFile, writeSafetensorsFile } from '../../engine/weights/file.js';
import { numberToHalf } from '../../engine/weights/half.js';
import { entryOf, type SafetensorsTensor, toFloat32 } from '../../engine/weights/safetensors.js';
import { AdderError } from '../../platform/errors.js';
import { withAdderErrors } from '../../platform/model/engine-errors.js';
import { CONFIG_FILE, findModelFolder, WEIGHTS_FILE } from '../../platform/model/model-folder.js';
import { openBackend } from '../../platform/model/open-backend.js';
import { type ForecasterConfig, forecasterConfigSchema } from './config.js';
import { NeuralForecaster, type NeuralForecasterOptions } from './forecaster.js';
import { ForecasterModel } from './model.js';
import { forecasterParameters } from './network.js';

/** The forecaster that is used when none is named. */
export const DEFAULT_MODEL = 'forecaster-5m';

const modelFileSchema = z.object({
  name: z.string().min(1),
  config: forecasterConfigSchema,
  /** How the model is best asked, chosen on held-out training series; a caller's options win. */
  inference: z
    .strictObject({
      context: z.int().min(1).optional(),
      flip: z.boolean().optional(),
      align: z.enum(['end', 'start']).optional(),
    })
    .default({}),
  /** What the training run recorded of itself; read by the model card only. */
  training: z.record(z.string(), z.unknown()).optional(),
});

export interface LoadOptions extends NeuralForecasterOptions {
  /** A folder, or the name of one in `models/`. */
  model?: string;
  /** `webgpu`, `wasm`, `reference`, or one that is open already (and stays the caller's). Chosen automatically when absent. */
  backend?: string | Backend;
}

/** @throws AdderError `NO_MODEL` if there is no such folder, `BAD_MODEL` if it does not fit together; errors of files and devices */
export function loadForecaster(options: LoadOptions = {}): Promise<NeuralForecaster> {
  return withAdderErrors(() => load(options));
}

async function load(options: LoadOptions): Promise<NeuralForecaster> {
  const { name, config, values, digest, inference } = readModel(modelFolder(options.model ?? DEFAULT_MODEL));
  const own = typeof options.backend === 'object' ? undefined : await openBackend(options.backend);
  const backend = own ?? (options.backend as Backend);
  const model = new ForecasterModel(backend, config, values, name, digest);
  const { context, flip, align, batchTokens } = options;
  const chosen = {
    context: context ?? inference.context,
    flip: flip ?? inference.flip,
    align: align ?? inference.align,
    batchTokens,
  };
  return new NeuralForecaster(model, chosen, async () => own?.dispose());
}

/** A model for `StreamBatch`; free it and dispose of the backend yourself. */
export function loadModel(backend: Backend, model = DEFAULT_MODEL): ForecasterModel {
  const { name, config, values, digest } = readModel(modelFolder(model));
  return new ForecasterModel(backend, config, values, name, digest);
}

/** The folder of a forecaster: see `findModelFolder`. @throws AdderError `NO_MODEL` */
export const modelFolder = (model: string) => findModelFolder(model, 'forecaster');

export interface ModelFiles {
  name: string;
  config: ForecasterConfig;
  /** In the layout of the configuration's parameters. */
  values: Float32Array;
  digest: string;
  inference: NeuralForecasterOptions;
  training: Record<string, unknown> | undefined;
}

/** A model's files, read and checked. @throws AdderError `BAD_MODEL`, errors of files */
export function readModel(folder: string): ModelFiles {
  const configFile = join(folder, CONFIG_FILE);
  const parsed = modelFileSchema.safeParse(readJsonFile(configFile));
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new AdderError({
      code: 'BAD_MODEL',
      message: `this is no forecaster's configuration: ${issue.message}`,
      where: { file: configFile, field: issue.path.join('.') },
      fix: 'use a folder written by adder train',
    });
  }
  const { name, config, inference, training } = parsed.data;
  const weightsFile = join(folder, WEIGHTS_FILE);
  const source = readSafetensorsFile(weightsFile);
  const layout = new ParameterLayout(forecasterParameters(config));
  try {
    const values = layout.join((parameter) => {
      const { shape } = entryOf(source, parameter);
      return { shape, data: toFloat32(source.read(parameter)) };
    });
    const digest = createHash('sha256').update(readFileSync(weightsFile)).digest('hex').slice(0, 16);
    return { name, config, values, digest, inference, training };
  } catch (cause) {
    if (!(cause instanceof EngineError)) throw cause;
    throw new AdderError({
      code: 'BAD_MODEL',
      message: cause.message,
      where: { file: weightsFile, field: cause.where?.field },
      fix: `${CONFIG_FILE} and ${WEIGHTS_FILE} must come from the same run`,
      cause,
    });
  }
}

/**
 * Writes the two files of a model that `loadForecaster` reads.
 *
 * @param values parameters in the layout of the configuration
 * @param training what the run says of itself, kept for the model card
 * @param storage `F16` halves the file and rounds the weights to 11 bits; they are computed with as f32 either way
 */
export function writeModel(
  folder: string,
  {
    name,
    config,
    values,
    inference,
  }: Pick<ModelFiles, 'name' | 'config'> & {
    values: ArrayLike<number>;
    inference?: NeuralForecasterOptions;
  },
  training: Record<string, unknown> = {},
  storage: 'F32' | 'F16' = 'F32',
): void {
  mkdirSync(folder, { recursive: true });
  const layout = new ParameterLayout(forecasterParameters(config));
  const parts = layout.split(Float32Array.from(values));
  const tensors = new Map<string, SafetensorsTensor>();
  for (const { name: parameter, shape } of layout.places) {
    const data = parts.get(parameter)!;
    tensors.set(parameter, {
      dtype: storage,
      shape,
      data: storage === 'F16' ? Uint16Array.from(data, numberToHalf) : data,
    });
  }
  writeSafetensorsFile(join(folder, WEIGHTS_FILE), tensors, { format: 'adder', name: basename(name) });
  writeFileSync(join(folder, CONFIG_FILE), `${JSON.stringify({ name, config, inference, training }, null, 2)}\n`);
}
