import { existsSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type ListeningTraining, readListeningTraining } from '../audio/training/config.js';
import type { ListeningRunOptions } from '../audio/training/run.js';
import { logOf, lossText, progressText, readResume, recordRun } from '../engine/training/run-folder.js';
import { writeModel } from '../forecast/model/load.js';
import { readTrainingConfig, type TrainingConfig } from '../forecast/training/config.js';
import { type Corpus, readCorpus } from '../forecast/training/corpus.js';
import { lossCurve, readLog } from '../forecast/training/loss-curve.js';
import { type Progress, type RunState, Trainer } from '../forecast/training/trainer.js';
import { AdderError, quote } from '../platform/errors.js';
import { withAdderErrors } from '../platform/model/engine-errors.js';
import { openTrainingBackend } from '../platform/model/open-backend.js';
import { type Command, integerOption, parseCommandLine } from './command.js';

const help = `usage: adder train CONFIG [options]

Trains a forecaster or a model that listens as the JSON file CONFIG says (see configs/) and writes
  OUT/model/            config.json and model.safetensors: what adder forecast --model takes
  OUT/checkpoints/      the last two checkpoints, from which a run continues bit for bit
  OUT/log.jsonl         a line for every report and validation
  OUT/loss.svg          the losses as a picture

  --data DIR            folder with train/*.ndjson.gz, or with the files themselves; for models that listen, with
                        train, dev and noise packs and swb_turns (from CONFIG)
  --out DIR             where to write (the resumed run's folder, or .data/training/NAME)
  --resume DIR          continue from a run's folder or from one checkpoint
  --steps N             optimiser steps of the whole run, instead of CONFIG's
  --budget S            fit the number of steps to S seconds of training, by the speed of the first ones
  --max-seconds S       stop this session after S seconds, with a checkpoint
  --backend B           webgpu or reference (webgpu)
  --workers N           threads that make batches (cores − 2); 0 for none
  --no-checkpoints      write none but the last
`;

const OPTIONS = {
  data: { type: 'string' },
  out: { type: 'string' },
  resume: { type: 'string' },
  steps: { type: 'string' },
  budget: { type: 'string' },
  'max-seconds': { type: 'string' },
  backend: { type: 'string' },
  workers: { type: 'string' },
  'no-checkpoints': { type: 'boolean' },
} as const;

const SECONDS = [1, 10_000_000] as const;

/** Trains by the command line's arguments; 0 when the run is finished or stopped in good order. */
export function run(args: string[]): Promise<number> {
  return withAdderErrors(() => train(args));
}

async function train(args: string[]): Promise<number> {
  const { values, positionals } = parseCommandLine('train', args, OPTIONS, 1);
  const text = (name: keyof typeof OPTIONS) => values[name] as string | undefined;
  const file = positionals[0];
  if (file === undefined) {
    throw new AdderError({ code: 'BAD_ARGUMENT', message: 'CONFIG is missing', fix: 'see adder train --help' });
  }
  const steps = integerOption(text('steps'), '--steps', 1, 1e9);
  const budgetSeconds = integerOption(text('budget'), '--budget', ...SECONDS);
  const maxSeconds = integerOption(text('max-seconds'), '--max-seconds', ...SECONDS);
  const workers = integerOption(text('workers'), '--workers', 0, 1024) ?? Math.max(1, availableParallelism() - 2);
  const from = text('resume');
  const listening = readListeningTraining(file);
  if (listening) {
    if (steps !== undefined) listening.schedule.steps = steps;
    const options = { resume: from, backend: text('backend'), workers, budgetSeconds, maxSeconds };
    return trainListening(listening, text('data') ?? listening.data, text('out'), options);
  }
  const config = readTrainingConfig(file);
  if (steps !== undefined) config.schedule.steps = steps;
  const resume = from === undefined ? undefined : readResume<RunState>(from);
  const resumesRun = from !== undefined && existsSync(join(from, 'checkpoints'));
  const out = text('out') ?? (resumesRun ? from : join('.data', 'training', config.name));
  const corpus = readData(text('data') ?? config.data, config.exclude);

  const backend = await openTrainingBackend(text('backend'));
  const signals = new Signals();
  try {
    const trainer = new Trainer(backend, corpus, config, resume);
    const { commands, bytes } = trainer.describe();
    say(
      `${config.name}: ${trainer.layout.count.toLocaleString('en')} parameters, ${corpus.length.length.toLocaleString('en')} series, ` +
        `${commands} launches a step, ${(bytes / 2 ** 30).toFixed(2)} GiB, ${workers} threads, ${backend.description}`,
    );
    if (resume) say(`resumed at step ${trainer.step} of ${trainer.total}`);
    const began = performance.now();
    const display = new Display();
    const recorded = recordRun(out, trainer, backend.description, display);
    const outcome = await trainer.run({
      ...recorded,
      batches: { workers },
      budgetSeconds,
      stop: () => signals.asked || performance.now() - began > 1000 * (maxSeconds ?? Number.POSITIVE_INFINITY),
      onCheckpoint: (content) => {
        const last = content.run.step >= content.run.total || signals.asked;
        if (!values['no-checkpoints'] || last || maxSeconds !== undefined) recorded.onCheckpoint(content);
      },
    });
    display.end();
    const { values: weights, loss } = await trainer.result();
    writeModel(join(out, 'model'), { name: config.name, config: config.model, values: weights }, record());
    writeFileSync(join(out, 'loss.svg'), lossCurve(readLog(logOf(out)), `${config.name}: training and held-out loss`));
    say(
      outcome === 'finished'
        ? `finished ${trainer.step} steps in ${trainer.seconds.toFixed(0)} s, ${trainer.skipped} skipped; held out: ${lossText(loss)}\nmodel: ${join(out, 'model')}`
        : `stopped at step ${trainer.step} of ${trainer.total}; continue with adder train ${file} --resume ${out}`,
    );
    trainer.free();
    return 0;

    function record() {
      return {
        ...trainer.facts(),
        heldOutLoss: loss,
        device: backend.description,
        date: recorded.date.slice(0, 10),
        datasets: corpus.datasets,
        series: corpus.length.length,
        observations: corpus.values.length,
        configuration: config as unknown as Record<string, unknown>,
      };
    }
  } finally {
    signals.forget();
    await backend.dispose();
  }
}

