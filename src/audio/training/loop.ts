/** The training of listening models: a task brings inputs, losses and what is held out; the engine drives the run. */
import type { Backend } from '../../engine/backend.js';
import type { Graph } from '../../engine/graph.js';
import type { ParameterSpec, Weights } from '../../engine/layers/parameters.js';
import { Random } from '../../engine/random.js';
import type { Tensor } from '../../engine/tensor.js';
import { ParameterLayout } from '../../engine/training/arena.js';
import type { CheckpointContent } from '../../engine/training/checkpoint.js';
import * as engine from '../../engine/training/run.js';
import type * as state from '../../engine/training/run-state.js';
import type { ListeningTraining } from './config.js';

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

export type RunState = state.RunState<ListeningTraining>;

/** Means over the steps since the last report. */
export interface Progress extends engine.RunProgress {
  framesPerSecond: number;
  /** Share of the time that went into making and sending inputs. */
  loading: number;
}

/** What may change between the sessions of a run. */
const FREE = ['name', 'data', 'schedule', 'validation', 'checkpointSeconds'];

export class TrainingLoop extends engine.TrainingRun<ListeningTraining> {
  private readonly task: Task;
  /** Seconds spent loading since the last report. */
  private loading = 0;

  /** @param makeTask is given the averaged weights, for validation */
  constructor(
    backend: Backend,
    config: ListeningTraining,
    specs: readonly ParameterSpec[],
    makeTask: (average: Weights) => Task,
    resume?: CheckpointContent<RunState>,
  ) {
    const layout = new ParameterLayout(specs);
    super(backend, config, {
      layout,
      start: resume ?? layout.initial(new Random(config.seed)),
      fixed: (Object.keys(config) as (keyof ListeningTraining)[]).filter((field) => !FREE.includes(field)),
      recompute: false,
      measureFrom: 20,
      budgetShare: 0.97,
    });
    const task = makeTask(this.average);
    this.task = task;
    this.record(task.figures, (g, weights, scalars) => task.record(g, weights, scalars.row(task.figures)));
  }

  /** Trains until all steps are done or `stop` says so; a checkpoint is given out in either case. */
  run({ onProgress, ...options }: engine.RunOptions<ListeningTraining, Progress>): Promise<'finished' | 'stopped'> {
    const onTotal = (total: number, secondsPerStep: number) => {
      this.task.fit?.(this.step, secondsPerStep);
      options.onTotal?.(total, secondsPerStep);
    };
    return this.drive({ ...options, onTotal }, (progress, { items, seconds }) => {
      onProgress?.({ ...progress, framesPerSecond: items / seconds, loading: this.loading / seconds });
      this.loading = 0;
    });
  }

  /** Returns the frames of the step. */
  protected async load(step: number): Promise<number> {
    const asked = performance.now();
    await this.task.load(step);
    this.loading += (performance.now() - asked) / 1000;
    return this.task.frames;
  }

  protected summary(figures: ArrayLike<number>): Record<string, number> {
    return this.task.summary(figures);
  }

  protected validate(): Promise<Record<string, number>> {
    return this.task.validate();
  }

  override async checkpoint(): Promise<CheckpointContent<RunState>> {
    const { arrays, run } = await super.checkpoint();
    return { arrays, run: { ...run, task: this.task.remember?.() } };
  }
}
