import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { until } from '../service/support/processes.js';
import { call, childrenOf, startApp, type TestApp, weekly } from './app.js';

/** What clients get when there is more to do than there is time, or nobody to do it. */
let app: TestApp;
beforeAll(async () => {
  app = await startApp({ ADDER_SYNC_TIMEOUT_MS: '1500', ADDER_LOCK_MS: '1500' });
});
afterAll(async () => {
  expect(await app.stop()).toBe(0);
});

const many = Array.from({ length: 3000 }, (_, s) => weekly(300, s + 1));
const small = { series: [{ values: weekly(60) }], horizon: 3 };

describe('a request that takes too long', () => {
  it('is answered 503 with Retry-After, and what it began is given up', async () => {
    const body = { series: many.map((values) => ({ values })), horizon: 24, model: 'ets' };
    const late = await call<{ code: string; fix: string }>(app, 'POST', '/v1/forecasts', body);
    expect([late.status, late.body.code]).toEqual([503, 'TIMEOUT']);
    expect(Number(late.headers.get('retry-after'))).toBeGreaterThan(0);
    // Others are served again at once; nothing of it waits any more.
    await until(async () => (await call(app, 'POST', '/v1/forecasts', small)).status === 200);
    const { body: list } = await call<{ jobs: object[] }>(app, 'GET', '/v1/jobs');
    expect(list.jobs).toEqual([]);
  });

  it('of the Nixtla protocol is 503, which its clients try again, and never 500', async () => {
    const payload = {
      series: { y: many.flat(), sizes: many.map((one) => one.length) },
      freq: 'D',
      h: 24,
      model: 'ets',
    };
    const late = await call<{ code: string; detail: string }>(app, 'POST', '/v2/forecast', payload);
    expect(late.status).toBe(503);
    expect(Number(late.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(late.headers.get('content-type')).toMatch(/^application\/json/);
    expect(typeof late.body.detail).toBe('string');
    await until(async () => (await call(app, 'POST', '/v1/forecasts', small)).status === 200);
  });
});

it('without a worker the service is not ready, answers 503, and is ready again with the next one', async () => {
  const ready = async () => (await call(app, 'GET', '/health/ready')).status;
  await until(async () => (await ready()) === 200);
  // Held, not killed: the supervisor would start another one at once.
  const workers = childrenOf(app.process.child.pid!, 'worker.ts');
  expect(workers).toHaveLength(1);
  for (const pid of workers) process.kill(pid, 'SIGSTOP');
  try {
    const answer = await call<{ code: string }>(app, 'POST', '/v1/forecasts', small);
    expect([answer.status, answer.body.code]).toEqual([503, 'TIMEOUT']);
    await until(async () => (await ready()) === 503, 60_000);
  } finally {
    for (const pid of workers) process.kill(pid, 'SIGCONT');
  }
  await until(async () => (await ready()) === 200, 60_000);
  expect((await call(app, 'POST', '/v1/forecasts', small)).status).toBe(200);
});
