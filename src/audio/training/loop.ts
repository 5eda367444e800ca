/**
 * The training loop of listening models: inputs in, optimiser steps recorded as one plan, figures out.
 *
 * A task brings the data and the loss; the loop owns parameters, optimiser, schedule, checkpoints and the clock. The host
 * runs up to `AHEAD` steps ahead of the device. A run is a function of its configuration, its data and what was fitted to
 * a budget (which the checkpoint keeps): stopping and resuming changes nothing.
 */
import type { Backend, NumericArray, Plan } from '../../engine/backend.js';
import { Graph } from '../../engine/graph.js';
import type { ParameterSpec, Weights } from '../../engine/layers/parameters.js';
import { Random } from '../../engine/random.js';
import { columns, type Tensor } from '../../engine/tensor.js';
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
import type { ListeningTraining } from './config.js';

/** Steps the host may be ahead of the device. */
const AHEAD = 2;
/** Consecutive skipped steps after which a run is given up. */
const HOPELESS = 40;
/** With a budget: steps before the speed is measured (pipelines compile in the first), and steps between measurements. */
const MEASURE = { from: 20, every: 100 };

/** What is trained: data in, a loss, and what it did on data held out. */
export interface Task {
  /** Numbers that a step reports, see `summary`. */
  readonly figures: number;
  /** Frames of a step. */
  readonly frames: number;
  /** Record forward and reverse pass up to the gradients' seeds; `figures` [1, n] receives the step's numbers. */
  record(g: Graph, weights: Weights, figures: Tensor): void;
  /** Write the inputs of a step. */
  load(step: number): Promise<void>;
  /** Mean losses by name from the figures. */
  summary(figures: ArrayLike<number>): Record<string, number>;
  /** Called whenever the speed has been measured, where a budget is given. */
  fit?(step: number, secondsPerStep: number): void;
  /** What the task must remember besides the step. */
  remember?(): unknown;
  validate(): Promise<Record<string, number>>;
}

/** What a checkpoint says besides the arrays. */
export interface RunState {
  config: ListeningTraining;
  /** Names, shapes and places of the parameters. */
  layout: string;
  step: number;
  total: number;
  skipped: number;
  /** Spent in earlier sessions of the run. */
  seconds: number;
  task: unknown;
}

/** Means over the steps since the last report. */
export interface Progress {
  step: number;
  total: number;
  seconds: number;
  learningRate: number;
  loss: Record<string, number>;
  gradientNorm: number;
  framesPerSecond: number;
  skipped: number;
  /** Share of the time that went into making and sending inputs. */
  loading: number;
}

export interface RunOptions {
  /** Asked before every step. */
  stop?: () => boolean;
  /** Seconds that the whole run may take: until the learning rate falls, the number of steps is fitted to the speed. */
  budgetSeconds?: number;
  onProgress?(progress: Progress): void;
  onValidation?(step: number, loss: Record<string, number>, seconds: number): void;
  onCheckpoint?(content: CheckpointContent<RunState>): void;
  onTotal?(total: number, secondsPerStep: number): void;
}

export class TrainingLoop {
  readonly layout: ParameterLayout;
  private readonly model: TrainableParameters;
  private readonly optimiser: AdamW;
  private readonly norm: Scalars;
  private readonly figures: Tensor;
  private readonly plan: Plan<undefined>;
  private readonly task: Task;
  private state: RunState;

