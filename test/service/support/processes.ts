import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const LOADER = join(process.cwd(), 'test/service/support/typescript.mjs');

/** What is there but settings of the tests, which the processes under test do not know. */
const ownEnv = () =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ADDER_TEST_')));

/** A child process that runs one of our TypeScript files and tells what it does in lines of JSON. */
export class Helper {
  private readonly lines: unknown[] = [];
  private readonly waiting: (() => void)[] = [];
  private errors = '';
  /** Lines of its log so far, where that is JSON. */
  readonly log: { msg: string; [field: string]: unknown }[] = [];
  readonly exited: Promise<number | null>;

  private constructor(readonly child: ChildProcess) {
    let rest = '';
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      const parts = (rest + chunk).split('\n');
      rest = parts.pop() ?? '';
      for (const line of parts) if (line.startsWith('{')) this.lines.push(JSON.parse(line));
      this.wake();
    });
    let tail = '';
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      this.errors = (this.errors + chunk).slice(-4000);
      const parts = (tail + chunk).split('\n');
      tail = parts.pop() ?? '';
      for (const line of parts) if (line.startsWith('{"level"')) this.log.push(JSON.parse(line));
    });
    this.exited = new Promise((done) => {
      child.once('close', (code) => {
        done(code);
        this.wake();
      });
    });
  }

  /** The end of its standard error so far. */
  get lastWords(): string {
    return this.errors;
  }

  private wake(): void {
    for (const done of this.waiting.splice(0)) done();
  }

  static start(
    file: string,
    args: string[] = [],
    options: { uid?: number; gid?: number; env?: Record<string, string>; cwd?: string } = {},
  ): Helper {
    const { env, ...rest } = options;
    const child = spawn(process.execPath, ['--import', LOADER, join(process.cwd(), file), ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      ...rest,
      env: { ...ownEnv(), NODE_OPTIONS: '', ...env },
    });
    return new Helper(child);
  }

  /** The next line that the helper prints; throws with its standard error when it ends without one. */
  async next<T>(timeoutMs = 60_000): Promise<T> {
    const end = Date.now() + timeoutMs;
    while (this.lines.length === 0) {
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        throw new Error(`the helper ended (${this.child.exitCode ?? this.child.signalCode}): ${this.errors}`);
      }
      if (Date.now() > end) throw new Error(`the helper said nothing for ${timeoutMs} ms: ${this.errors}`);
      await Promise.race([new Promise<void>((done) => this.waiting.push(done)), sleep(200)]);
    }
    return this.lines.shift() as T;
  }

  /** Everything printed so far and not yet taken. */
  take<T>(): T[] {
    return this.lines.splice(0) as T[];
  }

  say(message: unknown): void {
    this.child.stdin?.write(`${JSON.stringify(message)}\n`);
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    this.child.kill(signal);
    return this.exited;
  }
}

/** A folder that is removed at the end. */
export function scratch(parent = tmpdir()): { path: string; remove(): void } {
  const path = mkdtempSync(join(parent, 'adder-test-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true, maxRetries: 5 }) };
}

/** Waits until `check` gives something truthy; throws after `timeoutMs`. */
export async function until<T>(
  check: () => T | Promise<T>,
  timeoutMs = 20_000,
  what = 'the expected state',
): Promise<NonNullable<T>> {
  for (const end = Date.now() + timeoutMs; ; await sleep(25)) {
    const value = await check();
    if (value) return value as NonNullable<T>;
    if (Date.now() > end) throw new Error(`waited ${timeoutMs} ms for ${what}`);
  }
}

/** Ids of the processes whose command line mentions `text` (Linux only). */
export function processesNaming(text: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return pid !== process.pid && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(text);
      } catch {
        return false;
      }
    });
}
