import { appendFileSync } from 'node:fs';
import type { Progress } from './loop.js';

export type LogLine =
  | ({ kind: 'progress' } & Progress)
  | { kind: 'validation'; step: number; seconds: number; loss: Record<string, number> }
  | { kind: 'start'; step: number; date: string; device: string; parameters: number; launches: number };

/** The log of a run: a line of JSON for every report. */
export class RunLog {
  constructor(private readonly file: string) {}

  add(line: LogLine): void {
    appendFileSync(this.file, `${JSON.stringify(line)}\n`);
  }
}
