/**
 * How a training run is driven: optimiser steps recorded as one plan, and what goes on between them.
 *
 * One plan holds the forward and reverse pass, the norm and the update, so that a step costs the host a few writes and one
 * replay. The host runs up to `AHEAD` steps ahead of the device; the scalars of a step (losses and the norm of the
 * gradient) are read as they come and tell whether it was skipped.
 *
 * A trainer brings the data and the loss. A run is a function of its configuration, its data and what was fitted to a
 * budget (which the checkpoint keeps): stopping and resuming changes nothing.
 */
import type { Backend, NumericArray, Plan } from '../backend.js';
import { EngineError } from '../errors.js';
import { Graph } from '../graph.js';
import type { Weights } from '../layers/parameters.js';
import { AdamW, Scalars } from './adamw.js';
import { type ParameterLayout, TrainableParameters } from './arena.js';
import type { CheckpointContent } from './checkpoint.js';
import { type RunConfig, type RunState, resumeRun, scheduleOf } from './run-state.js';
import { averagingRate, checkSchedule, type WarmupStableDecay, warmupStableDecay } from './schedule.js';
import { Tally } from './tally.js';

/** Steps the host may be ahead of the device. */
const AHEAD = 2;
/** Consecutive skipped steps after which a run is given up. */
const HOPELESS = 40;
/** With a budget: steps between measurements of the speed. */
const MEASURE_EVERY = 100;

/** Means over the steps since the last report. */
export interface RunProgress {
  step: number;
  total: number;
  seconds: number;
  learningRate: number;
  loss: Record<string, number>;
  gradientNorm: number;
  skipped: number;
}

/** What a report is about. */
export interface ReportSpan {
  steps: number;
  /** Sum of what `load` said. */
  items: number;
  seconds: number;
}

export interface RunEvents<Config extends RunConfig, Progress = RunProgress> {
  onProgress?(progress: Progress): void;
  onValidation?(step: number, loss: Record<string, number>, seconds: number): void;
  onCheckpoint?(content: CheckpointContent<RunState<Config>>): void;
  onTotal?(total: number, secondsPerStep: number): void;
}

export interface RunOptions<Config extends RunConfig, Progress = RunProgress> extends RunEvents<Config, Progress> {
  /** Asked before every step. */
  stop?: () => boolean;
  /** Seconds that the whole run may take: until the learning rate falls, the number of steps is fitted to the speed. */
  budgetSeconds?: number;
  /** Seconds between reports (2). */
  reportSeconds?: number;
}

export interface RunSettings<Config extends RunConfig> {
  layout: ParameterLayout;
  /** Parameters of a new run, in arena layout, or what to continue from. */
  start: Float32Array | CheckpointContent<RunState<Config>>;
  /** Fields of the configuration that must not change between the sessions of a run. */
  fixed: readonly (keyof Config & string)[];
  recompute: boolean;
  /** Steps before the speed is measured for a budget: pipelines compile in the first. */
  measureFrom: number;
  /** Share of a budget that steps get; validation and checkpoints take the rest. */
  budgetShare: number;
}

export abstract class TrainingRun<Config extends RunConfig> {
  readonly layout: ParameterLayout;
  protected readonly state: RunState<Config>;
  private readonly model: TrainableParameters;
  private readonly optimiser: AdamW;
  private scalars!: Scalars;
  private plan!: Plan<undefined>;

  /** The constructor of a trainer calls `record`, once its inputs exist. */
  constructor(
    protected readonly backend: Backend,
    readonly config: Config,
    private readonly settings: RunSettings<Config>,
  ) {
    const { layout, start, fixed } = settings;
    this.layout = layout;
    this.model = new TrainableParameters(backend, layout);
    this.optimiser = new AdamW(backend, this.model, config.optimiser);
    if ('arrays' in start) {
      const { state, arrays } = resumeRun(start, config, layout, fixed);
      this.state = state;
      this.optimiser.restore(arrays);
    } else {
      const total = config.schedule.steps;
      this.state = { config, layout: layout.describe(), step: 0, total, skipped: 0, seconds: 0 };
      this.optimiser.start(start);
    }
    checkSchedule(this.schedule);
  }

  /** Write the inputs of a step; returns how much it holds, in whatever the trainer counts. */
  protected abstract load(step: number): Promise<number>;
  /** Mean losses by name from what a step reported. */
  protected abstract summary(figures: ArrayLike<number>): Record<string, number>;
  /** Mean losses on data held out, by the averaged weights. */
  protected abstract validate(): Promise<Record<string, number>>;

  /**
   * Records the step.
   *
   * @param count numbers that a step reports
   * @param forward goes up to the seeds of the gradients and fills them
   */
  protected record(count: number, forward: (g: Graph, weights: Weights, figures: Scalars) => void): void {
    const { backend, model } = this;
    // The norm rides along at the end, so that one read brings back a step.
    const scalars = new Scalars(backend, count + 1);
    this.scalars = scalars;
    this.plan = backend.record(() => {
      const g = new Graph(backend, {
        train: true,
        precision: this.config.precision,
        recompute: this.settings.recompute,
      });
      model.register(g);
      forward(g, model.weights, scalars);
      g.backward();
      this.optimiser.record(scalars.at(count));
      return undefined;
    });
  }

