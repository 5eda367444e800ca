/** The folder of a run: `checkpoints/`, `log.jsonl`; and what people are told while both grow. */
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { EngineError } from '../errors.js';
import {
  type CheckpointContent,
  latestCheckpoint,
  pruneCheckpoints,
  readCheckpoint,
  writeCheckpoint,
} from './checkpoint.js';
import type { RunEvents, RunProgress, TrainingRun } from './run.js';
import type { RunConfig } from './run-state.js';

const CHECKPOINTS = 'checkpoints';

/** One line of log.jsonl. */
export type LogLine<Progress extends RunProgress = RunProgress> =
  | ({ kind: 'progress' } & Progress)
  | { kind: 'validation'; step: number; seconds: number; loss: Record<string, number> }
  | { kind: 'start'; step: number; date: string; device: string; parameters: number; launches: number };

export const logOf = (folder: string) => join(folder, 'log.jsonl');

/**
 * The newest checkpoint of a run's folder, or the one that `folder` is or holds.
 *
 * @throws EngineError `NO_CHECKPOINT`, and what `readCheckpoint` throws
 */
export function readResume<Run>(folder: string): CheckpointContent<Run> {
  const found = latestCheckpoint(join(folder, CHECKPOINTS)) ?? latestCheckpoint(folder);
  if (found) return readCheckpoint<Run>(found);
  throw new EngineError({
    code: 'NO_CHECKPOINT',
    message: 'there is no checkpoint to resume from',
    where: { file: folder },
    fix: 'name the folder of a run, or one of its checkpoints',
  });
}

/**
 * Makes the folder of a run, logs that it starts, and returns what logs, keeps and tells the rest of it. The newest two
 * checkpoints are kept.
 *
 * @param device what runs it, in words
 * @param tell what people read: the reports, and a line for everything else
 */
export function recordRun<Config extends RunConfig, Progress extends RunProgress>(
  folder: string,
  run: TrainingRun<Config>,
  device: string,
  tell: { line(text: string): void; progress(progress: Progress): void },
): Required<RunEvents<Config, Progress>> & { date: string } {
  const checkpoints = join(folder, CHECKPOINTS);
  mkdirSync(checkpoints, { recursive: true });
  const log = (line: LogLine<Progress>) => appendFileSync(logOf(folder), `${JSON.stringify(line)}\n`);
  const date = new Date().toISOString();
  const launches = run.describe().commands;
  log({ kind: 'start', step: run.step, date, device, parameters: run.layout.count, launches });
  return {
    date,
    onProgress(progress) {
      log({ kind: 'progress', ...progress });
      tell.progress(progress);
    },
    onValidation(step, loss, seconds) {
      log({ kind: 'validation', step, seconds, loss });
      tell.line(`step ${step} held out: ${lossText(loss)}`);
    },
    onTotal: (total, each) => tell.line(`${(1000 * each).toFixed(1)} ms a step: ${total} steps fit the budget`),
    onCheckpoint(content) {
      writeCheckpoint(join(checkpoints, `step-${content.run.step}`), content);
      pruneCheckpoints(checkpoints, 2);
    },
  };
}

/** Losses by name, for people. */
export function lossText(loss: Record<string, number>): string {
  return Object.entries(loss)
    .map(([name, value]) => `${name} ${value.toFixed(4)}`)
    .join('  ');
}

/** The end of a progress line; `idle` is the share of the time that steps waited for their inputs, in words. */
export function progressText(p: RunProgress, idle: string): string {
  // A guess from this run's own pace, which skips no step.
  const left = Math.round(p.step > 0 ? ((p.total - p.step) * p.seconds) / p.step : 0);
  const eta = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, '0')}`;
  const skipped = p.skipped > 0 ? `  skipped ${p.skipped}` : '';
  return `|g| ${p.gradientNorm.toFixed(2)}  lr ${p.learningRate.toExponential(1)}  ${idle}${skipped}  ETA ${eta}`;
}
