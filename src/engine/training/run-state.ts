/** What a training run is told, what it remembers, and whether a checkpoint belongs to it. */
import type { NumericArray } from '../backend.js';
import { EngineError } from '../errors.js';
import type { Precision } from '../kernels.js';
import { type AdamWOptions, ARENAS, type ArenaName } from './adamw.js';
import type { ParameterLayout } from './arena.js';
import type { CheckpointContent } from './checkpoint.js';
import type { WarmupStableDecay } from './schedule.js';

/** What driving a run needs to know; the configuration of a run says more. */
export interface RunConfig {
  optimiser: AdamWOptions & { learningRate: number };
  /** `decay`: share of all steps; `average`: steps that the averaged weights span, at most. */
  schedule: { steps: number; warmup: number; decay: number; floor: number; average: number };
  precision: Precision;
  /** Steps between validations. */
  validation: { every: number };
  /** Seconds between checkpoints. */
  checkpointSeconds: number;
}

/** What a checkpoint says besides the arrays. */
export interface RunState<Config extends RunConfig> {
  config: Config;
  /** Names, shapes and places of the parameters. */
  layout: string;
  /** Optimiser steps done, skipped ones included. */
  step: number;
  /** Steps of the whole run. */
  total: number;
  skipped: number;
  /** Spent in earlier sessions of the run. */
  seconds: number;
  /** What a trainer must remember besides. */
  task?: unknown;
}

/** The schedule of a run of `total` steps; where the warm-up takes more than is left, the decay gives way. */
export function scheduleOf({ optimiser, schedule }: RunConfig, total: number): WarmupStableDecay {
  const { warmup, floor } = schedule;
  const decay = Math.min(Math.floor(schedule.decay * total), total - Math.min(warmup, total));
  return { peak: optimiser.learningRate, warmup, total, decay, floor };
}

/**
 * The state and the arrays to continue from.
 *
 * @param fixed fields of the configuration that must not change between the sessions of a run
 * @throws EngineError `RESUME_MISMATCH` naming the field
 */
export function resumeRun<Config extends RunConfig>(
  { arrays, run }: CheckpointContent<RunState<Config>>,
  config: Config,
  layout: ParameterLayout,
  fixed: readonly (keyof Config & string)[],
): { state: RunState<Config>; arrays: Record<ArenaName, NumericArray> } {
  const mismatch = (field: string, message: string) =>
    new EngineError({
      code: 'RESUME_MISMATCH',
      message,
      where: { field },
      fix: 'resume with the configuration that the run was started with',
    });
  const before: Partial<Config> = run.config ?? {};
  for (const field of fixed) {
    if (JSON.stringify(before[field]) !== JSON.stringify(config[field])) {
      throw mismatch(field, `${field} differs from the run in the checkpoint`);
    }
  }
  if (run.layout !== layout.describe()) throw mismatch('model', 'the network has changed since the checkpoint');
  for (const name of ARENAS) if (!arrays[name]) throw mismatch(name, `the checkpoint has no ${name}`);
  return { state: { ...run, config }, arrays: arrays as Record<ArenaName, NumericArray> };
}
