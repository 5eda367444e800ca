/**
 * The training loop: batches in, optimiser steps recorded as one plan, figures out.
 *
 * One plan holds the forward and reverse pass of all parts of a batch, the norm and the update, so that a step costs the
 * host a few writes and one replay. The host runs up to `AHEAD` steps ahead of the device; the scalars of a step (losses
 * and the norm of the gradient) are read as they come and tell whether it was skipped.
 *
 * A run is a function of its configuration, its data and the number of steps: stopping and resuming changes nothing.
 */
import type { Backend, NumericArray, Plan } from '../../engine/backend.js';
import { Graph } from '../../engine/graph.js';
import { Random } from '../../engine/random.js';
import type { Tensor } from '../../engine/tensor.js';
import { AdamW, ARENAS, type ArenaName, Scalars } from '../../engine/training/adamw.js';
import { ParameterLayout, TrainableParameters } from '../../engine/training/arena.js';
import type { CheckpointContent } from '../../engine/training/checkpoint.js';
import {
  averagingRate,
  checkSchedule,
  type WarmupStableDecay,
  warmupStableDecay,
} from '../../engine/training/schedule.js';
import { AdderError } from '../../platform/errors.js';
import { modelFolder, readModel } from '../model/load.js';
import { ForecasterNetwork, forecasterParameters } from '../model/network.js';
import { tokensOf } from './batch.js';
import { BatchPool, type BatchPoolOptions } from './batch-pool.js';
import { partOptions, type TrainingConfig } from './config.js';
import type { Corpus } from './corpus.js';
import { PartInputs } from './loss.js';
import { Validation } from './validation.js';

/** Steps the host may be ahead of the device. */
const AHEAD = 2;
/** Consecutive skipped steps after which a run is given up. */
const HOPELESS = 40;
/** With a budget: steps before the speed is measured (pipelines compile in the first), and steps between measurements. */
const MEASURE = { from: 30, every: 100 };

/** What a checkpoint says besides the arrays. */
export interface RunState {
  config: TrainingConfig;
  /** Names, shapes and places of the parameters. */
  layout: string;
  /** Optimiser steps done, skipped ones included. */
  step: number;
  /** Steps of the whole run. */
  total: number;
  skipped: number;
  /** Spent in earlier sessions of the run. */
  seconds: number;
}

/** Means over the steps since the last report. */
export interface Progress {
  step: number;
  total: number;
  seconds: number;
  learningRate: number;
  /** Mean loss by part. */
  loss: Record<string, number>;
  gradientNorm: number;
  /** Tokens a second, padding included, and the share that is not padding. */
  tokensPerSecond: number;
  realTokens: number;
  skipped: number;
  /** Steps that waited for a batch, as a share of the time. */
  waiting: number;
}

export interface TrainerEvents {
  onProgress?(progress: Progress): void;
  onValidation?(step: number, loss: Record<string, number>, seconds: number): void;
  onCheckpoint?(content: CheckpointContent<RunState>): void;
  onTotal?(total: number, secondsPerStep: number): void;
}

export interface RunOptions extends TrainerEvents {
  /** Asked before every step. */
  stop?: () => boolean;
  /** Seconds that the whole run may take: until the learning rate falls, the number of steps is fitted to the speed. */
  budgetSeconds?: number;
  /** Seconds between reports. */
  reportSeconds?: number;
  /** How batches are made. */
  batches: BatchPoolOptions;
}

export class Trainer {
  readonly layout: ParameterLayout;
  private readonly model: TrainableParameters;
  private readonly optimiser: AdamW;
  private readonly scalars: Scalars;
  private readonly inputs: PartInputs[];
  private readonly plan: Plan<undefined>;
  private readonly levels: Tensor;
  private readonly validation: Validation;
  private state: RunState;

  constructor(
    private readonly backend: Backend,
    private readonly corpus: Corpus,
    readonly config: TrainingConfig,
    resume?: CheckpointContent<RunState>,
  ) {
    const { model, optimiser, precision, recompute, schedule } = config;
    this.layout = new ParameterLayout(forecasterParameters(model));
    this.model = new TrainableParameters(backend, this.layout);
    this.optimiser = new AdamW(backend, this.model, optimiser);
    this.levels = backend.alloc([model.levels.length]);
    backend.write(this.levels, model.levels);
    const parts = partOptions(config);
    this.inputs = parts.map((part) => new PartInputs(backend, part, model));
    this.scalars = new Scalars(backend, parts.length + 1);
    if (resume) {
      this.state = checkResume(resume, config, this.layout);
      this.optimiser.restore(resume.arrays as Record<ArenaName, NumericArray>);
    } else {
      const total = schedule.steps;
      this.state = { config, layout: this.layout.describe(), step: 0, total, skipped: 0, seconds: 0 };
      this.optimiser.start(initialValues(config, this.layout));
    }
    checkSchedule(this.schedule);
    const network = new ForecasterNetwork(model, this.model.weights);
    this.plan = backend.record(() => {
      const g = new Graph(backend, { train: true, precision, recompute });
      this.model.register(g);
      this.inputs.forEach((inputs, i) => {
        const loss = inputs.loss(g, network, this.levels);
        backend.kernels.copy(this.scalars.at(i), loss);
        g.release(loss);
      });
      g.backward();
      this.optimiser.record(this.scalars.at(parts.length));
      return undefined;
    });
    const held = parts.map((part, i) => ({
      ...part,
      name: config.batch.parts[i]!.name,
      windows: Math.min(part.windows, config.validation.windows),
    }));
    this.validation = new Validation(backend, corpus, held, {
      config: model,
      weights: this.optimiser.average.weights,
      levels: this.levels,
      precision,
    });
  }

