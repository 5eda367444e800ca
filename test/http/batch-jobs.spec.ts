import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { call, childrenOf, startApp, type TestApp } from './app.js';

/** Jobs over stored series with the neural forecaster, from the request to the last page of results. */
let app: TestApp;
beforeAll(async () => {
  app = await startApp({ ADDER_MODEL: 'adder', ADDER_BACKEND: 'wasm', ADDER_BATCH_JOBS: '1', ADDER_LOCK_MS: '1500' });
});
afterAll(async () => {
  expect(await app.stop()).toBe(0);
});

interface Job {
  id: string;
  kind: string;
  status: string;
  deduplicated: boolean;
  progress: number;
  attempts: number;
  result: Record<string, number> & { scores: Record<string, number> };
  error: { code: string } | null;
}
interface Result {
  series: string;
  window: number;
  kind: string;
  cutoff: string | null;
  meta: Record<string, number> & { scores: Record<string, number>; code: string };
  columns: Record<string, number[]>;
}

const START = Date.UTC(2024, 0, 1);
const HOUR = 3_600_000;
const time = (i: number) => new Date(START + i * HOUR).toISOString();
const daily = (i: number) => 100 + 20 * Math.sin((2 * Math.PI * i) / 24) + ((i * 7919) % 5);

const write = (name: string, values: (number | null)[]) =>
  call(app, 'POST', `/v1/series/${name}/points`, { timestamps: values.map((_, i) => time(i)), values });
const add = (body: object) => call<Job>(app, 'POST', '/v1/jobs', body);

async function finished(id: string): Promise<Job> {
  for (let i = 0; i < 1000; i++) {
    const { body } = await call<Job>(app, 'GET', `/v1/jobs/${id}`);
    if (!['queued', 'running'].includes(body.status)) return body;
    await sleep(100);
  }
  throw new Error('the job did not finish');
}

async function results(id: string, limit = 7): Promise<Result[]> {
  const all: Result[] = [];
  for (let after = ''; ; ) {
    const { body } = await call<{ results: Result[]; next: string | null }>(
      app,
      'GET',
      `/v1/jobs/${id}/results?limit=${limit}${after && `&after=${after}`}`,
    );
    all.push(...body.results);
    if (!body.next) return all;
    after = body.next;
  }
}

beforeAll(async () => {
  const a = Array.from({ length: 500 }, (_, i) => daily(i));
  a[450] = 400;
  const b: (number | null)[] = Array.from({ length: 300 }, (_, i) => 5 * daily(i));
  b[100] = null;
  for (const [name, values] of [
    ['site/a', a],
    ['site/b', b],
    ['short', [1, 2]],
  ] as const) {
    const path = encodeURIComponent(name);
    expect((await write(path, [...values])).status).toBe(200);
  }
});

describe('a backtest', () => {
  it('forecasts the ends of stored series; its windows and scores are those of the synchronous one', async () => {
    const asked = { horizon: 24, windows: 3, levels: [80] };
    const { status, body } = await add({ kind: 'backtest', prefix: 'site/', ...asked });
    expect(status).toBe(202);
    const job = await finished(body.id);
    expect(job).toMatchObject({ status: 'succeeded', progress: 1, error: null });
    expect(job.result).toMatchObject({ series: 2, failed: 0, backend: 'wasm' });
    const rows = await results(job.id);
    expect(rows.map(({ series, kind }) => `${series} ${kind}`)).toEqual(
      ['site/a', 'site/b'].flatMap((name) => [...Array(3).fill(`${name} backtest`), `${name} summary`]),
    );
    const { body: direct } = await call<{
      scores: Record<string, number>;
      series: { scores: Record<string, number>; windows: { median: number[]; actual: number[] }[] }[];
    }>(app, 'POST', '/v1/backtests', { series: [{ stored: 'site/a' }, { stored: 'site/b' }], ...asked });
    for (const [s, name] of ['site/a', 'site/b'].entries()) {
      const own = rows.filter(({ series }) => series === name);
      direct.series[s]!.windows.forEach((window, w) => {
        expect(own[w]!.columns.actual).toEqual(window.actual);
        window.median.forEach((value, i) => {
          expect(own[w]!.columns['q0.5']![i]).toBeCloseTo(value, 2);
        });
      });
      expect(own[3]!.meta.scores.mase).toBeCloseTo(direct.series[s]!.scores.mase!, 3);
    }
    expect(job.result.scores.wql).toBeCloseTo(direct.scores.wql!, 3);
    expect(rows[0]!.cutoff).toBe(time(500 - 3 * 24 - 1));
    expect(rows[0]!.columns.time![0]).toBe(START + (500 - 72) * HOUR);
  });

  it('closes a series that is at fault with its error, and does the others', async () => {
    const { body } = await add({ kind: 'backtest', series: ['short', 'site/b'], horizon: 24 });
    const job = await finished(body.id);
    expect(job).toMatchObject({ status: 'succeeded', result: { series: 2, failed: 1 } });
    const [first] = await results(job.id);
    expect(first).toMatchObject({ series: 'short', kind: 'error', meta: { code: 'TOO_SHORT' } });
  });
});