  /** The averaged weights, for validation. */
  protected get average(): Weights {
    return this.optimiser.average.weights;
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
    return scheduleOf(this.config, this.state.total);
  }

  /**
   * Trains until all steps are done or `stop` says so; a checkpoint is given out in either case.
   *
   * @throws EngineError `DIVERGED` after `HOPELESS` steps in a row without a finite gradient
   */
  protected async drive(
    options: Omit<RunOptions<Config>, 'onProgress'>,
    onProgress?: (progress: RunProgress, span: ReportSpan) => void,
  ): Promise<'finished' | 'stopped'> {
    const { stop = () => false, onValidation, onCheckpoint, budgetSeconds, reportSeconds = 2 } = options;
    const { config, state, scalars } = this;
    const now = () => performance.now() / 1000;
    const started = now();
    const before = state.seconds;
    const clock = () => before + now() - started;
    const tally = new Tally();
    const pending: Promise<void>[] = [];
    const settle = async (leave: number) => {
      while (pending.length > leave) await pending.shift();
    };
    let [reported, saved, consecutive] = [now(), now(), 0];
    let measured: { step: number; at: number } | undefined;
    while (state.step < state.total && !stop()) {
      const items = await this.load(state.step);
      const learningRate = this.replay();
      const read = scalars.read().then((values) => {
        const square = values[scalars.count - 1]!;
        const finite = Number.isFinite(square);
        if (!finite) state.skipped++;
        consecutive = finite ? 0 : consecutive + 1;
        const norm = Math.sqrt(square) / config.optimiser.lossScale;
        tally.add(items, finite ? this.summary(values) : undefined, norm);
      });
      // Awaited below, a few steps later; until then a failure has a handler.
      read.catch(() => undefined);
      pending.push(read);
      state.step++;
      await settle(AHEAD);
      if (consecutive >= HOPELESS) throw diverged(state.step);

      const falling = state.step >= this.schedule.total - this.schedule.decay;
      if (budgetSeconds !== undefined && !falling && state.step % MEASURE_EVERY === this.settings.measureFrom) {
        await settle(0);
        if (measured) {
          const each = (now() - measured.at) / (state.step - measured.step);
          this.fitTotal(budgetSeconds - clock(), each);
          options.onTotal?.(state.total, each);
        }
        measured = { step: state.step, at: now() };
      }
      if (now() - reported >= reportSeconds && tally.steps > 0) {
        const { step, total, skipped } = state;
        const span = { steps: tally.steps, items: tally.items, seconds: now() - reported };
        onProgress?.({ step, total, seconds: clock(), learningRate, skipped, ...tally.take() }, span);
        reported = now();
      }
      const last = state.step === state.total;
      if (state.step % config.validation.every === 0 || last) {
        await settle(0);
        onValidation?.(state.step, await this.validate(), clock());
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
  }

  /** Enqueues the present step; returns its learning rate. */
  private replay(): number {
    const { schedule } = this;
    const { step } = this.state;
    const learningRate = warmupStableDecay(schedule, step);
    const from = schedule.total - schedule.decay;
    this.optimiser.prepare(step, learningRate, averagingRate(step, from, this.config.schedule.average));
    this.plan.run();
    return learningRate;
  }

  /** As many steps as the rest of the budget allows, at the speed that was measured. */
  private fitTotal(secondsLeft: number, secondsPerStep: number): void {
    const left = Math.floor((this.settings.budgetShare * secondsLeft) / secondsPerStep);
    this.state.total = Math.max(this.state.step + Math.max(1, left), this.config.schedule.warmup + 1);
    checkSchedule(this.schedule);
  }

  async checkpoint(): Promise<CheckpointContent<RunState<Config>>> {
    return { arrays: await this.optimiser.snapshot(), run: { ...this.state } };
  }

  /** The averaged weights and what they do on the data held out. */
  async result(): Promise<{ values: NumericArray; loss: Record<string, number> }> {
    return { values: await this.optimiser.average.read(), loss: await this.validate() };
  }

  /** What a model file says of the run that made it. */
  facts(): { finished: boolean; steps: number; skipped: number; seconds: number; parameters: number } {
    const { step, total, skipped, seconds } = this.state;
    const parameters = this.layout.count;
    return { finished: step >= total, steps: step, skipped, seconds: Math.round(seconds), parameters };
  }

  free(): void {
    this.plan.dispose();
    this.scalars.free();
    this.optimiser.free();
    this.model.free();
  }
}

function diverged(step: number): EngineError {
  return new EngineError({
    code: 'DIVERGED',
    message: `no gradient has been finite in the ${HOPELESS} steps before step ${step}`,
    fix: 'lower learningRate or lossScale, or use precision f32',
  });
}
