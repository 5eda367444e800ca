/** `adder train` for listening models: a run from a configuration to a folder with a model, a log and checkpoints. */
import { join } from 'node:path';
import { lossText, progressText, readResume, recordRun } from '../../engine/training/run-folder.js';
import { openTrainingBackend } from '../../platform/model/open-backend.js';
import { writeSpeechModel } from '../model/load.js';
import { speechParameters } from '../model/network.js';
import { turnParameters } from '../turns/network.js';
import { calibrateFolder } from './calibrate-model.js';
import type { ListeningTraining } from './config.js';
import type { Progress, RunState } from './loop.js';
import { openOutlookRun } from './outlook.js';
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
  const resume = options.resume === undefined ? undefined : readResume<RunState>(options.resume);
  const began = performance.now();
  const elapsed = () => (performance.now() - began) / 1000;
  const backend = await openTrainingBackend(options.backend);
  const data = { root: options.data, threads: options.workers, say };
  try {
    const run =
      config.task === 'speech-outlook'
        ? await openOutlookRun(backend, config, data, resume)
        : await openTurnRun(backend, config, data, resume);
    try {
      const { loop } = run;
      const { commands, bytes } = loop.describe();
      say(
        `${config.name}: ${loop.layout.count.toLocaleString('en')} parameters, ${commands} launches a step, ` +
          `${(bytes / 2 ** 30).toFixed(2)} GiB, ready after ${elapsed().toFixed(0)} s, ${backend.description}`,
      );
      if (resume) say(`resumed at step ${loop.step} of ${loop.total}`);
      const record = recordRun<ListeningTraining, Progress>(out, loop, backend.description, {
        line: say,
        progress: (p) => say(progressLine(p)),
      });
      // What was spent on getting ready counts.
      const left = (seconds: number | undefined) => seconds && Math.max(1, seconds - elapsed());
      const outcome = await loop.run({
        ...record,
        budgetSeconds: left(options.budgetSeconds),
        stop: () => options.stop() || elapsed() > (options.maxSeconds ?? Number.POSITIVE_INFINITY),
      });
      const { values, loss } = await loop.result();
      const training = {
        ...loop.facts(),
        heldOut: loss,
        device: backend.description,
        date: record.date.slice(0, 10),
        data: run.data,
        configuration: config,
      };
      const specs = config.task === 'speech-outlook' ? speechParameters(config.model) : turnParameters(config.model);
      writeSpeechModel(join(out, 'model'), specs, values, { name: config.name, config: config.model, training });
      say(
        `${outcome} at step ${loop.step} of ${loop.total} after ${loop.seconds.toFixed(0)} s, ${loop.skipped} skipped; ` +
          `held out: ${lossText(loss)}\nmodel: ${join(out, 'model')}`,
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

function progressLine(p: Progress): string {
  const speed = `${(p.framesPerSecond / 1000).toFixed(0)}k frames/s`;
  const rest = progressText(p, `loading ${Math.round(100 * p.loading)} %`);
  return `step ${p.step}/${p.total}  ${speed}  ${lossText(p.loss)}  ${rest}`;
}
