/** The training of forecasters: batches of windows in parts, the loss of each part, and what is held out. */
import type { Backend } from '../../engine/backend.js';
import { Random } from '../../engine/random.js';
import type { Tensor } from '../../engine/tensor.js';
import { ParameterLayout } from '../../engine/training/arena.js';
import type { CheckpointContent } from '../../engine/training/checkpoint.js';
import * as engine from '../../engine/training/run.js';
import type * as state from '../../engine/training/run-state.js';
import { AdderError } from '../../platform/errors.js';
import { modelFolder, readModel } from '../model/load.js';
import { ForecasterNetwork, forecasterParameters } from '../model/network.js';
import { type PartOptions, tokensOf } from './batch.js';
import { BatchPool, type BatchPoolOptions } from './batch-pool.js';
import { partOptions, type TrainingConfig } from './config.js';
import type { Corpus } from './corpus.js';
import { PartInputs } from './loss.js';
import { Validation } from './validation.js';

export type RunState = state.RunState<TrainingConfig>;

/** Means over the steps since the last report, losses by part. */
export interface Progress extends engine.RunProgress {
  /** Tokens a second, padding included, and the share that is not padding. */
  tokensPerSecond: number;
  realTokens: number;
  /** Steps that waited for a batch, as a share of the time. */
  waiting: number;
}

export interface RunOptions extends engine.RunOptions<TrainingConfig, Progress> {
  /** How batches are made. */
  batches: BatchPoolOptions;
}

/** What must not change between the sessions of a run. */
const FIXED = ['seed', 'exclude', 'model', 'batch', 'optimiser', 'precision'] as const;

export class Trainer extends engine.TrainingRun<TrainingConfig> {
  private readonly parts: PartOptions[];
  private readonly inputs: PartInputs[];
  private readonly levels: Tensor;
  private readonly validation: Validation;
  private pool: BatchPool | undefined;
  /** Seconds spent waiting for batches since the last report. */
  private waited = 0;

  constructor(
    backend: Backend,
    private readonly corpus: Corpus,
    config: TrainingConfig,
    resume?: CheckpointContent<RunState>,
  ) {
    const { model, precision, recompute } = config;
    const parts = partOptions(config);
    const layout = new ParameterLayout(forecasterParameters(model));
    super(backend, config, {
      layout,
      start: resume ?? initialValues(config, layout),
      fixed: FIXED,
      recompute,
      measureFrom: 30,
      budgetShare: 0.98,
    });
    this.parts = parts;
    this.levels = backend.alloc([model.levels.length]);
    backend.write(this.levels, model.levels);
    this.inputs = parts.map((part) => new PartInputs(backend, part, model));
    this.record(parts.length, (g, weights, figures) => {
      const network = new ForecasterNetwork(model, weights);
      this.inputs.forEach((inputs, i) => {
        const loss = inputs.loss(g, network, this.levels);
        backend.kernels.copy(figures.at(i), loss);
        g.release(loss);
      });
    });
    const held = parts.map((part, i) => ({
      ...part,
      name: config.batch.parts[i]!.name,
      windows: Math.min(part.windows, config.validation.windows),
    }));
    this.validation = new Validation(backend, corpus, held, {
      config: model,
      weights: this.average,
      levels: this.levels,
      precision,
    });
  }

  /** Trains until all steps are done or `stop` says so; a checkpoint is given out in either case. */
  async run({ batches, onProgress, ...options }: RunOptions): Promise<'finished' | 'stopped'> {
    const { parts } = this;
    const positions = parts.reduce((sum, part) => sum + part.windows * tokensOf(part), 0);
    const pool = new BatchPool(this.corpus, { seed: this.config.seed, parts, validation: false }, this.step, batches);
    this.pool = pool;
    try {
      return await this.drive(options, (progress, { steps, items, seconds }) => {
        const [tokensPerSecond, realTokens] = [(steps * positions) / seconds, items / (steps * positions)];
        onProgress?.({ ...progress, tokensPerSecond, realTokens, waiting: this.waited / seconds });
        this.waited = 0;
      });
    } finally {
      await pool.close();
    }
  }

  /** Returns the tokens that are not padding. */
  protected async load(): Promise<number> {
    const { optimiser, batch: options } = this.config;
    const asked = performance.now();
    const batch = await this.pool!.next();
    this.waited += (performance.now() - asked) / 1000;
    let real = 0;
    this.inputs.forEach((inputs, i) => {
      real += inputs.write(batch.parts[i]!, optimiser.lossScale * options.parts[i]!.weight);
    });
    this.pool!.release();
    return real;
  }

  protected summary(figures: ArrayLike<number>): Record<string, number> {
    const { batch, optimiser } = this.config;
    return Object.fromEntries(
      batch.parts.map(({ name, weight }, i) => [name, figures[i]! / (optimiser.lossScale * weight)]),
    );
  }

  protected validate(): Promise<Record<string, number>> {
    return this.validation.run();
  }

  override free(): void {
    this.validation.free();
    for (const inputs of this.inputs) inputs.free();
    super.free();
    this.backend.free(this.levels);
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
