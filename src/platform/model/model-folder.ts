import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AdderError } from '../errors.js';

/** The files of a model's folder. */
export const CONFIG_FILE = 'config.json';
export const WEIGHTS_FILE = 'model.safetensors';

/**
 * The folder itself, or `models/NAME` of the package: found from this file, compiled or not.
 *
 * @param what it should hold, for the error
 * @throws AdderError `NO_MODEL`
 */
export function findModelFolder(model: string, what: string): string {
  if (existsSync(join(model, CONFIG_FILE))) return resolve(model);
  if (/^[\w.-]+$/.test(model)) {
    for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
      const candidate = join(folder, 'models', model);
      if (existsSync(join(candidate, CONFIG_FILE))) return candidate;
      if (folder === dirname(folder)) break;
    }
  }
  throw new AdderError({
    code: 'NO_MODEL',
    message: `there is no ${what} here`,
    where: { file: model },
    fix: `name a folder that holds ${CONFIG_FILE} and ${WEIGHTS_FILE}`,
  });
}
