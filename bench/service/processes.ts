/** The processes of a service to be measured: servers, API and worker, each one a process of its own, as in production. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Services, startServices } from '../../src/platform/embedded/services.js';
import { siblingModule } from '../../src/platform/sibling-module.js';

export interface RunningService {
  services: Services;
  /** Where the API listens, and its process; undefined where none was started. */
  address: string | undefined;
  api: ChildProcess | undefined;
  stop(): Promise<void>;
}

interface Parts {
  queue: 'redis' | 'postgres';
  model: string;
  backend?: string | undefined;
  api: boolean;
}

/** Starts everything and waits until it is ready. */
export async function startService({ queue, model, backend, api }: Parts): Promise<RunningService> {
  const dir = mkdtempSync(join(tmpdir(), 'adder-bench-'));
  const services = await startServices({ dataDir: dir, databaseUrl: undefined, redisUrl: undefined, queue });
  const env = {
    ...process.env,
    DATABASE_URL: services.databaseUrl,
    ADDER_QUEUE: queue,
    REDIS_URL: queue === 'redis' ? services.queue.url : '',
    ADDER_MODEL: model,
    ADDER_BACKEND: backend ?? 'auto',
    ADDER_LOG_LEVEL: 'warn',
    ADDER_RATE_PER_MINUTE: '10000000',
    ADDER_RATE_BURST: '1000000',
    PORT: '0',
    HOST: '127.0.0.1',
  };
  const children: ChildProcess[] = [];
  const start = async (path: string): Promise<Record<string, unknown>> => {
    const { file, execArgv } = siblingModule(import.meta.url, path);
    const child = fork(file, [], { execArgv, stdio: ['ignore', 'pipe', 'inherit', 'ipc'], env });
    children.push(child);
    for await (const line of createInterface({ input: child.stdout! }))
      if (line.startsWith('{')) return JSON.parse(line);
    throw new Error(`${path} ended before it was ready`);
  };
  const stop = async () => {
    for (const child of children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    }
    await services.close();
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    await start('../../src/worker.js');
    if (!api) return { services, address: undefined, api: undefined, stop };
    const address = String((await start('../../src/main.js')).address);
    for (const end = Date.now() + 120_000; !(await fetch(`${address}/health/ready`)).ok; ) {
      if (Date.now() > end) throw new Error('the service was not ready within two minutes');
      await new Promise((done) => setTimeout(done, 100));
    }
    return { services, address, api: children[1], stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