/** Models that listen have a trainer of their own; options mean the same. */
async function trainListening(
  config: ListeningTraining,
  data: string | undefined,
  out: string | undefined,
  options: Omit<ListeningRunOptions, 'data' | 'out' | 'stop' | 'say'>,
): Promise<number> {
  const { runListeningTraining } = await import('../audio/training/run.js');
  const signals = new Signals();
  try {
    await runListeningTraining(config, {
      ...options,
      data: dataFolder(data),
      out: out ?? options.resume ?? join('.data', 'training', config.name),
      stop: () => signals.asked,
      say,
    });
    return 0;
  } finally {
    signals.forget();
  }
}

function dataFolder(folder: string | undefined): string {
  if (folder === undefined) {
    throw new AdderError({
      code: 'NO_DATA',
      message: 'no training data is named',
      where: { field: '--data' },
      fix: 'use --data DIR',
    });
  }
  if (!existsSync(folder)) {
    throw new AdderError({
      code: 'NO_DATA',
      message: `there is no folder ${quote(folder)}`,
      where: { field: '--data' },
      fix: 'check the path',
    });
  }
  return folder;
}

function readData(given: TrainingConfig['data'], exclude: readonly string[]): Corpus {
  const folder = dataFolder(given);
  const inside = join(folder, 'train');
  return readCorpus(existsSync(inside) ? inside : folder, exclude);
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** The progress line: rewritten in place on a terminal, a line now and then elsewhere. */
class Display {
  private readonly terminal = process.stderr.isTTY === true;
  private shown = 0;

  progress(p: Progress): void {
    const now = performance.now();
    if (!this.terminal && now - this.shown < 10_000) return;
    this.shown = now;
    const text =
      `step ${p.step}/${p.total}  ${rate(p.tokensPerSecond)} tokens/s (${Math.round(100 * p.realTokens)} % real)  ` +
      `loss ${lossText(p.loss)}  ${progressText(p, `waiting ${Math.round(100 * p.waiting)} %`)}`;
    process.stderr.write(this.terminal ? `\r\x1b[K${text}` : `${text}\n`);
  }

  line(text: string): void {
    process.stderr.write(this.terminal ? `\r\x1b[K${text}\n` : `${text}\n`);
  }

  end(): void {
    if (this.terminal) process.stderr.write('\n');
  }
}

function rate(perSecond: number): string {
  return perSecond >= 1e6 ? `${(perSecond / 1e6).toFixed(2)}M` : `${(perSecond / 1e3).toFixed(1)}k`;
}

/** SIGINT and SIGTERM ask for a checkpoint and a clean end; a second one ends the process at once. */
class Signals {
  asked = false;
  private readonly handler = (): void => {
    if (this.asked) process.exit(130);
    this.asked = true;
    say('\nstopping with a checkpoint …');
  };

  constructor() {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, this.handler);
  }

  forget(): void {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, this.handler);
  }
}

export default { help, run } satisfies Command;