  get step(): number {
    return this.state.step;
  }

  get total(): number {
    return this.state.total;
  }

  get seconds(): number {
    return this.state.seconds;
  }

  get skipped(): number {
    return this.state.skipped;
  }

  /** Launches in one step and bytes of device memory in use, for logs. */
  describe(): { commands: number; bytes: number } {
    return { commands: this.plan.commands, bytes: this.backend.memory.bytes };
  }

  private get schedule(): WarmupStableDecay {
    const { total } = this.state;
    const { warmup, decay, floor } = this.config.schedule;
    return {
      peak: this.config.optimiser.learningRate,
      warmup,
      total,
      decay: Math.min(Math.floor(decay * total), total - Math.min(warmup, total)),
      floor,
    };
  }

  /** Trains until all steps are done or `stop` says so; a checkpoint is given out in either case. */
  async run(options: RunOptions): Promise<'finished' | 'stopped'> {
    const { stop = () => false, onProgress, onValidation, onCheckpoint, reportSeconds = 2 } = options;
    const { config, state } = this;
    const parts = partOptions(config);
    const positions = parts.reduce((sum, part) => sum + part.windows * tokensOf(part), 0);
    const pool = new BatchPool(
      this.corpus,
      { seed: config.seed, parts, validation: false },
      state.step,
      options.batches,
    );
    const now = () => performance.now() / 1000;
    const started = now();
    const before = state.seconds;
    const clock = () => before + now() - started;
    const tally = new Tally(config.batch.parts.map((part) => part.name));
    const pending: Promise<void>[] = [];
    let reported = now();
    let saved = now();
    let waited = 0;
    let consecutive = 0;
    let measured: { step: number; at: number } | undefined;
    const settle = async (leave: number) => {
      while (pending.length > leave) await pending.shift();
    };
    try {
      while (state.step < state.total && !stop()) {
        const asked = now();
        const batch = await pool.next();
        waited += now() - asked;
        let real = 0;
        this.inputs.forEach((inputs, i) => {
          real += inputs.write(batch.parts[i]!, config.optimiser.lossScale * config.batch.parts[i]!.weight);
        });
        pool.release();
        const { schedule } = this;
        const learningRate = warmupStableDecay(schedule, state.step);
        const from = schedule.total - schedule.decay;
        this.optimiser.prepare(state.step, learningRate, averagingRate(state.step, from, config.schedule.average));
        this.plan.run();
        const read = this.scalars.read().then((values) => {
          const finite = Number.isFinite(values[parts.length]!);
          if (!finite) state.skipped++;
          consecutive = finite ? 0 : consecutive + 1;
          tally.add(this.unscaled(values), finite, real);
        });
        // Awaited below, a few steps later; until then a failure has a handler.
        read.catch(() => undefined);
        pending.push(read);
        state.step++;
        await settle(AHEAD);
        if (consecutive >= HOPELESS) throw diverged(state.step);

        const falling = state.step >= this.schedule.total - this.schedule.decay;
        if (options.budgetSeconds !== undefined && !falling && state.step % MEASURE.every === MEASURE.from) {
          await settle(0);
          if (measured) {
            const each = (now() - measured.at) / (state.step - measured.step);
            this.fitTotal(options.budgetSeconds, clock(), each);
            options.onTotal?.(state.total, each);
          }
          measured = { step: state.step, at: now() };
        }
        if (now() - reported >= reportSeconds && tally.steps > 0) {
          const span = now() - reported;
          const shares = { tokensPerSecond: (tally.steps * positions) / span, waiting: waited / span };
          onProgress?.({ ...this.progress(clock(), learningRate), ...tally.take(positions), ...shares });
          reported = now();
          waited = 0;
        }
        const last = state.step === state.total;
        if (state.step % config.validation.every === 0 || last) {
          await settle(0);
          onValidation?.(state.step, await this.validation.run(), clock());
        }
        if (onCheckpoint && now() - saved >= config.checkpointSeconds && !last) {
          await settle(0);
          state.seconds = clock();
          onCheckpoint(await this.checkpoint());
          saved = now();
        }
      }
      await settle(0);
      state.seconds = clock();
      onCheckpoint?.(await this.checkpoint());
      return state.step >= state.total ? 'finished' : 'stopped';
    } finally {
      await pool.close();
    }
  }

