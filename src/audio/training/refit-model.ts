/**
 * Fits the event head of a trained speech model anew, in place, on one half of the speakers held out of its training, and
 * calibrates it on the other half.
 *
 *   node dist/src/audio/training/refit-model.js MODEL --data DIR [--streams N]
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseCommandLine } from '../../commands/command.js';
import { ParameterLayout } from '../../engine/training/arena.js';
import { AdderError } from '../../platform/errors.js';
import { CONFIG_FILE } from '../../platform/model/model-folder.js';
import { openBackend } from '../../platform/model/open-backend.js';
import { Composer } from '../data/compose.js';
import { type Example, toExample } from '../data/example.js';
import { loadLibrary } from '../data/pack.js';
import { readCalls, turnStatistics } from '../data/turns.js';
import { loadResampler } from '../decode/index.js';
import { NO_CALIBRATION } from '../model/config.js';
import { readWeights, writeSpeechModel } from '../model/load.js';
import { SpeechModel } from '../model/model.js';
import { speechParameters } from '../model/network.js';
import { calibrateSpeech } from './calibrate.js';
import { halves, refitEvents } from './refit.js';

/** Seed of the streams: not that of training or of validation. */
const SEED = 40_000;

export async function refitFolder(folder: string, root: string, streams: number): Promise<void> {
  const file = JSON.parse(readFileSync(join(folder, CONFIG_FILE), 'utf8'));
  const specs = speechParameters(file.config);
  const { values, digest } = readWeights(folder, specs);
  const layout = new ParameterLayout(specs);
  await loadResampler();
  const turns = turnStatistics(readCalls(join(root, 'swb_turns', 'train.jsonl.gz')));
  const [first, second] = halves(await loadLibrary({ root, split: 'dev', threads: true }));
  const compose = (library: typeof first, seed: number, count: number): Example[] => {
    const composer = new Composer(library, turns, { seed });
    return Array.from({ length: count }, (_, i) => toExample(composer.compose(i), i));
  };
  const backend = await openBackend('wasm');
  try {
    const parts = { name: file.name, digest, config: file.config, calibration: NO_CALIBRATION };
    const before = new SpeechModel(backend, { ...parts, values });
    const place = (name: string) => {
      const { offset, shape } = layout.place(`events.${name}`);
      return values.subarray(offset, offset + shape.reduce((a, b) => a * b, 1));
    };
    const head = { weight: place('weight'), bias: place('bias') };
    const fitted = await refitEvents(before, compose(first, SEED, streams), head);
    head.weight.set(fitted.weight);
    head.bias.set(fitted.bias);
    const after = new SpeechModel(backend, { ...parts, values });
    file.calibration = await calibrateSpeech(after, compose(second, SEED + 1, Math.ceil(streams / 4)));
  } finally {
    await backend.dispose();
  }
  const packs = first.speech.map((pack) => pack.name).sort();
  file.training = { ...file.training, refit: { streams, speakers: `half of those held out (${packs.join(', ')})` } };
  writeSpeechModel(folder, specs, values, file);
}

async function main(args: string[]): Promise<void> {
  const options = { data: { type: 'string' }, streams: { type: 'string' } } as const;
  const { values, positionals } = parseCommandLine('refit', args, options, 1);
  const root = values.data ?? process.env.ADDER_SPEECH_DATA;
  if (!positionals[0] || !root) {
    throw new AdderError({ code: 'BAD_ARGUMENT', message: 'a model and --data DIR are needed', fix: 'name both' });
  }
  await refitFolder(positionals[0], root, Number(values.streams ?? 240));
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  main(process.argv.slice(2)).catch((error: unknown) => {
    console.error(error instanceof AdderError ? error.toLine() : error);
    process.exitCode = 1;
  });
}
