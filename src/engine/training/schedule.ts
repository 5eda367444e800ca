/** Learning-rate schedules, counted in optimiser steps. */
import { EngineError } from '../errors.js';

export interface WarmupStableDecay {
  /** Learning rate of the stable phase. */
  peak: number;
  /** Steps in which it rises linearly to `peak`. */
  warmup: number;
  /** All steps. */
  total: number;
  /** Steps at the end in which it falls linearly to `floor · peak`. */
  decay: number;
  /** Share of the peak at the last step. */
  floor: number;
}

/**
 * Learning rate of step 0, 1, … total − 1 (Hu et al. 2024, MiniCPM): rising from peak/warmup, stable, falling. Step
 * total − 1 has `floor · peak`; later steps stay there.
 */
export function warmupStableDecay(schedule: WarmupStableDecay, step: number): number {
  const { peak, warmup, total, decay, floor } = schedule;
  const rise = warmup > 0 ? Math.min(1, (step + 1) / warmup) : 1;
  const remaining = total - 1 - step;
  const fall = remaining >= decay ? 1 : decay > 0 ? floor + (1 - floor) * Math.max(0, remaining / decay) : 1;
  return peak * Math.min(rise, fall);
}

/** @throws EngineError `SCHEDULE` naming the first number that makes no sense. */
export function checkSchedule({ peak, warmup, total, decay, floor }: WarmupStableDecay): void {
  const problems: [boolean, string][] = [
    [!(peak > 0 && Number.isFinite(peak)), `a learning rate of ${peak}`],
    [!(Number.isInteger(total) && total >= 1), `${total} steps`],
    [!(Number.isInteger(warmup) && warmup >= 0), `a warm-up of ${warmup} steps`],
    [!(Number.isInteger(decay) && decay >= 0), `a decay of ${decay} steps`],
    [warmup + decay > total, `a warm-up of ${warmup} and a decay of ${decay} steps in ${total} steps`],
    [!(floor >= 0 && floor <= 1), `a final share of ${floor}`],
  ];
  const problem = problems.find(([wrong]) => wrong);
  if (!problem) return;
  throw new EngineError({ code: 'SCHEDULE', message: problem[1], fix: 'correct the schedule in the configuration' });
}

/**
 * How far the averaged weights move towards the current ones at a step: they follow exactly before `from`, then they
 * are a plain mean until it spans `horizon` steps, and an exponential one from there (no bias towards the start).
 */
export function averagingRate(step: number, from: number, horizon: number): number {
  return step < from ? 1 : 1 / Math.min(step - from + 1, horizon);
}