it('an anomaly job scores every value by the forecast before it, in the terms of POST /v1/anomalies', async () => {
  const { body } = await add({ kind: 'anomaly', series: ['site/a'], level: 99, last: 100 });
  const job = await finished(body.id);
  expect(job).toMatchObject({ status: 'succeeded', result: { judged: 100, failed: 0 } });
  const [window] = await results(job.id);
  const { columns } = window!;
  expect(columns.value).toHaveLength(100);
  const at = 450 - 400;
  expect(columns.time![at]).toBe(START + 450 * HOUR);
  expect(columns.anomaly![at]).toBe(1);
  expect(columns.score![at]).toBeGreaterThan(5);
  expect(columns.value![at]).toBeGreaterThan(columns.high![at]!);
  // What is not out of the ordinary is expected.
  const near = columns.expected!.filter((value, i) => Math.abs(value - columns.value![i]!) < 4);
  expect(near.length).toBeGreaterThan(75);
});

it('an anomaly job whose forecasts judge blocks gives the scores of the request', async () => {
  const asked = { level: 90, last: 60, stride: 3 };
  const job = await finished((await add({ kind: 'anomaly', series: ['site/a'], ...asked })).body.id);
  const [window] = await results(job.id);
  const { body } = await call<{ series: { scores: number[]; expected: number[]; anomalies: boolean[] }[] }>(
    app,
    'POST',
    '/v1/anomalies',
    { series: [{ stored: 'site/a' }], ...asked },
  );
  const { scores, expected, anomalies } = body.series[0]!;
  expect(window!.columns.score).toHaveLength(60);
  window!.columns.score!.forEach((score, i) => {
    expect(score).toBeCloseTo(scores[440 + i]!, 2);
    expect(window!.columns.expected![i]).toBeCloseTo(expected[440 + i]!, 2);
  });
  expect(window!.columns.anomaly!.map(Boolean)).toEqual(anomalies.slice(440));
});

