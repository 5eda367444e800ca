/**
 * Calibrates a trained model in place, on data that its training never used.
 *
 *   node dist/src/audio/training/calibrate-model.js MODEL --data DIR [--streams N]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseCommandLine } from '../../commands/command.js';
import { AdderError } from '../../platform/errors.js';
import { CONFIG_FILE } from '../../platform/model/model-folder.js';
import { openBackend } from '../../platform/model/open-backend.js';
import { Composer } from '../data/compose.js';
import { toExample } from '../data/example.js';
import { loadLibrary } from '../data/pack.js';
import { readCalls, turnStatistics } from '../data/turns.js';
import { loadResampler } from '../decode/index.js';
import { loadSpeechModel } from '../model/load.js';
import { NO_TURN_CALIBRATION } from '../turns/config.js';
import { loadTurnModel } from '../turns/index.js';
import { calibrateSpeech, calibrateTurns } from './calibrate.js';
import { VALIDATION_SEED } from './outlook-validation.js';
import { labelledCall } from './turn-labels.js';

export interface CalibrationData {
  /** Folder with `dev` and `swb_turns`. */
  root: string;
  /** Composed streams of speakers held out, for speech models. */
  streams?: number;
  /** Calls at the end of the training split that the run did not train on, for turn models. */
  calls?: number;
}

/** Calibrates the model in a folder, rewrites its config.json, and returns what it wrote there. */
export async function calibrateFolder(
  folder: string,
  { root, streams = 60, calls: held = 48 }: CalibrationData,
): Promise<object> {
  const file = join(folder, CONFIG_FILE);
  const json = JSON.parse(readFileSync(file, 'utf8')) as { config: { architecture: string }; calibration?: unknown };
  const backend = await openBackend('wasm');
  try {
    const calls = readCalls(join(root, 'swb_turns', 'train.jsonl.gz'));
    if (json.config.architecture === 'mamba2-turns') {
      json.calibration = NO_TURN_CALIBRATION;
      write(file, json);
      const model = await loadTurnModel(folder, backend);
      json.calibration = await calibrateTurns(model, calls.slice(-held).map(labelledCall));
    } else {
      const model = await loadSpeechModel(folder, backend);
      await loadResampler();
      const library = await loadLibrary({ root, split: 'dev' });
      const composer = new Composer(library, turnStatistics(calls), { seed: VALIDATION_SEED + 1, noise: 'heldOut' });
      const examples = Array.from({ length: streams }, (_, i) => toExample(composer.compose(i), i));
      json.calibration = await calibrateSpeech(model, examples);
    }
  } finally {
    await backend.dispose();
  }
  write(file, json);
  return json.calibration as object;
}

function write(file: string, json: object): void {
  writeFileSync(file, `${JSON.stringify(json, null, 2)}\n`);
}

async function main(args: string[]): Promise<void> {
  const options = { data: { type: 'string' }, streams: { type: 'string' } } as const;
  const { values, positionals } = parseCommandLine('calibrate', args, options, 1);
  const root = values.data ?? process.env.ADDER_SPEECH_DATA;
  if (!positionals[0] || !root) {
    throw new AdderError({ code: 'BAD_ARGUMENT', message: 'a model and --data DIR are needed', fix: 'name both' });
  }
  console.log(
    JSON.stringify(await calibrateFolder(positionals[0], { root, streams: Number(values.streams ?? 60) }), null, 2),
  );
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  main(process.argv.slice(2)).catch((error: unknown) => {
    console.error(error instanceof AdderError ? error.toLine() : error);
    process.exitCode = 1;
  });
}
