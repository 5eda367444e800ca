/** Speech models on disk: a folder with config.json and model.safetensors, as training writes it. */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Backend } from '../../engine/backend.js';
import { EngineError } from '../../engine/errors.js';
import type { ParameterSpec } from '../../engine/layers/parameters.js';
import { ParameterLayout } from '../../engine/training/arena.js';
import { readJsonFile, readSafetensorsFile, writeSafetensorsFile } from '../../engine/weights/file.js';
import { entryOf, type SafetensorsTensor, toFloat32 } from '../../engine/weights/safetensors.js';
import { AdderError } from '../../platform/errors.js';
import { withAdderErrors } from '../../platform/model/engine-errors.js';
import { CONFIG_FILE, findModelFolder, WEIGHTS_FILE } from '../../platform/model/model-folder.js';
import { openBackend } from '../../platform/model/open-backend.js';
import { NO_CALIBRATION, speechCalibrationSchema, speechConfigSchema } from './config.js';
import { SpeechModel } from './model.js';
import { speechParameters } from './network.js';

/** The speech model that is used when none is named. */
export const DEFAULT_SPEECH_MODEL = 'speech-outlook';

const modelFileSchema = z.object({
  name: z.string().min(1),
  config: speechConfigSchema,
  calibration: speechCalibrationSchema.default(NO_CALIBRATION),
  /** What the training run recorded of itself; read by people only. */
  training: z.record(z.string(), z.unknown()).optional(),
});

/**
 * @param model a folder, or the name of one in `models/`
 * @param backend `webgpu`, `wasm`, `reference`, or one that is open already (and stays the caller's); automatic when absent
 * @throws AdderError `NO_MODEL` if there is no such folder, `BAD_MODEL` if it does not fit together; errors of files and devices
 */
export function loadSpeechModel(model = DEFAULT_SPEECH_MODEL, backend?: string | Backend): Promise<SpeechModel> {
  return withAdderErrors(async () => {
    const folder = modelFolder(model);
    const { name, config, calibration } = readModelFile(folder, modelFileSchema);
    const { values, digest } = readWeights(folder, speechParameters(config));
    const own = typeof backend === 'object' ? undefined : await openBackend(backend);
    const device = own ?? (backend as Backend);
    return new SpeechModel(device, { name, digest, config, calibration, values }, async () => own?.dispose());
  });
}

/** The folder of a speech or turn model: see `findModelFolder`. @throws AdderError `NO_MODEL` */
export const modelFolder = (model: string) => findModelFolder(model, 'speech model');

/** config.json of a model, checked. @throws AdderError `BAD_MODEL` naming the field */
export function readModelFile<T>(folder: string, schema: z.ZodType<T>): T {
  const file = join(folder, CONFIG_FILE);
  const parsed = schema.safeParse(readJsonFile(file));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new AdderError({
    code: 'BAD_MODEL',
    message: `this is no configuration of such a model: ${issue.message}`,
    where: { file, field: issue.path.join('.') },
    fix: 'use a folder written by adder train',
  });
}

/** Weights in the layout of `specs`, and their digest. @throws AdderError `BAD_MODEL` naming the parameter */
export function readWeights(folder: string, specs: readonly ParameterSpec[]): { values: Float32Array; digest: string } {
  const file = join(folder, WEIGHTS_FILE);
  const source = readSafetensorsFile(file);
  try {
    const values = new ParameterLayout(specs).join((parameter) => {
      const { shape } = entryOf(source, parameter);
      return { shape, data: toFloat32(source.read(parameter)) };
    });
    return { values, digest: createHash('sha256').update(readFileSync(file)).digest('hex').slice(0, 16) };
  } catch (cause) {
    if (!(cause instanceof EngineError)) throw cause;
    throw new AdderError({
      code: 'BAD_MODEL',
      message: cause.message,
      where: { file, field: cause.where?.field },
      fix: `${CONFIG_FILE} and ${WEIGHTS_FILE} must come from the same run`,
      cause,
    });
  }
}

/**
 * Writes the two files of a model.
 *
 * @param values parameters in the layout of `specs`
 * @param file what config.json says: name, config, calibration, training
 */
export function writeSpeechModel(
  folder: string,
  specs: readonly ParameterSpec[],
  values: ArrayLike<number>,
  file: { name: string; config: unknown; calibration?: unknown; training?: unknown },
): void {
  mkdirSync(folder, { recursive: true });
  const layout = new ParameterLayout(specs);
  const parts = layout.split(Float32Array.from(values));
  const tensors = new Map<string, SafetensorsTensor>();
  for (const { name, shape } of layout.places) tensors.set(name, { dtype: 'F32', shape, data: parts.get(name)! });
  writeSafetensorsFile(join(folder, WEIGHTS_FILE), tensors, { format: 'adder', name: file.name });
  writeFileSync(join(folder, CONFIG_FILE), `${JSON.stringify(file, null, 2)}\n`);
}