describe('a backfill', () => {
  it('leaves forecasts and scores of the whole history', async () => {
    const { body } = await add({ kind: 'backfill', prefix: 'site/' });
    const job = await finished(body.id);
    expect(job).toMatchObject({ status: 'succeeded', result: { series: 2, failed: 0, horizon: 16 } });
    const rows = await results(job.id, 50);
    const own = rows.filter(({ series }) => series === 'site/a');
    const summary = own.at(-1)!;
    expect(summary).toMatchObject({ kind: 'summary', meta: { stride: 1 } });
    const scores = own.filter(({ kind }) => kind === 'anomaly');
    expect(scores.flatMap(({ columns }) => columns.score!)).toHaveLength(500 - 48);
    const forecasts = own.filter(({ kind }) => kind === 'forecast');
    expect(forecasts).toHaveLength(summary.meta.forecasts!);
    // The last one is that of the whole history, the others stand a horizon apart.
    expect(forecasts.at(-1)!.cutoff).toBe(time(499));
    expect(forecasts.at(-2)!.cutoff).toBe(time(499 - 16));
    // Out of one scan it says what a scan for itself says.
    const alone = await call<{ forecasts: { median: number[] }[] }>(app, 'POST', '/v1/forecasts', {
      series: [{ stored: 'site/a' }],
      horizon: 16,
    });
    forecasts.at(-1)!.columns['q0.5']!.forEach((value, i) => {
      expect(Math.abs(value - alone.body.forecasts[0]!.median[i]!)).toBeLessThan(0.1 * 40);
    });
    // Every forecast but the last has come true since; most values lie in its interval.
    const a = Array.from({ length: 500 }, (_, i) => (i === 450 ? 400 : daily(i)));
    let inside = 0;
    let count = 0;
    for (const { columns } of forecasts.slice(0, -1)) {
      columns.time!.forEach((at, i) => {
        const y = a[(at - START) / HOUR]!;
        count++;
        if (y >= columns['q0.1']![i]! && y <= columns['q0.9']![i]!) inside++;
      });
    }
    expect(inside / count).toBeGreaterThan(0.6);
    const again = await finished((await add({ kind: 'backfill', prefix: 'site/' })).body.id);
    expect(again.result.anomalies).toBe(job.result.anomalies);
  });

  it('works with a model that scans nothing', async () => {
    const asked = { kind: 'backfill', series: ['site/b'], model: 'seasonal-naive', horizon: 24, every: 48 };
    const job = await finished((await add(asked)).body.id);
    expect(job).toMatchObject({ status: 'succeeded', result: { model: 'seasonal-naive', horizon: 24 } });
    const rows = await results(job.id, 50);
    const last = rows.filter(({ kind }) => kind === 'forecast').at(-1)!;
    last.columns['q0.5']!.forEach((value, i) => {
      expect(value).toBeCloseTo(5 * daily(276 + i), 6);
    });
  });
});

describe('an uploaded file', () => {
  const csv = (broken = false) => {
    const rows = ['up/1', 'up/2'].flatMap((name, s) =>
      Array.from(
        { length: 200 },
        (_, i) => `${name},${time(i)},${broken && s === 1 && i === 150 ? 'x' : daily(i + s)}`,
      ),
    );
    return `unique_id,ds,y\n${rows.join('\n')}\n`;
  };
  const upload = async (text: string, type = 'text/csv') =>
    call<{ id: string; size: number; code: string }>(app, 'POST', '/v1/uploads', text, { 'content-type': type });

  it('is imported, backfilled and reported by a flow', async () => {
    const { status, body: file } = await upload(csv());
    expect(status).toBe(201);
    const flow = await call<{ id: string; jobs: Record<string, string> }>(app, 'POST', '/v1/flows', {
      import: { upload: file.id },
      backfill: { horizon: 8, every: 16 },
    });
    expect(flow.status).toBe(202);
    const report = await finished(flow.body.id);
    expect(report).toMatchObject({
      kind: 'report',
      status: 'succeeded',
      result: { import: { points: 400, series: 2, inserted: 400 }, backfill: { series: 2 }, failed: [] },
    });
    expect((await finished(flow.body.jobs.backfill!)).status).toBe('succeeded');
    const points = await call<{ points: number }>(app, 'GET', '/v1/series/up%2F2');
    expect(points.body.points).toBe(200);
    // The same file again changes nothing.
    const again = await finished((await add({ kind: 'import', upload: file.id })).body.id);
    expect(again.result).toMatchObject({ inserted: 0, unchanged: 400 });
  });

  it('with a defect is not imported at all, and takes its flow with it', async () => {
    const bad = csv(true).replaceAll('up/', 'bad/');
    const { body: file } = await upload(bad);
    const flow = await call<{ id: string; jobs: Record<string, string> }>(app, 'POST', '/v1/flows', {
      import: { upload: file.id },
      backfill: {},
    });
    expect(await finished(flow.body.id)).toMatchObject({ status: 'failed', error: { code: 'CHILD_FAILED' } });
    expect(await finished(flow.body.jobs.import!)).toMatchObject({
      status: 'failed',
      error: { code: 'BAD_NUMBER', where: { line: 352 } },
    });
    expect((await call(app, 'GET', '/v1/series/bad%2F1')).status).toBe(404);
  });

  it('must be points, and exist', async () => {
    expect((await upload('{}', 'application/json')).body.code).toBe('UNSUPPORTED_MEDIA');
    const nothing = { kind: 'import', upload: '00000000-0000-4000-8000-000000000000' };
    expect((await add(nothing)).status).toBe(404);
  });
});

