/** Worker thread of ComposerPool: makes examples from a library in shared memory. */
import { parentPort, workerData } from 'node:worker_threads';
import { loadResampler } from '../decode/resample.js';
import { type ComposeOptions, Composer } from './compose.js';
import { toExample } from './example.js';
import type { Library } from './pack.js';
import type { TurnStatistics } from './turns.js';

export interface WorkerSetup {
  library: Library;
  turns: TurnStatistics;
  options: ComposeOptions;
}

if (parentPort) {
  const port = parentPort;
  const { library, turns, options } = workerData as WorkerSetup;
  await loadResampler();
  const composer = new Composer(library, turns, options);
  port.on('message', (index: number) => {
    const example = toExample(composer.compose(index), index);
    const { features, logMel, speech, changeBin, changed } = example;
    const buffers = [features, logMel, speech, changeBin, changed].map((a) => a.buffer as ArrayBuffer);
    port.postMessage({ index, example }, buffers);
  });
  port.postMessage('ready');
}
