/** Worker thread that decodes one pack; see `loadLibrary`. */
import { parentPort, workerData } from 'node:worker_threads';
import { AdderError } from '../../platform/errors.js';
import { loadPack, type Pack } from './pack.js';

export interface PackJob {
  folder: string;
  name: string;
}
/** The samples lie in shared memory, so the pack is not copied on its way. */
export type PackReply = { pack: Pack } | { error: ReturnType<AdderError['toJSON']> };

if (parentPort) {
  const { folder, name } = workerData as PackJob;
  try {
    parentPort.postMessage({ pack: await loadPack(folder, name) } satisfies PackReply);
  } catch (error) {
    if (!(error instanceof AdderError)) throw error;
    parentPort.postMessage({ error: error.toJSON() } satisfies PackReply);
  }
}
