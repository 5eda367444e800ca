/**
 * Fine-tuning: a few hundred optimiser steps on a user's own series, from the weights of a trained forecaster.
 *
 * Windows are drawn as in training, without synthetic ones. The tail of every series is held out; the weights that
 * forecast the tails best are kept, and only if they beat the base there. Everything follows from the series, the base
 * and the options: the same call gives the same model.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Backend } from '../../engine/backend.js';
import { warmupStableDecay } from '../../engine/training/schedule.js';
import { AdderError } from '../../platform/errors.js';
import { withAdderErrors } from '../../platform/model/engine-errors.js';
import { openBackend } from '../../platform/model/open-backend.js';
import { modelFolder, readModel, writeModel } from '../model/load.js';
import { allocatePart, BatchFiller, shardsOf } from './batch.js';
import { type FineTuneSeries, fineTuneData } from './fine-tune-data.js';
import { type Learner, openLearner } from './learner.js';

export type { FineTuneSeries } from './fine-tune-data.js';

export interface FineTuneOptions {
  /** Folder, or name, of the forecaster to start from. */
  base: string;
  series: readonly FineTuneSeries[];
  /** Most optimiser steps; fewer are taken when the tails stop improving. */
  steps: number;
  /** `head`: the output network only, on any backend; `all`: every weight, where the backend can train (webgpu). */
  scope: 'head' | 'all';
  /** Peak learning rate; 1e-3 for the head, 3e-4 for all weights. */
  learningRate?: number;
  /** `webgpu`, `wasm`, `reference`, or one that is open and stays the caller's. Chosen automatically when absent. */
  backend?: string | Backend;
  /** Folder to be written; a new one among the temporary files when absent. It must not exist. */
  directory?: string;
  /** Id of the new model; made from the base and the series when absent. */
  name?: string;
  signal?: AbortSignal;
  progress?: (progress: FineTuneProgress) => void;
}

export interface FineTuneProgress {
  step: number;
  steps: number;
  /** Mean training loss since the last report. */
  loss: number;
  /** Loss on the held-out tails now, at the start, and at best so far. */
  tail: number;
  base: number;
  best: number;
}

export interface FineTuneReport {
  /** Id of the new model. */
  name: string;
  base: string;
  scope: 'head' | 'all';
  learningRate: number;
  /** Steps taken, and after how many the best weights were found (0: none beat the base). */
  steps: number;
  bestStep: number;
  /** Mean quantile loss on the tails, in the network's units: of the base and of the best weights found. */
  tailLoss: { base: number; tuned: number };
  /** Whether the new weights beat the base and were written. */
  kept: boolean;
  series: number;
  /** Series whose tails were judged, and values in these tails. */
  judged: { series: number; values: number };
  curve: { step: number; loss: number; tail: number }[];
  seconds: number;
  device: string;
}

/** Checks of the tails in a run, and how many without improvement end it. */
const CHECKS = 25;
const PATIENCE = 6;
/** Tokens in one batch: what a GPU and what a CPU does in a fraction of a second. */
const TOKENS = { webgpu: 4608, wasm: 1152, reference: 288 };

/**
 * @returns the folder of the new model, or undefined where no weights beat the base on the tails; nothing is left behind
 *   in that case, and none after an error or an abort
 * @throws AdderError `BAD_OPTION`, `NO_MODEL`, `TOO_SHORT`, `NO_TRAINING` (scope `all` without a GPU); the signal's reason
 */
export function fineTune(options: FineTuneOptions): Promise<{ directory: string | undefined; report: FineTuneReport }> {
  return withAdderErrors(() => run(options));
}

async function run(options: FineTuneOptions): Promise<{ directory: string | undefined; report: FineTuneReport }> {
  const { series, scope, signal } = options;
  const learningRate = options.learningRate ?? (scope === 'head' ? 1e-3 : 3e-4);
  check(options, learningRate);
  const folder = modelFolder(options.base);
  const base = readModel(folder);
  const digest = digestOf(base.digest, { ...options, learningRate });
  const name = options.name ?? `${base.name}-${digest}`;
  const directory = options.directory ?? join(tmpdir(), `adder-${process.pid}-${name}`);
  const started = performance.now();
  const own = typeof options.backend === 'object' ? undefined : await openBackend(options.backend);
  const backend = own ?? (options.backend as Backend);
  let learner: Learner | undefined;
  try {
    const data = fineTuneData(series, base.config, TOKENS[backend.name]);
    learner = openLearner(backend, base.config, base.values, scope, data);
    const result = await descend(learner, data, { ...options, learningRate }, Number.parseInt(digest.slice(0, 8), 16));
    const kept = result.values !== undefined;
    const report: FineTuneReport = {
      name,
      base: base.name,
      scope,
      learningRate,
      steps: result.steps,
      bestStep: result.bestStep,
      tailLoss: { base: result.base, tuned: result.best },
      kept,
      series: series.length,
      judged: { series: data.tails.series, values: data.tails.steps },
      curve: result.curve,
      seconds: (performance.now() - started) / 1000,
      device: backend.description,
    };
    signal?.throwIfAborted();
    if (!result.values) return { directory: undefined, report };
    const description = { name, config: base.config, inference: base.inference, report };
    save(directory, folder, description, result.values);
    return { directory, report };
  } finally {
    learner?.free();
    await own?.dispose();
  }
}

