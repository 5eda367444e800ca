/** `adder train` for listening models: a run from a configuration to a folder with a model, a log and checkpoints. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  type CheckpointContent,
  latestCheckpoint,
  pruneCheckpoints,
  readCheckpoint,
  writeCheckpoint,
} from '../../engine/training/checkpoint.js';
import { openBackend } from '../../forecast/model/open-backend.js';
import { AdderError } from '../../platform/errors.js';
import { writeSpeechModel } from '../model/load.js';
import { speechParameters } from '../model/network.js';
import { turnParameters } from '../turns/network.js';
import { calibrateFolder } from './calibrate-model.js';
import type { ListeningTraining } from './config.js';
import type { Progress, RunState } from './loop.js';
import { openOutlookRun } from './outlook.js';
import { RunLog } from './run-log.js';
import { openTurnRun } from './turn-task.js';

export interface ListeningRunOptions {
  /** Folder with `train`, `dev`, `noise` and `swb_turns`. */
  data: string;
  out: string;
  /** A run's folder or a checkpoint to continue from. */
  resume?: string;
  backend?: string;
  workers?: number;
  budgetSeconds?: number;
  maxSeconds?: number;
  /** Asked before every step. */
  stop: () => boolean;
  say: (line: string) => void;
}

/** Trains and writes OUT/model, OUT/checkpoints and OUT/log.jsonl; true if the run is finished. */
export async function runListeningTraining(config: ListeningTraining, options: ListeningRunOptions): Promise<boolean> {
  const { out, say } = options;
  const resume = readResume(options.resume);
  const began = performance.now();
  const elapsed = () => (performance.now() - began) / 1000;
  const backend = await openBackend(options.backend);
  if (!backend.trains) {
    await backend.dispose();
    throw new AdderError({
      code: 'NO_TRAINING',
      message: `there is no GPU here, and ${backend.name} does not train`,
      fix: 'run on a machine with a GPU, or use --backend webgpu for a software adapter (slow)',
    });
  }
  const data = { root: options.data, threads: options.workers, say };
  try {
    const run =
      config.task === 'speech-outlook'
        ? await openOutlookRun(backend, config, data, resume)
        : await openTurnRun(backend, config, data, resume);
    try {
      const { loop } = run;
      mkdirSync(join(out, 'checkpoints'), { recursive: true });
      const log = new RunLog(join(out, 'log.jsonl'));
      const { commands, bytes } = loop.describe();
      const parameters = loop.layout.count;
      say(
        `${config.name}: ${parameters.toLocaleString('en')} parameters, ${commands} launches a step, ` +
          `${(bytes / 2 ** 30).toFixed(2)} GiB, ready after ${elapsed().toFixed(0)} s, ${backend.description}`,
      );
      if (resume) say(`resumed at step ${loop.step} of ${loop.total}`);
      const date = new Date().toISOString();
      log.add({ kind: 'start', step: loop.step, date, device: backend.description, parameters, launches: commands });
      // What was spent on getting ready counts.
      const left = (seconds: number | undefined) => seconds && Math.max(1, seconds - elapsed());
      const outcome = await loop.run({
        budgetSeconds: left(options.budgetSeconds),
        stop: () => options.stop() || elapsed() > (options.maxSeconds ?? Number.POSITIVE_INFINITY),
        onProgress: (progress) => {
          log.add({ kind: 'progress', ...progress });
          say(progressLine(progress));
        },
        onValidation: (step, loss, seconds) => {
          log.add({ kind: 'validation', step, seconds, loss });
          say(`step ${step} held out: ${figures(loss)}`);
        },
        onTotal: (total, each) => say(`${(1000 * each).toFixed(1)} ms a step: ${total} steps fit the budget`),
        onCheckpoint: (content) => {
          const folder = join(out, 'checkpoints');
          writeCheckpoint(join(folder, `step-${content.run.step}`), content);
          pruneCheckpoints(folder, 2);
        },
      });
      const { values, loss } = await loop.result();
      const training = {
        finished: outcome === 'finished',
        steps: loop.step,
        skipped: loop.skipped,
        seconds: Math.round(loop.seconds),
        parameters,
        heldOut: loss,
        device: backend.description,
        date: date.slice(0, 10),
        data: run.data,
        configuration: config,
      };
      const specs = config.task === 'speech-outlook' ? speechParameters(config.model) : turnParameters(config.model);
      writeSpeechModel(join(out, 'model'), specs, values, { name: config.name, config: config.model, training });
      say(
        `${outcome} at step ${loop.step} of ${loop.total} after ${loop.seconds.toFixed(0)} s, ${loop.skipped} skipped; ` +
          `held out: ${figures(loss)}\nmodel: ${join(out, 'model')}`,
      );
      loop.free();
      if (outcome === 'finished') {
        await calibrateFolder(join(out, 'model'), { root: options.data, calls: config.validation.sequences });
        say('calibrated on what was held out');
      }
      return outcome === 'finished';
    } finally {
      await run.close();
    }
  } finally {
    await backend.dispose();
  }
}

function readResume(folder: string | undefined): CheckpointContent<RunState> | undefined {
  if (folder === undefined) return undefined;
  const found = latestCheckpoint(join(folder, 'checkpoints')) ?? latestCheckpoint(folder);
  if (found) return readCheckpoint<RunState>(found);
  throw new AdderError({
    code: 'NO_CHECKPOINT',
    message: 'there is no checkpoint to resume from',
    where: { file: folder },
    fix: 'name the folder of a run, or one of its checkpoints',
  });
}

function figures(loss: Record<string, number>): string {
  return Object.entries(loss)
    .map(([name, value]) => `${name} ${value.toFixed(4)}`)
    .join('  ');
}

function progressLine(p: Progress): string {
  const left = Math.round(p.step > 0 ? ((p.total - p.step) * p.seconds) / p.step : 0);
  return (
    `step ${p.step}/${p.total}  ${(p.framesPerSecond / 1000).toFixed(0)}k frames/s  ${figures(p.loss)}  ` +
    `|g| ${p.gradientNorm.toFixed(2)}  lr ${p.learningRate.toExponential(1)}  loading ${Math.round(100 * p.loading)} %` +
    `${p.skipped > 0 ? `  skipped ${p.skipped}` : ''}  ETA ${Math.floor(left / 60)}:${String(left % 60).padStart(2, '0')}`
  );
}
