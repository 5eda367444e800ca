import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { AdderError } from '../../platform/errors.js';
import { RequestError } from '../../platform/request-error.js';
import { siblingModule } from '../../platform/sibling-module.js';
import type { HearingAnswers, HearingAsk, HearingReply, SentAsk } from './protocol.js';

export interface HearingOptions {
  /** `auto`, `webgpu` or `wasm`. */
  backend: string;
  /** A speech model by name or folder. */
  model: string;
  /** Of the WebAssembly backend, where ADDER_THREADS says nothing; all cores by default. */
  threads?: number;
  /** Told each line that the process writes to standard error. */
  onLine?: (line: string) => void;
  /** Told that a process has ended by itself, and with it all that it held. */
  onLost?: (reason: string) => void;
}

/** The process is killed when an answer takes longer. */
const TIMEOUT_MS = 120_000;
/** How long it may take to let go of its device. */
const GRACE_MS = 5000;

interface Run {
  child: ChildProcess;
  pending: Map<number, { resolve(answer: never): void; reject(error: Error): void; timer: NodeJS.Timeout }>;
}

/**
 * A process that listens, started when it is first asked and again after it has died. The network computes there, on the GPU or
 * in WebAssembly, and never in the event loop that serves HTTP.
 */
export class HearingProcess {
  private run: Run | undefined;
  private nextId = 0;
  private closed = false;

  constructor(private readonly options: HearingOptions) {}

  get pid(): number | undefined {
    return this.run?.child.pid;
  }

  /** One question. @throws AdderErrors of whoever answers; RequestError `LISTENER_LOST` when the process ends before */
  ask<A extends HearingAsk>(ask: A, timeoutMs = TIMEOUT_MS): Promise<HearingAnswers[A['kind']]> {
    if (this.closed) return Promise.reject(lost('it is shutting down'));
    this.run ??= this.start();
    const { child, pending } = this.run;
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
      pending.set(id, { resolve, reject, timer });
      const sent: SentAsk = { ...ask, id };
      // One that cannot be written to is on its way out; its end rejects what it was asked.
      if (child.connected) child.send(sent, (error) => error && child.kill('SIGKILL'));
    });
  }

  /** Ends it at once, with what it was asked. */
  kill(): void {
    this.run?.child.kill('SIGKILL');
  }

  /** Lets it release its device and end. */
  async close(): Promise<void> {
    this.closed = true;
    const child = this.run?.child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    const timer = setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
    if (child.connected) child.disconnect();
    await exited;
    clearTimeout(timer);
  }

  private start(): Run {
    const { file, execArgv } = siblingModule(import.meta.url, './hearing-child.js');
    const { backend, model, threads } = this.options;
    const child = fork(file, [backend, model], {
      serialization: 'advanced',
      env: { ...(threads === undefined ? {} : { ADDER_THREADS: String(threads) }), ...process.env },
      execArgv,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    const run: Run = { child, pending: new Map() };
    let rest = '';
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop()!.slice(-2000);
      for (const line of lines) if (line.trim()) this.options.onLine?.(line);
    });
    child.on('message', (reply: HearingReply) => {
      const entry = run.pending.get(reply.id);
      if (!entry) return;
      run.pending.delete(reply.id);
      clearTimeout(entry.timer);
      if ('error' in reply) entry.reject(new AdderError(reply.error));
      else entry.resolve(reply.answer as never);
    });
    const end = (reason: string) => {
      if (this.run !== run) return;
      this.run = undefined;
      for (const { reject, timer } of run.pending.values()) {
        clearTimeout(timer);
        reject(lost(reason));
      }
      run.pending.clear();
      if (!this.closed) this.options.onLost?.(reason);
    };
    child.on('error', (error) => end(`it cannot be started: ${error.message}`));
    child.on('exit', (code, signal) => end(`it ended (${signal ?? code})`));
    return run;
  }
}

const lost = (reason: string) =>
  new RequestError({
    status: 503,
    code: 'LISTENER_LOST',
    message: `the listening process is gone: ${reason}`,
    fix: 'try again shortly',
    retryAfter: 2,
  });