function check({ series, steps, directory, scope }: FineTuneOptions, learningRate: number): void {
  const bad = (field: string, message: string, fix: string) =>
    new AdderError({ code: 'BAD_OPTION', message, where: { field }, fix });
  if (series.length === 0) throw bad('series', 'there is no series to learn from', 'give at least one');
  if (!(Number.isInteger(steps) && steps >= 1 && steps <= 100_000)) {
    throw bad('steps', `steps are a whole number from 1 to 100,000, not ${steps}`, 'e.g. 200');
  }
  if (!(learningRate > 0 && learningRate <= 1)) {
    throw bad('learningRate', `a learning rate lies between 0 and 1, not ${learningRate}`, 'e.g. 0.001');
  }
  if (scope !== 'head' && scope !== 'all') throw bad('scope', `the scope is head or all, not ${scope}`, 'use head');
  if (directory !== undefined && existsSync(directory)) {
    throw bad('directory', 'the folder is there already', 'name a new one');
  }
}

/** Names the run by all that it depends on. */
function digestOf(weights: string, { series, steps, scope, learningRate }: FineTuneOptions): string {
  const hash = createHash('sha256').update(JSON.stringify([weights, steps, scope, learningRate]));
  for (const { values, season, frequency } of series) {
    hash.update(JSON.stringify([season, frequency ?? null, values.length]));
    hash.update(new Uint8Array(Float64Array.from(values).buffer));
  }
  return hash.digest('hex').slice(0, 8);
}

type Data = ReturnType<typeof fineTuneData>;

async function descend(
  learner: Learner,
  { corpus, part }: Data,
  { steps, learningRate, signal, progress }: FineTuneOptions & { learningRate: number },
  seed: number,
) {
  const filler = new BatchFiller(corpus, { seed, parts: [part], validation: false });
  const buffers = allocatePart(part);
  const warmup = Math.min(10, Math.floor(steps / 4));
  const schedule = { peak: learningRate, warmup, total: steps, decay: Math.floor(0.3 * steps), floor: 0.05 };
  const every = Math.max(1, Math.round(steps / CHECKS));
  signal?.throwIfAborted();
  const base = await learner.judge();
  const curve = [{ step: 0, loss: Number.NaN, tail: base }];
  let best = base;
  let bestStep = 0;
  let values: Float32Array | undefined;
  let sum = 0;
  let counted = 0;
  let step = 0;
  let behind = 0;
  while (step < steps && behind < PATIENCE) {
    signal?.throwIfAborted();
    for (let shard = 0; shard < shardsOf(part).shards; shard++) filler.fill(buffers, step, 0, shard);
    sum += await learner.step(buffers, step, warmupStableDecay(schedule, step));
    counted++;
    step++;
    if (step % every !== 0 && step < steps) continue;
    const tail = await learner.judge();
    behind++;
    if (tail < best) {
      best = tail;
      bestStep = step;
      values = await learner.values();
      behind = 0;
    }
    curve.push({ step, loss: sum / counted, tail });
    progress?.({ step, steps, loss: sum / counted, tail, base, best });
    sum = 0;
    counted = 0;
  }
  // The first point has no training loss; JSON knows no NaN.
  curve[0]!.loss = curve[1]?.loss ?? 0;
  return { base, best, bestStep, values, curve, steps: step };
}

/** Files of the base that go with any weights made from it. */
const COMPANIONS = ['stack.json'];

/** Writes the model beside its place and moves it there, so that it is whole or absent. */
function save(
  directory: string,
  base: string,
  {
    name,
    config,
    inference,
    report,
  }: Pick<ReturnType<typeof readModel>, 'name' | 'config' | 'inference'> & { report: FineTuneReport },
  values: Float32Array,
): void {
  const draft = `${directory}.draft-${process.pid}`;
  try {
    mkdirSync(dirname(directory), { recursive: true });
    writeModel(draft, { name, config, values, inference }, { fineTuned: report });
    for (const companion of COMPANIONS) {
      if (existsSync(join(base, companion))) writeFileSync(join(draft, companion), readFileSync(join(base, companion)));
    }
    renameSync(draft, directory);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}
