import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { call, startApp, type TestApp, weekly } from './app.js';
import { zstdCompressSync } from './compress.js';

let app: TestApp;
beforeAll(async () => {
  app = await startApp();
});
afterAll(async () => {
  expect(await app.stop()).toBe(0);
});

const day = (i: number) => new Date(Date.UTC(2024, 0, 1 + i)).toISOString();
const send = (path: string, body: unknown, headers?: Record<string, string>) =>
  call<Record<string, unknown>>(app, 'POST', path, body, headers);
const get = <T = Record<string, unknown>>(path: string) => call<T>(app, 'GET', path);

describe('points', () => {
  it('come back as they were written, whatever format and encoding they came in', async () => {
    const json = {
      series: [{ id: 'one', timestamps: [day(0), Date.parse(day(1)), day(2)], values: [1, null, 3.5] }],
    };
    // Numbers and text may stand side by side: both are instants.
    expect((await send('/v1/points', json)).body).toMatchObject({ inserted: 3, series: 1 });
    const lines = [0, 1, 2]
      .map((i) => JSON.stringify({ series: 'two', timestamp: day(i), value: [1, null, 3.5][i] }))
      .join('\n');
    const ndjson = { 'content-type': 'application/x-ndjson' };
    expect((await send('/v1/points', gzipSync(lines), { ...ndjson, 'content-encoding': 'gzip' })).status).toBe(200);
    const frame = [0, 1, 2]
      .map((i) => JSON.stringify({ unique_id: 'three', ds: day(i), y: [1, null, 3.5][i] }))
      .join('\n');
    expect(
      (await send('/v1/points', zstdCompressSync(Buffer.from(frame)), { ...ndjson, 'content-encoding': 'zstd' }))
        .status,
    ).toBe(200);
    const csv = `unique_id,ds,y\nfour,${day(0)},1\nfour,${day(1)},\nfour,${day(2)},3.5\n`;
    expect((await send('/v1/points', csv, { 'content-type': 'text/csv' })).status).toBe(200);
    const own = `ds,y\n${day(0)},1\n${day(1)},\n${day(2)},3.5\n`;
    expect((await send('/v1/series/five/points', own, { 'content-type': 'text/csv; charset=utf-8' })).status).toBe(200);
    const columns = { timestamps: [day(0), day(1), day(2)], values: [1, null, 3.5] };
    expect((await send('/v1/series/a%2Fb%20c/points', columns)).status).toBe(200);
    for (const id of ['one', 'two', 'three', 'four', 'five', 'a/b c']) {
      const { body } = await get(`/v1/series/${encodeURIComponent(id)}/points`);
      expect(body).toEqual({ id, timestamps: [day(0), day(1), day(2)], values: [1, null, 3.5] });
    }
  });

  it('written again change nothing, and with a new value are replaced', async () => {
    const batch = (value: number) => ({ series: [{ id: 'again', timestamps: [day(0)], values: [value] }] });
    expect((await send('/v1/points', batch(1))).body).toMatchObject({ inserted: 1, updated: 0, unchanged: 0 });
    expect((await send('/v1/points', batch(1))).body).toMatchObject({ inserted: 0, updated: 0, unchanged: 1 });
    expect((await send('/v1/points', batch(2))).body).toMatchObject({ inserted: 0, updated: 1, unchanged: 0 });
    expect((await send('/v1/points?stream=s&sequence=7', batch(3))).body).toMatchObject({
      updated: 1,
      repeated: false,
    });
    expect((await send('/v1/points?stream=s&sequence=7', batch(4))).body).toMatchObject({
      unchanged: 1,
      repeated: true,
    });
    expect((await get('/v1/series/again/points')).body.values).toEqual([3]);
  });

  it('are read by range, from the end, and down-sampled', async () => {
    const n = 1000;
    await send('/v1/series/long/points', {
      timestamps: Array.from({ length: n }, (_, i) => day(i)),
      values: weekly(n),
    });
    const part = await get<{ timestamps: string[] }>(`/v1/series/long/points?from=${day(10)}&to=${day(13)}`);
    expect(part.body.timestamps).toEqual([day(10), day(11), day(12)]);
    const last = await get<{ timestamps: string[] }>('/v1/series/long/points?limit=2&last=true');
    expect(last.body.timestamps).toEqual([day(n - 2), day(n - 1)]);
    const { body } = await get<{ mean: number[]; min: number[]; count: number[]; stepMs: number }>(
      '/v1/series/long/points?buckets=20',
    );
    expect(body.mean.length).toBeGreaterThan(10);
    expect(body.mean.length).toBeLessThanOrEqual(21);
    expect(body.count.reduce((sum, count) => sum + count, 0)).toBe(n);
    body.mean.forEach((mean, i) => {
      expect(mean).toBeGreaterThan(body.min[i]!);
    });
    const removed = await call(app, 'DELETE', `/v1/series/long/points?from=${day(0)}&to=${day(500)}`);
    expect(removed.body).toEqual({ removed: 500 });
    expect((await get('/v1/series/long')).body).toMatchObject({ points: 500, first: day(500), last: day(n - 1) });
  });

  it.each([
    [
      { series: [{ id: 'x', timestamps: [day(0)], values: [1, 2] }] },
      { code: 'LENGTH_MISMATCH', series: 'x', index: 0 },
    ],
    [
      { series: [{ id: 'x', timestamps: ['01/02/2024'], values: [1] }] },
      { code: 'AMBIGUOUS_DATE', field: 'series[0].timestamps[0]' },
    ],
    [{ series: [{ id: 'x', timestamps: [1e300], values: [1] }] }, { code: 'BAD_TIMESTAMP' }],
    [{ series: [{ id: 'x', timestamps: [null], values: [1] }] }, { code: 'BAD_TIMESTAMP' }],
    [{ series: [{ id: '', timestamps: [day(0)], values: [1] }] }, { code: 'INVALID_REQUEST', field: 'series[0].id' }],
    [{ series: [{ id: 'a\u0000b', timestamps: [day(0)], values: [1] }] }, { code: 'BAD_NAME' }],
    [{ series: [] }, { code: 'INVALID_REQUEST', field: 'series' }],
    [[], { code: 'INVALID_REQUEST' }],
  ])('refused: %j', async (body, problem) => {
    const answer = await send('/v1/points', body);
    expect(answer.status).toBe(422);
    expect(answer.body).toMatchObject(problem);
  });

  it.each([
    ['application/x-ndjson', `{"series":"x","timestamp":"${day(0)}","value":1}\n{"series":"x","value":1}`, 422, 2],
    ['application/x-ndjson', '{bad', 400, 1],
    ['text/csv', 'unique_id,ds,y\nx,2024-01-01,abc\n', 422, 2],
    ['text/csv', 'a,b\n1,2\n', 422, 1],
    ['application/xml', '<x/>', 415, undefined],
  ])('refused as %s: %j', async (type, text, status, line) => {
    const answer = await send('/v1/points', text, { 'content-type': type });
    expect(answer.status).toBe(status);
    expect(answer.body.line).toBe(line);
  });
});