  /** Losses by part and the norm of the gradient, without the loss scale. */
  private unscaled(values: NumericArray): number[] {
    const { lossScale } = this.config.optimiser;
    const { parts } = this.config.batch;
    return Array.from(values, (v, i) =>
      i < parts.length ? v / (lossScale * parts[i]!.weight) : Math.sqrt(v) / lossScale,
    );
  }

  private progress(seconds: number, learningRate: number) {
    const { step, total, skipped } = this.state;
    return { step, total, seconds, learningRate, skipped };
  }

  /** As many steps as the budget allows, at the speed that was measured; validation and checkpoints take some 2 %. */
  private fitTotal(budget: number, elapsed: number, secondsPerStep: number): void {
    const { warmup } = this.config.schedule;
    const left = Math.floor((0.98 * (budget - elapsed)) / secondsPerStep);
    this.state.total = Math.max(this.state.step + Math.max(1, left), warmup + 1);
    checkSchedule(this.schedule);
  }

  async checkpoint(): Promise<CheckpointContent<RunState>> {
    return { arrays: await this.optimiser.snapshot(), run: { ...this.state } };
  }

  /** The averaged weights, and the loss they and the last ones have on the held-out series. */
  async result(): Promise<{ values: NumericArray; loss: Record<string, number> }> {
    return { values: await this.optimiser.average.read(), loss: await this.validation.run() };
  }

  free(): void {
    this.plan.dispose();
    this.validation.free();
    this.scalars.free();
    for (const inputs of this.inputs) inputs.free();
    this.optimiser.free();
    this.model.free();
    this.backend.free(this.levels);
  }
}

/** Sums of what the steps since the last report said. */
class Tally {
  private sums: number[];
  private counted = 0;
  private real = 0;
  steps = 0;

  constructor(private readonly names: string[]) {
    this.sums = new Array(names.length + 1).fill(0);
  }

  add(values: number[], finite: boolean, real: number): void {
    this.steps++;
    this.real += real;
    if (!finite) return;
    this.counted++;
    values.forEach((v, i) => {
      this.sums[i]! += v;
    });
  }

  take(positions: number): Pick<Progress, 'loss' | 'gradientNorm' | 'realTokens'> {
    const mean = this.sums.map((s) => s / this.counted);
    const result = {
      loss: Object.fromEntries(this.names.map((name, i) => [name, mean[i]!])),
      gradientNorm: mean[this.names.length]!,
      realTokens: this.real / (this.steps * positions),
    };
    this.sums.fill(0);
    this.counted = 0;
    this.real = 0;
    this.steps = 0;
    return result;
  }
}

/** Weights to start from, in arena layout. @throws AdderError `BAD_CONFIG` if `initial` is a model of another shape */
function initialValues({ initial, seed }: TrainingConfig, layout: ParameterLayout): Float32Array {
  if (initial === undefined) return layout.initial(new Random(seed));
  const given = readModel(modelFolder(initial));
  if (new ParameterLayout(forecasterParameters(given.config)).describe() === layout.describe()) return given.values;
  throw new AdderError({
    code: 'BAD_CONFIG',
    message: `${given.name} has other parameters than "model" asks for`,
    where: { field: 'initial' },
    fix: 'use the shape of that model, or start without it',
  });
}

function diverged(step: number): AdderError {
  return new AdderError({
    code: 'DIVERGED',
    message: `no gradient has been finite in the ${HOPELESS} steps before step ${step}`,
    fix: 'lower learningRate or lossScale, or use precision f32',
  });
}

/** What must not change between the sessions of a run. */
const FIXED = ['seed', 'exclude', 'model', 'batch', 'optimiser', 'precision'] as const;

function checkResume(
  { arrays, run }: CheckpointContent<RunState>,
  config: TrainingConfig,
  layout: ParameterLayout,
): RunState {
  const mismatch = (field: string, message: string) =>
    new AdderError({
      code: 'RESUME_MISMATCH',
      message,
      where: { field },
      fix: 'resume with the configuration that the run was started with',
    });
  for (const field of FIXED) {
    if (JSON.stringify(run.config?.[field]) !== JSON.stringify(config[field])) {
      throw mismatch(field, `${field} differs from the run in the checkpoint`);
    }
  }
  if (run.layout !== layout.describe()) throw mismatch('model', 'the network has changed since the checkpoint');
  for (const name of ARENAS) {
    if (!arrays[name]) throw mismatch(name, `the checkpoint has no ${name}`);
  }
  return { ...run, config };
}
