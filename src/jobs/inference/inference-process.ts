import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { Ask, Reply } from './protocol.js';

/** The inference process died, was killed by the watchdog, or could not be started. */
export class ProcessEnded extends Error {
  override readonly name = 'ProcessEnded';
}

export interface ProcessOptions {
  file: string;
  execArgv: string[];
  /** `auto`, `webgpu` or `wasm`. */
  backend: string;
  stack: string;
  /** Told each line that the process writes to standard error: drivers speak there. */
  onLine: (line: string) => void;
}

type AskWithoutId = Ask extends infer A ? (A extends Ask ? Omit<A, 'id'> : never) : never;

interface Pending {
  resolve(reply: Reply): void;
  reject(error: Error): void;
}

/** One run of the inference process, from its start to its end. */
export class InferenceProcess {
  private readonly child: ChildProcess;
  private readonly pending = new Map<number, Pending>();
  private nextId = 0;
  private said = '';
  private verdict: string | undefined;
  private over = false;

  constructor(options: ProcessOptions, onEnd: (reason: string) => void) {
    const child = fork(options.file, [options.backend, options.stack], {
      serialization: 'advanced',
      execArgv: options.execArgv,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.child = child;
    let rest = '';
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      this.said = (this.said + chunk).slice(-2000);
      const lines = (rest + chunk).split('\n');
      rest = lines.pop()!.slice(-2000);
      for (const line of lines) if (line.trim()) options.onLine(line);
    });
    child.on('message', (reply: Reply) => this.pending.get(reply.id)?.resolve(reply));
    let ended = false;
    const end = (reason: string) => {
      if (ended) return;
      ended = true;
      this.over = true;
      for (const { reject } of [...this.pending.values()]) reject(new ProcessEnded(reason));
      onEnd(reason);
    };
    child.on('error', (error) => end(`the inference process cannot be started: ${error.message}`));
    child.on('exit', (code, signal) => {
      // Node does not emit `close` after a disconnect of ours, so what it said last is waited for by hand, and not for long:
      // a process of its own might hold the pipe.
      const finish = () => {
        clearTimeout(timer);
        const last = this.said.trim().split('\n').slice(-3).join(' / ');
        end(this.verdict ?? `the inference process ended (${signal ?? code})${last && code !== 0 ? `: ${last}` : ''}`);
      };
      const timer = setTimeout(finish, 500);
      if (child.stderr?.readableEnded !== false) finish();
      else child.stderr.once('end', finish);
    });
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /**
   * One question. Rejects with ProcessEnded when the process ends before the answer; it is killed when the answer takes
   * longer than `timeoutMs`.
   */
  ask(ask: AskWithoutId, timeoutMs: number): Promise<Reply> {
    if (this.over) return Promise.reject(new ProcessEnded('the inference process is gone'));
    const id = this.nextId++;
    return new Promise<Reply>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.verdict = `the inference process did not answer for ${timeoutMs} ms and was ended`;
        this.child.kill('SIGKILL');
      }, timeoutMs);
      const settle = <T>(done: (value: T) => void) => {
        return (value: T) => {
          clearTimeout(timer);
          this.pending.delete(id);
          done(value);
        };
      };
      this.pending.set(id, { resolve: settle(resolve), reject: settle(reject) });
      // A process that cannot be written to is on its way out. Its end rejects what it was asked, and not before: whoever
      // asks again at once would meet the same process.
      const gone = () => this.child.kill('SIGKILL');
      if (!this.child.connected) gone();
      else this.child.send({ ...ask, id } as Ask, (error) => error && gone());
    });
  }

  /** Lets it release its device and end; killed when that takes longer than `graceMs`. */
  async close(graceMs: number): Promise<void> {
    if (this.over || this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exited = once(this.child, 'exit');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), graceMs);
    if (this.child.connected) this.child.disconnect();
    await exited;
    clearTimeout(timer);
  }
}
