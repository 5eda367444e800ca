import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';

/**
 * Runs a server and ends it when standard input closes. The pipe to standard input closes when our process ends in any
 * way, `kill -9` included, so no server outlives its owner. The server itself reads nothing.
 */
const GUARD = `exec 3<&0
"$@" </dev/null 3<&- &
server=$!
{ read -r _ <&3; kill -s "$STOP_SIGNAL" $server; } 2>/dev/null &
reader=$!
wait $server
code=$?
kill $reader 2>/dev/null
exit $code`;

export interface GuardedOptions {
  /** What a clean stop is to this server. */
  stopSignal: 'INT' | 'TERM';
  /** Takes standard output and error; begins anew with every start, so that it stays small. */
  logFile: string;
  env?: Record<string, string>;
  uid?: number;
  gid?: number;
}

/** A server that lives no longer than this process. */
export class Guarded {
  /** Resolves with the exit code once the server has ended, on request or by itself. */
  readonly exited: Promise<number>;

  private constructor(private readonly guard: ChildProcess) {
    this.exited = new Promise((done) => {
      guard.once('exit', (code) => done(code ?? -1));
      guard.once('error', () => done(-1));
    });
  }

  static start(command: string, args: string[], options: GuardedOptions): Guarded {
    const log = openSync(options.logFile, 'w', 0o600);
    try {
      const guard = spawn('/bin/sh', ['-c', GUARD, 'sh', command, ...args], {
        stdio: ['pipe', log, log],
        // A session of its own: Ctrl-C in the terminal reaches us alone, and we stop the server after our own work.
        detached: true,
        env: { ...process.env, ...options.env, STOP_SIGNAL: options.stopSignal },
        ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.gid }),
      });
      guard.stdin?.on('error', () => {});
      guard.unref();
      (guard.stdin as { unref?: () => void } | null)?.unref?.();
      return new Guarded(guard);
    } finally {
      closeSync(log);
    }
  }

  /** Asks for a clean stop and waits for it; false when the server has not ended after `timeoutMs`. */
  async stop(timeoutMs: number): Promise<boolean> {
    this.guard.ref();
    this.guard.stdin?.end();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((done) => {
      timer = setTimeout(() => done(false), timeoutMs);
    });
    const ended = await Promise.race([this.exited.then(() => true), late]);
    clearTimeout(timer);
    return ended;
  }
}

/** Pauses before a server that ended by itself is started again; the last one repeats. */
const RESTART_MS = [50, 200, 500, 1000, 2000];

/** How long a server must have run for its end to count as the first one. */
const SETTLED_MS = 10_000;

/** A server that is started again, as it was, whenever it ends without being asked to. */
export class Kept {
  private current: Guarded;
  private stopping = false;
  private ends = 0;

  constructor(private readonly launch: () => Guarded) {
    this.current = this.open();
  }

  private open(): Guarded {
    const server = this.launch();
    const since = Date.now();
    void server.exited.then(async () => {
      if (this.stopping) return;
      this.ends = Date.now() - since > SETTLED_MS ? 0 : this.ends;
      await sleep(RESTART_MS[Math.min(this.ends++, RESTART_MS.length - 1)]!);
      if (!this.stopping) this.current = this.open();
    });
    return server;
  }

  /** Ends so far that followed each other quickly: a server that cannot start reaches any number. */
  get failures(): number {
    return this.ends;
  }

  /** Asks for a clean stop and waits for it; false when the server has not ended after `timeoutMs`. */
  stop(timeoutMs: number): Promise<boolean> {
    this.stopping = true;
    return this.current.stop(timeoutMs);
  }
}

/** Whether a process with this id exists. */
export function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    // A zombie still answers signals, but holds no file and no port.
    return !isZombie(pid);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function isZombie(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
  } catch {
    return false;
  }
}

/**
 * Whether the process runs a program of this name. Where there is no /proc the id alone decides: a wrong yes only makes
 * the start fail with a message, a wrong no would let two servers share one folder.
 */
export function runsProgram(pid: number, pattern: RegExp): boolean {
  if (!isAlive(pid)) return false;
  try {
    const [program] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return pattern.test(program ?? '');
  } catch {
    return true;
  }
}

/** Waits until the process is gone; false after `timeoutMs`. */
export async function waitGone(pid: number, timeoutMs: number): Promise<boolean> {
  for (const end = Date.now() + timeoutMs; isAlive(pid); await sleep(20)) if (Date.now() > end) return false;
  return true;
}

/** A TCP port of 127.0.0.1 that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((done, fail) => {
    const server = createServer();
    server.once('error', fail);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => (address && typeof address === 'object' ? done(address.port) : fail(new Error('no port'))));
    });
  });
}

export function sleep(ms: number): Promise<void> {
  return new Promise((done) => {
    setTimeout(done, ms);
  });
}
