import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { QueueEngine } from '../../src/jobs/forecast/queue-engine.js';
import { JobSystem } from '../../src/jobs/system.js';
import { type AdderJobs, jobTable } from '../../src/jobs/table.js';
import { loadConfig } from '../../src/platform/config.js';
import { type TestDatabase, testDatabase } from './support/database.js';
import { Helper, until } from './support/processes.js';

let test: TestDatabase;
let jobs: JobSystem<AdderJobs>;
beforeAll(async () => {
  test = await testDatabase();
  const { database, server } = test;
  const connection = { kind: 'postgres' as const, url: server.url };
  jobs = await JobSystem.open({ table: jobTable, database, connection, maxUnfinished: 100 });
});
afterAll(async () => {
  await jobs.close();
  await test.close();
});

const worker = (env: Record<string, string>) =>
  Helper.start('src/worker.ts', [], {
    env: {
      DATABASE_URL: test.server.url,
      ADDER_QUEUE: 'postgres',
      ADDER_BACKEND: 'wasm',
      ADDER_MODEL: 'theta',
      ...env,
    },
  });

it('a worker shows its metrics on a port of its own, and nothing else', async () => {
  const helper = worker({ ADDER_WORKER_METRICS_PORT: '0' });
  const { metrics } = await helper.next<{ metrics: string }>();
  const engine = new QueueEngine(jobs.client, { config: loadConfig({ ADDER_MODEL: 'theta' }) });
  await engine.selfTest();
  const read = async () => (await fetch(`${metrics}/metrics`)).text();
  const text = await until(async () => {
    const now = await read();
    return /adder_job_runs_total\{kind="self-test",outcome="succeeded"\} 1/.test(now) ? now : undefined;
  });
  expect(text).toMatch(/adder_queue_jobs\{queue="batch",state="wait"\} 0/);
  expect(text).toMatch(/adder_process_cpu_seconds_total/);
  for (const [method, path] of [
    ['GET', '/'],
    ['POST', '/metrics'],
    ['GET', '/metrics/..'],
  ] as const) {
    expect((await fetch(metrics + path, { method })).status).toBe(404);
  }
  // Somebody else has the port.
  const taken = worker({ ADDER_WORKER_METRICS_PORT: new URL(metrics).port });
  await expect(taken.next()).rejects.toThrow(/METRICS_PORT/);
  expect(await taken.exited).toBe(2);
  expect(await helper.kill('SIGTERM')).toBe(0);
});

it('a worker that is stopped while it tests itself gives the test back instead of finishing it', async () => {
  const first = worker({ ADDER_MODEL: 'adder', ADDER_INFERENCE_TIMEOUT_MS: '120000' });
  await first.next();
  const engine = new QueueEngine(jobs.client, { config: loadConfig({ ADDER_MODEL: 'adder' }) });
  const passing = engine.selfTest();
  const status = async () =>
    (await test.database.pool.query<{ status: string }>("select status from jobs where kind = 'self-test'")).rows[0]
      ?.status;
  await until(async () => (await status()) === 'running');
  expect(await first.kill('SIGTERM')).toBe(0);
  // It was not waited for.
  expect(await status()).toBe('queued');
  const second = worker({ ADDER_MODEL: 'adder' });
  await second.next();
  await passing;
  expect(await second.kill('SIGTERM')).toBe(0);
});
