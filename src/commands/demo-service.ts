import { fork } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { AdderError } from '../platform/errors.js';
import { siblingModule } from '../platform/sibling-module.js';

/** A service that was started for one command. */
export interface StartedService {
  address: string;
  /** Lets it finish and waits for its end. */
  stop(): Promise<void>;
  /** Settles when it has ended, however that came. */
  ended: Promise<void>;
}

/** First start on a slow disk: the database is made, the model is read and tested. */
const START_MS = 120_000;

/**
 * Starts the service as `npm start` does, with embedded servers in a folder of its own, and waits until it is ready.
 * Throws `NO_SERVICE` with what the service said last.
 */
export async function startService(env: Record<string, string>): Promise<StartedService> {
  const { file, execArgv } = siblingModule(import.meta.url, '../start.js');
  const own = { DATABASE_URL: '', REDIS_URL: '', HOST: '127.0.0.1', ADDER_LOG_FORMAT: 'text', ...env };
  const child = fork(file, [], {
    execArgv,
    env: { ...process.env, ...own },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  let said = '';
  let lines = '';
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    said = (said + chunk).slice(-4000);
  });
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    lines += chunk;
  });
  let running = true;
  const ended = new Promise<void>((done) => {
    child.once('exit', () => {
      running = false;
      done();
    });
  });
  const stop = async () => {
    if (running) child.kill('SIGTERM');
    await ended;
  };
  const give = (what: string) =>
    new AdderError({
      code: 'NO_SERVICE',
      message: `the service ${what}: ${said.trim().split('\n').at(-1) ?? 'it said nothing'}`,
      fix: 'see what npm start says',
    });
  for (const late = Date.now() + START_MS; ; await sleep(25)) {
    if (!running) throw give('did not start');
    if (Date.now() > late) {
      await stop();
      throw give(`was not ready after ${START_MS / 1000} s`);
    }
    const address = /"address":"([^"]+)"/.exec(lines)?.[1];
    if (address === undefined) continue;
    const ready = await fetch(`${address}/health/ready`).catch(() => undefined);
    if (ready?.status === 200) return { address, stop, ended };
  }
}