describe('series', () => {
  it('are created, listed by page, changed and deleted', async () => {
    for (const id of ['p1', 'p2', 'p3']) {
      const created = await send('/v1/series', { id, frequency: 'D', season: 7, metadata: { site: 'north' } });
      expect(created.status).toBe(201);
    }
    const first = await get<{ series: { id: string }[]; next: string }>('/v1/series?prefix=p&limit=2');
    expect(first.body.series.map(({ id }) => id)).toEqual(['p1', 'p2']);
    const second = await get<{ series: { id: string }[]; next: null }>(
      `/v1/series?prefix=p&limit=2&after=${first.body.next}`,
    );
    expect(second.body).toMatchObject({ series: [{ id: 'p3' }], next: null });
    const changed = await call<Record<string, unknown>>(app, 'PATCH', '/v1/series/p1', { season: 30 });
    expect(changed.body).toMatchObject({ id: 'p1', frequency: 'D', season: 30, metadata: { site: 'north' } });
    expect((await call(app, 'DELETE', '/v1/series/p1')).status).toBe(204);
    expect((await get('/v1/series/p1')).status).toBe(404);
    expect((await send('/v1/series', { id: 'bad', frequency: 'sometimes' })).body).toMatchObject({
      field: 'frequency',
    });
  });

  it('that are stored are forecast, scored and backtested by name', async () => {
    const n = 120;
    await send('/v1/series/kept/points', {
      timestamps: Array.from({ length: n }, (_, i) => day(i)),
      values: weekly(n),
    });
    const stored = await send('/v1/forecasts', { series: [{ stored: 'kept' }], horizon: 7 });
    const inline = await send('/v1/forecasts', {
      series: [{ id: 'kept', timestamps: Array.from({ length: n }, (_, i) => day(i)), values: weekly(n) }],
      horizon: 7,
    });
    expect(stored.status).toBe(200);
    const strip = ({ body }: typeof stored) => (body.forecasts as object[])[0];
    expect(strip(stored)).toEqual(strip(inline));
    expect((await send('/v1/anomalies', { series: [{ stored: 'kept' }] })).status).toBe(200);
    expect((await send('/v1/backtests', { series: [{ stored: 'kept' }], horizon: 7, windows: 3 })).status).toBe(200);
    const unknown = await send('/v1/forecasts', { series: [{ stored: 'kept' }, { stored: 'lost' }], horizon: 7 });
    expect(unknown.status).toBe(404);
    expect(unknown.body).toMatchObject({ code: 'UNKNOWN_SERIES', series: 'lost', index: 1, field: 'series[1].stored' });
  });
});