describe('jobs', () => {
  it('that are asked for twice while they are unfinished are one; a deadline ends them, and a cancel reaches the worker', async () => {
    const values = Array.from({ length: 60_000 }, (_, i) => daily(i));
    expect((await write('long', values)).status).toBe(200);
    // One at a time, so the second waits behind the first.
    const busy = await add({ kind: 'backfill', series: ['long'] });
    const late = { kind: 'anomaly', series: ['site/a'], deadline: new Date(Date.now() + 3000).toISOString() };
    const [one, two] = [await add(late), await add(late)];
    expect(two.body).toMatchObject({ id: one.body.id, deduplicated: true });
    for (let status = ''; status !== 'running'; await sleep(50)) {
      ({ status } = (await call<Job>(app, 'GET', `/v1/jobs/${busy.body.id}`)).body);
    }
    // Somebody who waits goes first.
    const forecast = await call(app, 'POST', '/v1/forecasts', { series: [{ values: [1, 2, 3, 4] }], horizon: 2 });
    expect(forecast.status).toBe(200);
    expect((await call<Job>(app, 'GET', `/v1/jobs/${busy.body.id}`)).body.status).toBe('running');
    expect(await finished(one.body.id)).toMatchObject({ status: 'failed', error: { code: 'DEADLINE_EXCEEDED' } });
    const cancelled = await call<Job>(app, 'POST', `/v1/jobs/${busy.body.id}/cancel`);
    expect(cancelled.status).toBe(202);
    expect(await finished(busy.body.id)).toMatchObject({ status: 'cancelled' });
    // The worker is free again.
    expect(await finished((await add({ kind: 'anomaly', series: ['site/a'], last: 5 })).body.id)).toMatchObject({
      status: 'succeeded',
    });
  });

  it('go on where they were when their worker is killed, and write nothing twice', async () => {
    const names = Array.from({ length: 80 }, (_, i) => `many/${i}`);
    for (const name of names) {
      const values = Array.from({ length: 200 }, (_, i) => daily(i + name.length));
      expect((await write(encodeURIComponent(name), values)).status).toBe(200);
    }
    const { body } = await add({ kind: 'backfill', prefix: 'many/', horizon: 16, every: 32 });
    let progress = 0;
    // The first group of 64 is closed by then.
    while (progress < 0.81) {
      ({ progress } = (await call<Job>(app, 'GET', `/v1/jobs/${body.id}`)).body);
      await sleep(20);
    }
    // The service starts another one.
    for (const pid of childrenOf(app.process.child.pid!, 'worker.ts')) process.kill(pid, 'SIGKILL');
    const job = await finished(body.id);
    expect(job).toMatchObject({ status: 'succeeded', attempts: 2, result: { series: 80, failed: 0 } });
    const rows = await results(job.id, 1000);
    const keys = rows.map(({ series, window }) => `${series} ${window}`);
    expect(new Set(keys).size).toBe(keys.length);
    expect(new Set(rows.map(({ series }) => series)).size).toBe(80);
    expect(rows.filter(({ kind }) => kind === 'forecast')).toHaveLength(job.result.forecasts!);
  });

  it.each([
    [{ kind: 'backtest', series: ['nobody'], horizon: 3 }, 404, 'UNKNOWN_SERIES'],
    [{ kind: 'backtest', prefix: 'nobody', horizon: 3 }, 404, 'UNKNOWN_SERIES'],
    [{ kind: 'backtest', series: ['site/a'], prefix: 'site', horizon: 3 }, 422, 'INVALID_REQUEST'],
    [{ kind: 'backtest', series: ['site/a'] }, 422, 'INVALID_REQUEST'],
    [{ kind: 'backtest', series: ['site/a'], horizon: 100_000 }, 422, 'TOO_MUCH'],
    [{ kind: 'anomaly', series: ['site/a'], model: 'nobody' }, 404, 'UNKNOWN_MODEL'],
    [{ kind: 'dance' }, 422, 'INVALID_REQUEST'],
  ])('refuse %j', async (body, status, code) => {
    const answer = await call<{ code: string }>(app, 'POST', '/v1/jobs', body);
    expect([answer.status, answer.body.code]).toEqual([status, code]);
  });
});
