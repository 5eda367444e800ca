#!/usr/bin/env node
/**
 * `npm start`: the whole service in one supervised group. This process owns the embedded servers and starts a worker, a live worker and
 * the API; a part that dies is started again, and when this process ends, all of it ends.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { loadConfig } from './platform/config.js';
import { startServices } from './platform/embedded/services.js';
import { toAdderError } from './platform/errors.js';
import { createLogger } from './platform/logger.js';
import { onStop } from './platform/on-stop.js';
import { siblingModule } from './platform/sibling-module.js';

/** A part that dies again so soon is not started a third time without a pause. */
const QUICK_MS = 5000;

/** Exit status of a part whose environment is wrong: starting it again would not help. */
const REFUSED = 2;

try {
  const config = loadConfig();
  const log = createLogger(config, 'start');
  const services = await startServices(config);
  for (const line of services.description) log.info(line);
  const env = {
    ...process.env,
    DATABASE_URL: services.databaseUrl,
    ...(services.queue.kind === 'redis'
      ? { REDIS_URL: services.queue.url, ADDER_QUEUE: 'redis' }
      : { REDIS_URL: '', ADDER_QUEUE: 'postgres' }),
  };
  const running = new Map<string, ChildProcess>();
  let stopping = false;

  const stop = async () => {
    stopping = true;
    // The API first: it stops taking requests while the worker still answers those that it has.
    for (const name of ['api', 'live', 'worker']) {
      const child = running.get(name);
      if (!child || child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((done) => child.once('exit', done));
      child.kill('SIGTERM');
      await ended;
    }
    await services.close();
  };

  const start = (name: string, file: string, execArgv: string[]) => {
    const since = Date.now();
    const child = fork(file, [], { env, execArgv, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    running.set(name, child);
    child.once('exit', (code, signal) => {
      if (stopping) return;
      if (code === REFUSED) {
        void stop().then(() => process.exit(REFUSED));
        return;
      }
      const pause = Date.now() - since < QUICK_MS ? 2000 : 0;
      log.error({ part: name, code, signal }, `the ${name} process ended; starting it again`);
      setTimeout(() => {
        if (!stopping) start(name, file, execArgv);
      }, pause);
    });
  };

  // The worker first: the API is ready when a worker has passed its self-test.
  for (const [name, path] of [
    ['worker', './worker.js'],
    ['live', './live.js'],
    ['api', './main.js'],
  ] as const) {
    const { file, execArgv } = siblingModule(import.meta.url, path);
    start(name, file, execArgv);
  }
  onStop(log, config.server.shutdownMs * 2, stop);
} catch (thrown) {
  process.stderr.write(`${toAdderError(thrown).toLine()}\n`);
  process.exit(REFUSED);
}
