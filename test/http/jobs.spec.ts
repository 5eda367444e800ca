import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { z } from 'zod';
import { defineJobs } from '../../src/jobs/define.js';
import type { Processor } from '../../src/jobs/processor.js';
import { JobSystem } from '../../src/jobs/system.js';
import { startServices } from '../../src/platform/embedded/services.js';
import { Database } from '../../src/store/database.js';
import { ResultStore } from '../../src/store/results.js';
import { scratch } from '../service/support/processes.js';
import { call, startApp, type TestApp } from './app.js';

/** Jobs of a worker in this process, seen through the API of another one; one database, one queue. */
const table = defineJobs({
  queues: { test: { concurrency: 4 } },
  kinds: {
    count: {
      queue: 'test',
      data: z.strictObject({ steps: z.int(), pauseMs: z.int() }),
      attempts: 1,
      backoff: { type: 'fixed', delayMs: 10 },
      priority: 1,
      timeoutMs: 60_000,
    },
  },
});

const dir = scratch();
const closing: (() => Promise<unknown>)[] = [];
let app: TestApp;
let jobs: JobSystem<typeof table>;

beforeAll(async () => {
  const services = await startServices({
    dataDir: dir.path,
    databaseUrl: undefined,
    redisUrl: undefined,
    queue: 'postgres',
  });
  closing.push(() => services.close());
  const database = await Database.open({ url: services.databaseUrl });
  closing.push(() => database.close());
  jobs = await JobSystem.open({ table, database, connection: services.queue, maxUnfinished: 100 });
  closing.push(() => jobs.close());
  const results = new ResultStore(database);
  const count: Processor<{ steps: number; pauseMs: number }> = async ({ id, owner, data, signal, progress }) => {
    for (let i = 0; i < data.steps; i++) {
      signal.throwIfAborted();
      const columns = { median: Float64Array.of(i, Number.NaN) };
      await results.write(owner, id, [
        { seriesKey: 's', ordinal: 0, window: i, kind: 'forecast', seriesId: null, cutoff: null, meta: {}, columns },
      ]);
      progress((i + 1) / data.steps, `step ${i + 1}`);
      await sleep(data.pauseMs, undefined, { signal });
    }
    return { steps: data.steps };
  };
  await jobs.work(new Map([['count', count as unknown as Processor]]), { lockMs: 30_000, retentionMs: 3_600_000 });
  app = await startApp({}, dir.path);
});
afterAll(async () => {
  await app?.stop();
  for (const close of closing.reverse()) await close();
  dir.remove();
});

const add = (owner: string, steps: number, pauseMs: number) => jobs.client.add('count', { steps, pauseMs }, { owner });

it('a job is followed by events until it has finished, and its results are paged', async () => {
  const { id } = await add('local', 5, 300);
  const response = await fetch(`${app.address}/v1/jobs/${id}/events`);
  expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
  const events = (await response.text())
    .split('\n')
    .filter((line) => line.startsWith('data: '))
    .map((line) => JSON.parse(line.slice(6)) as { status: string; progress: number });
  expect(events.length).toBeGreaterThan(2);
  expect(events.at(-1)).toMatchObject({ id, status: 'succeeded', result: { steps: 5 } });
  const progress = events.map((event) => event.progress);
  expect(progress).toEqual([...progress].sort((a, b) => a - b));

  const first = await call<{ results: { columns: object }[]; next: string }>(
    app,
    'GET',
    `/v1/jobs/${id}/results?limit=3`,
  );
  expect(first.body.results.map(({ columns }) => columns)).toEqual([0, 1, 2].map((i) => ({ median: [i, null] })));
  const second = await call<{ results: object[]; next: null }>(
    app,
    'GET',
    `/v1/jobs/${id}/results?limit=3&after=${first.body.next}`,
  );
  expect(second.body.results).toHaveLength(2);
  expect(second.body.next).toBeNull();
  const list = await call<{ jobs: { id: string }[] }>(app, 'GET', '/v1/jobs?status=succeeded');
  expect(list.body.jobs.map((job) => job.id)).toContain(id);
});

it('a job that runs is cancelled', async () => {
  const { id } = await add('local', 1000, 50);
  const state = async () => (await call<{ status: string }>(app, 'GET', `/v1/jobs/${id}`)).body.status;
  while ((await state()) === 'queued') await sleep(50);
  expect((await call(app, 'POST', `/v1/jobs/${id}/cancel`)).status).toBe(202);
  for (let i = 0; i < 200 && (await state()) === 'running'; i++) await sleep(50);
  expect(await state()).toBe('cancelled');
});

it("another account's job does not exist", async () => {
  const { id } = await add('somebody', 1, 0);
  for (const [method, path] of [
    ['GET', ''],
    ['GET', '/events'],
    ['GET', '/results'],
    ['POST', '/cancel'],
  ] as const) {
    const answer = await call<{ code: string }>(app, method, `/v1/jobs/${id}${path}`);
    expect([answer.status, answer.body.code]).toEqual([404, 'UNKNOWN_JOB']);
  }
  expect((await call(app, 'GET', '/v1/jobs/not-an-id')).status).toBe(422);
});