  /** @param makeTask is given the averaged weights, for validation, and what `remember` gave in the run that is resumed */
  constructor(
    private readonly backend: Backend,
    readonly config: ListeningTraining,
    specs: readonly ParameterSpec[],
    makeTask: (average: Weights, remembered: unknown) => Task,
    resume?: CheckpointContent<RunState>,
  ) {
    this.layout = new ParameterLayout(specs);
    this.model = new TrainableParameters(backend, this.layout);
    this.optimiser = new AdamW(backend, this.model, config.optimiser);
    this.norm = new Scalars(backend, 1);
    if (resume) {
      this.state = checkResume(resume, config, this.layout);
      this.optimiser.restore(resume.arrays as Record<ArenaName, NumericArray>);
    } else {
      const layout = this.layout.describe();
      this.state = { config, layout, step: 0, total: config.schedule.steps, skipped: 0, seconds: 0, task: undefined };
      this.optimiser.start(this.layout.initial(new Random(config.seed)));
    }
    checkSchedule(this.schedule);
    this.task = makeTask(this.optimiser.average.weights, this.state.task);
    // The norm rides along in the last column, so that one read brings back a step.
    this.figures = backend.alloc([1, this.task.figures + 1]);
    this.plan = backend.record(() => {
      const g = new Graph(backend, { train: true, precision: config.precision, recompute: false });
      this.model.register(g);
      this.task.record(g, this.model.weights, columns(this.figures, 0, this.task.figures));
      g.backward();
      this.optimiser.record(this.norm.at(0));
      backend.kernels.copy(columns(this.figures, this.task.figures, this.task.figures + 1), this.norm.tensor);
      return undefined;
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
    const falling = Math.min(Math.floor(decay * total), total - Math.min(warmup, total));
    return { peak: this.config.optimiser.learningRate, warmup, total, decay: falling, floor };
  }

  /** Trains until all steps are done or `stop` says so; a checkpoint is given out in either case. */
  async run(options: RunOptions): Promise<'finished' | 'stopped'> {
    const { stop = () => false, budgetSeconds } = options;
    const { config, state, task } = this;
    const now = () => performance.now() / 1000;
    const started = now();
    const before = state.seconds;
    const clock = () => before + now() - started;
    const tally = new Tally();
    const pending: Promise<void>[] = [];
    const settle = async (leave: number) => {
      while (pending.length > leave) await pending.shift();
    };
    let [reported, saved, loading, consecutive] = [now(), now(), 0, 0];
    let measured: { step: number; at: number } | undefined;
    while (state.step < state.total && !stop()) {
      const asked = now();
      await task.load(state.step);
      loading += now() - asked;
      const { schedule } = this;
      const learningRate = warmupStableDecay(schedule, state.step);
      const from = schedule.total - schedule.decay;
      this.optimiser.prepare(state.step, learningRate, averagingRate(state.step, from, config.schedule.average));
      this.plan.run();
      const read = this.backend.read(this.figures).then((values) => {
        const square = values[task.figures];
        const finite = Number.isFinite(square);
        if (!finite) state.skipped++;
        consecutive = finite ? 0 : consecutive + 1;
        tally.add(finite ? task.summary(values) : undefined, Math.sqrt(square) / config.optimiser.lossScale);
      });
      // Awaited below, a few steps later; until then a failure has a handler.
      read.catch(() => undefined);
      pending.push(read);
      state.step++;
      await settle(AHEAD);
      if (consecutive >= HOPELESS) throw diverged(state.step);

      const falling = state.step >= this.schedule.total - this.schedule.decay;
      if (budgetSeconds !== undefined && !falling && state.step % MEASURE.every === MEASURE.from) {
        await settle(0);
        if (measured) {
          const each = (now() - measured.at) / (state.step - measured.step);
          this.fitTotal(budgetSeconds, clock(), each);
          task.fit?.(state.step, each);
          options.onTotal?.(state.total, each);
        }
        measured = { step: state.step, at: now() };
      }
      if (now() - reported >= 2 && tally.steps > 0) {
        const span = now() - reported;
        const { step, total, skipped } = state;
        const rates = { framesPerSecond: (tally.steps * task.frames) / span, loading: loading / span };
        options.onProgress?.({ step, total, seconds: clock(), learningRate, skipped, ...rates, ...tally.take() });
        reported = now();
        loading = 0;
      }
      const last = state.step === state.total;
      if (state.step % config.validation.every === 0 || last) {
        await settle(0);
        options.onValidation?.(state.step, await task.validate(), clock());
      }
      if (options.onCheckpoint && now() - saved >= config.checkpointSeconds && !last) {
        await settle(0);
        state.seconds = clock();
        options.onCheckpoint(await this.checkpoint());
        saved = now();
      }
    }
    await settle(0);
    state.seconds = clock();
    options.onCheckpoint?.(await this.checkpoint());
    return state.step >= state.total ? 'finished' : 'stopped';
  }

  /** As many steps as the budget allows, at the speed that was measured; validation and checkpoints take some 3 %. */
  private fitTotal(budget: number, elapsed: number, secondsPerStep: number): void {
    const left = Math.floor((0.97 * (budget - elapsed)) / secondsPerStep);
    this.state.total = Math.max(this.state.step + Math.max(1, left), this.config.schedule.warmup + 1);
    checkSchedule(this.schedule);
  }

  async checkpoint(): Promise<CheckpointContent<RunState>> {
    return { arrays: await this.optimiser.snapshot(), run: { ...this.state, task: this.task.remember?.() } };
  }

  /** The averaged weights and what they do on the data held out. */
  async result(): Promise<{ values: NumericArray; loss: Record<string, number> }> {
    return { values: await this.optimiser.average.read(), loss: await this.task.validate() };
  }

  free(): void {
    this.plan.dispose();
    this.norm.free();
    this.backend.free(this.figures);
    this.optimiser.free();
    this.model.free();
  }
}

/** Sums of what the steps since the last report said. */
class Tally {
  private sums: Record<string, number> = {};
  private norm = 0;
  private counted = 0;
  steps = 0;

  add(loss: Record<string, number> | undefined, norm: number): void {
    this.steps++;
    if (!loss) return;
    this.counted++;
    this.norm += norm;
    for (const [name, value] of Object.entries(loss)) this.sums[name] = (this.sums[name] ?? 0) + value;
  }

  take(): Pick<Progress, 'loss' | 'gradientNorm'> {
    const mean = (v: number) => v / this.counted;
    const loss = Object.fromEntries(Object.entries(this.sums).map(([name, v]) => [name, mean(v)]));
    const gradientNorm = mean(this.norm);
    this.sums = {};
    this.norm = 0;
    this.counted = 0;
    this.steps = 0;
    return { loss, gradientNorm };
  }
}

function diverged(step: number): AdderError {
  return new AdderError({
    code: 'DIVERGED',
    message: `no gradient has been finite in the ${HOPELESS} steps before step ${step}`,
    fix: 'lower learningRate or lossScale, or use precision f32',
  });
}

/** What may change between the sessions of a run. */
const FREE = ['name', 'data', 'schedule', 'validation', 'checkpointSeconds'];

function checkResume(
  { arrays, run }: CheckpointContent<RunState>,
  config: ListeningTraining,
  layout: ParameterLayout,
): RunState {
  const mismatch = (field: string, message: string) =>
    new AdderError({
      code: 'RESUME_MISMATCH',
      message,
      where: { field },
      fix: 'resume with the configuration that the run was started with',
    });
  for (const [field, value] of Object.entries(config)) {
    const before = (run.config as Record<string, unknown> | undefined)?.[field];
    if (!FREE.includes(field) && JSON.stringify(before) !== JSON.stringify(value)) {
      throw mismatch(field, `${field} differs from the run in the checkpoint`);
    }
  }
  if (run.layout !== layout.describe()) throw mismatch('model', 'the network has changed since the checkpoint');
  for (const name of ARENAS) if (!arrays[name]) throw mismatch(name, `the checkpoint has no ${name}`);
  return { ...run, config };
}
