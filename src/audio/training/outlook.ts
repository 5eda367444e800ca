/** Sets up a run of the speech outlook: packs, threads that compose, streams held out. */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Backend } from '../../engine/backend.js';
import type { CheckpointContent } from '../../engine/training/checkpoint.js';
import { AdderError } from '../../platform/errors.js';
import { ComposerPool } from '../data/compose-pool.js';
import type { Example } from '../data/example.js';
import { type Library, loadLibrary } from '../data/pack.js';
import { readCalls, turnStatistics } from '../data/turns.js';
import { speechParameters } from '../model/network.js';
import type { SpeechTraining } from './config.js';
import { ExampleWindow, type WindowPace } from './example-window.js';
import { type RunState, TrainingLoop } from './loop.js';
import { OutlookTask } from './outlook-task.js';
import { OutlookValidation, VALIDATION_SEED } from './outlook-validation.js';

/** Streams whose making is timed, and streams made ahead. */
const AHEAD = 96;

export interface OpenRun {
  loop: TrainingLoop;
  /** What the model file says of the data. */
  data: Record<string, unknown>;
  close(): Promise<void>;
}

export interface DataOptions {
  root: string;
  /** Threads that compose. */
  threads?: number;
  say?: (line: string) => void;
}

export async function openOutlookRun(
  backend: Backend,
  config: SpeechTraining,
  { root, threads = Math.max(1, availableParallelism() - 1), say = () => {} }: DataOptions,
  resume?: CheckpointContent<RunState>,
): Promise<OpenRun> {
  const { batch, streams, seed, unrestricted } = config;
  const seconds: [number, number] = [Math.max(20, batch.frames / 100), Math.max(30, batch.frames / 100)];
  const libraries = await loadLibraries(root, !unrestricted, threads > 1);
  const { library } = libraries;
  const turns = turnStatistics(readCalls(join(root, 'swb_turns', 'train.jsonl.gz')));
  say(`${clips(library)} clips for training, ${clips(libraries.heldOut)} of other speakers held out`);

  const held: Example[] = [];
  const heldPool = new ComposerPool(
    libraries.heldOut,
    turns,
    { seed: VALIDATION_SEED, seconds, noise: 'heldOut' },
    { threads, ahead: Math.min(config.validation.sequences, 64) },
  );
  for (let i = 0; i < config.validation.sequences; i++) held.push(await heldPool.next());
  await heldPool.close();

  const pace = (resume?.run.task as WindowPace | undefined) ?? {
    from: 0,
    count: streams.initial,
    perStep: streams.perStep,
  };
  const { first } = ExampleWindow.range(pace, streams.keep, resume?.run.step ?? 0);
  const pool = new ComposerPool(library, turns, { seed, seconds }, { threads, ahead: AHEAD, first });
  const window = new ExampleWindow(pool, streams.keep, pace);
  try {
    const started = performance.now();
    await window.moveTo(resume?.run.step ?? 0, batch.frames);
    const took = (performance.now() - started) / 1000;
    const { end } = ExampleWindow.range(pace, streams.keep, resume?.run.step ?? 0);
    // The threads are AHEAD streams further than what was asked for.
    const rate = (end - first + AHEAD / 2) / took;
    say(`${end - first} streams composed in ${took.toFixed(1)} s by ${threads} threads`);
    const loop = new TrainingLoop(
      backend,
      config,
      speechParameters(config.model),
      (average) =>
        new OutlookTask(backend, config, window, rate, new OutlookValidation(backend, config, held, average)),
      resume,
    );
    const data = { packs: library.speech.map((p) => p.name), noise: library.noise.map((p) => p.name), unrestricted };
    return { loop, data, close: () => pool.close() };
  } catch (error) {
    await pool.close();
    throw error;
  }
}

async function loadLibraries(
  root: string,
  permissiveOnly: boolean,
  threads: boolean,
): Promise<{ library: Library; heldOut: Library }> {
  const [library, heldOut] = await Promise.all([
    loadLibrary({ root, split: 'train', permissiveOnly, threads }),
    loadLibrary({ root, split: 'dev', permissiveOnly, threads }),
  ]);
  if (library.noise.length === 0) {
    throw new AdderError({
      code: 'NO_DATA',
      message: 'there is no noise pack',
      where: { file: join(root, 'noise') },
      fix: 'put train_room and train_music_moh there',
    });
  }
  return { library, heldOut };
}

function clips({ speech }: Library): number {
  return speech.reduce((sum, pack) => sum + pack.clips.length, 0);
}
