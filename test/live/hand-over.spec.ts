import { afterAll, expect, it } from '@jest/globals';
import { Random } from '../../src/engine/random.js';
import type { LiveOutput, Subscription } from '../../src/live/feed.js';
import { call, startApp, type TestApp } from '../http/app.js';
import { until } from '../service/support/processes.js';
import { differenceFromScan } from './support/expectations.js';
import { setting } from './support/setting.js';

const OWNER = 'local';
const HOUR = 3_600_000;
const START = Date.UTC(2026, 0, 1);
/** The import ends here, the live feed has begun before, and both end up at the last. */
const FIRST_LIVE = 2500;
const IMPORTED = 3000;
const LAST = 3400;

let app: TestApp | undefined;
afterAll(async () => {
  expect(await app?.stop()).toBe(0);
});
const s = setting('postgres');

const random = new Random(3);
const series = ['watched/a', 'watched/b', 'later/a', 'later/b'].map((name, k) => ({
  name,
  values: Float64Array.from(
    { length: LAST },
    (_, i) => 40 + k + 5 * Math.sin((2 * Math.PI * i) / 24) + random.normal(),
  ),
}));
const at = (i: number) => START + i * HOUR;

const post = async <T>(path: string, body: unknown, type?: string): Promise<T> => {
  const answer = await call<T>(app!, 'POST', path, body, type ? { 'content-type': type } : {});
  expect([path, Math.floor(answer.status / 100)]).toEqual([path, 2]);
  return answer.body;
};

it('a history is imported and backfilled while its series are fed live, without a seam', async () => {
  app = await startApp({
    DATABASE_URL: s.services.databaseUrl,
    ADDER_BACKEND: 'wasm',
    ADDER_MODEL: s.modelFolder,
    ADDER_STACK: 'bare',
    ADDER_LIVE_MODEL: s.modelFolder,
  });
  for (const { name } of series) await post('/v1/series', { id: name, frequency: 'H', season: 24 });
  const told = new Map<string, LiveOutput>();
  const listen = (prefix: string): Promise<Subscription> =>
    s.client.feed.subscribe(OWNER, { prefix }, { horizon: 20 }, (output) => {
      expect(output.sequence).toBeGreaterThan(told.get(output.series)?.sequence ?? 0);
      told.set(output.series, output);
    });
  const subscriptions = [await listen('watched/')];

  const live = async (from: number, to: number) => {
    for (let i = from; i < to; ) {
      const end = Math.min(to, i + 1 + Math.floor(random.uniform() * 4));
      const lines = series.flatMap(({ name, values }) =>
        Array.from({ length: end - i }, (_, k) =>
          JSON.stringify({ series: name, timestamp: at(i + k), value: values[i + k] }),
        ),
      );
      await post('/v1/live/points', lines.join('\n'), 'application/x-ndjson');
      i = end;
    }
  };
  const status = async (id: string) => (await call<{ status: string }>(app!, 'GET', `/v1/jobs/${id}`)).body.status;

  const statesOf = async (prefix: string) => {
    const { rows } = await s.database.pool.query<{ count: number }>(
      'select count(distinct series_id)::int as count from states join series on id = series_id where starts_with(unique_id, $1)',
      [prefix],
    );
    return rows[0]!.count;
  };

  // Live states are there before the history behind them comes.
  await live(FIRST_LIVE, FIRST_LIVE + 100);
  await until(() => told.get('watched/a')?.at === at(FIRST_LIVE + 99), 60_000, 'live forecasts before the import');
  const rows = series.flatMap(({ name, values }) =>
    [...values.subarray(0, IMPORTED)].map((value, i) => `${name},${new Date(at(i)).toISOString()},${value}`),
  );
  const upload = await post<{ id: string }>('/v1/uploads', `unique_id,ds,y\n${rows.join('\n')}\n`, 'text/csv');
  const flow = await post<{ id: string; jobs: { backfill: string } }>('/v1/flows', {
    import: { upload: upload.id },
    backfill: { horizon: 16, every: 64, live: true },
  });
  let next = FIRST_LIVE + 100;
  // The feed goes on through the import and the backfill, and in part ahead of what is imported.
  for (; next < LAST - 100 && ['queued', 'running'].includes(await status(flow.id)); next += 4)
    await live(next, next + 4);
  await until(async () => (await status(flow.id)) === 'succeeded', 90_000, 'the backfill');
  // Nobody has listened to these, and their states are there.
  await until(
    async () => (await statesOf('later/')) === 2,
    60_000,
    'the states of series that were backfilled for going live',
  );
  subscriptions.push(await listen('later/'));
  await live(next, LAST);

  const becomes = async ({ name, values }: (typeof series)[0], season: number) => {
    const whole = () => told.get(name)?.at === at(LAST - 1) && told.get(name)!.position === LAST;
    await until(whole, 60_000, `the forecast of ${name} that has seen all`);
    await until(
      async () => (await differenceFromScan(s.batch, told.get(name)!, { values, season, frequency: 'H' })) < 1e-4,
      20_000,
      `the forecast of ${name} to be that of one scan with a season of ${season}`,
    );
  };
  for (const one of series) {
    await becomes(one, 24);
    const { rows: stored } = await s.database.pool.query<{ count: number }>(
      'select count(*)::int as count from points join series on id = series_id where unique_id = $1',
      [one.name],
    );
    expect([one.name, stored[0]!.count]).toEqual([one.name, LAST]);
  }
  const stated = await call(app, 'PATCH', `/v1/series/${encodeURIComponent(series[0]!.name)}`, { season: 168 });
  expect(stated).toMatchObject({ status: 200, body: { season: 168, frequency: 'H' } });
  await becomes(series[0]!, 168);
  const job = await call<{ result: { series: number; failed: number } }>(app, 'GET', `/v1/jobs/${flow.jobs.backfill}`);
  expect(job.body.result).toMatchObject({ series: 4, failed: 0 });
  for (const subscription of subscriptions) await subscription.close();
}, 240_000);
