import { gzipSync } from 'node:zlib';
import { InfluxDB, Point } from '@influxdata/influxdb-client';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Answer, call, startApp, type TestApp } from '../../http/app.js';
import { TELEGRAF_HEADERS, telegrafGzip } from './telegraf.js';

let app: TestApp;
beforeAll(async () => {
  app = await startApp({ ADDER_MAX_SERIES: '60', ADDER_MAX_POINTS_PER_REQUEST: '50000', ADDER_MAX_BODY_MB: '4' });
});
afterAll(async () => {
  expect(await app.stop()).toBe(0);
});

const write = (path: string, body: string | Uint8Array, headers: Record<string, string> = {}) =>
  call<unknown>(app, 'POST', path, body, { 'content-type': 'text/plain; charset=utf-8', ...headers });
const values = async (series: string) =>
  (
    (await call(app, 'GET', `/v1/series/${encodeURIComponent(series)}/points`)) as unknown as Answer<{
      values: number[];
      timestamps: string[];
    }>
  ).body;

describe('/api/v2/write', () => {
  it('takes what Telegraf sends, again and again', async () => {
    for (const second of [1_700_000_000, 1_700_000_010, 1_700_000_010]) {
      const answer = await write(
        '/api/v2/write?bucket=telegraf&org=acme',
        telegrafGzip('web-1', second),
        TELEGRAF_HEADERS,
      );
      expect([answer.status, answer.body]).toEqual([204, '']);
    }
    expect(await values('telegraf/cpu.usage_idle{cpu="cpu0",host="web-1"}')).toMatchObject({
      timestamps: ['2023-11-14T22:13:20.000Z', '2023-11-14T22:13:30.000Z'],
      values: [Number('96.98492462311558'), Number('96.98492462311558')],
    });
    expect(
      await values('telegraf/disk.free{device="C: Drive",fstype="NTFS",host="web-1",mode="rw",path="\\\\C:"}'),
    ).toMatchObject({ values: [1, 1] });
    const { body } = await call<{ metadata: unknown }>(
      app,
      'GET',
      `/v1/series/${encodeURIComponent('telegraf/mem.used{host="web-1"}')}`,
    );
    expect(body.metadata).toEqual({ measurement: 'mem', field: 'used', 'tag.host': 'web-1' });
  });

  it('takes what the client library sends, with its escapes and its gzip', async () => {
    const client = new InfluxDB({ url: app.address, token: 'any' });
    const api = client.getWriteApi('acme', 'lib', 'ms', { gzipThreshold: 0, maxRetries: 0 });
    api.useDefaultTags({ 'the room': 'attic, north' });
    for (let i = 0; i < 100; i++) {
      api.writePoint(new Point('air quality').floatField('co2,ppm', 400 + i).timestamp(1_700_000_000_000 + i));
    }
    await api.close();
    const { values: stored } = await values('lib/air quality.co2,ppm{the room="attic, north"}');
    expect(stored).toEqual(Array.from({ length: 100 }, (_, i) => 400 + i));
  });

  it('refuses a body whole when a line of it is not understood', async () => {
    const answer = await write('/api/v2/write?bucket=b', 'v2,t=1 f=1 1\nv2,t=1 f=oops 2\nv2 f 3\nv2,t=1 f=4 4\n');
    expect(answer.status).toBe(400);
    expect(answer.body).toEqual({
      code: 'invalid',
      message:
        "unable to parse 'v2,t=1 f=oops 2': invalid field format\nunable to parse 'v2 f 3': invalid field format",
    });
    expect((await call(app, 'GET', `/v1/series/${encodeURIComponent('b/v2.f{t="1"}')}`)).status).toBe(404);
  });

  it.each([
    ['', '', 400, { code: 'invalid', message: 'writing requires points' }],
    [
      'precision=m',
      'm f=1',
      400,
      { code: 'invalid', message: 'invalid precision; valid precision units are ns, us, ms, and s' },
    ],
    ['precision=constructor', 'm f=1', 400, { code: 'invalid', message: expect.stringContaining('invalid precision') }],
    ['', 'm f=NaN', 400, { code: 'invalid', message: "unable to parse 'm f=NaN': invalid number" }],
    [
      '',
      'm f=1 99999999999999999999',
      400,
      { code: 'invalid', message: expect.stringContaining('time outside range') },
    ],
    ['', `m f=1\n${'x f=1\n'.repeat(60_000)}`, 413, { code: 'request too large', message: expect.any(String) }],
  ])('answers ?%s with %j by %i', async (query, body, status, error) => {
    const answer = await write(`/api/v2/write?${query}`, body);
    expect([answer.status, answer.body]).toEqual([status, error]);
  });

  it('answers broken and swollen gzip', async () => {
    const gzip = { 'content-encoding': 'gzip' };
    expect(await write('/api/v2/write', 'm f=1', gzip)).toMatchObject({ status: 400, body: { code: 'invalid' } });
    const bomb = gzipSync(Buffer.alloc(64 * 2 ** 20, 0x20));
    expect(await write('/api/v2/write', bomb, gzip)).toMatchObject({
      status: 413,
      body: { code: 'request too large' },
    });
  });
});

describe('/write', () => {
  it('keeps the good lines and says which were left out', async () => {
    const body = 'v1,t=1 f=1 1000\nv1,t=1 f=oops 2000\nv1,t=1 f=3 3000\n';
    const answer = await write('/write?db=d&rp=r&precision=u', body);
    expect([answer.status, answer.body]).toEqual([
      400,
      { error: "partial write: unable to parse 'v1,t=1 f=oops 2000': invalid field format dropped=0" },
    ]);
    expect(await values('d/r/v1.f{t="1"}')).toMatchObject({
      values: [1, 3],
      timestamps: ['1970-01-01T00:00:00.001Z', '1970-01-01T00:00:00.003Z'],
    });
  });

  it('answers as version 1 does', async () => {
    expect(await write('/write?db=d', 'v1 f=1')).toMatchObject({ status: 204, body: '' });
    expect(await write('/write?db=d', '')).toMatchObject({ status: 204 });
    expect(await write('/write?db=d', 'nonsense')).toMatchObject({
      status: 400,
      body: { error: "unable to parse 'nonsense': missing fields" },
    });
    expect(await write('/write?db=d&precision=y', 'm f=1')).toMatchObject({
      status: 400,
      body: { error: 'invalid precision "y"' },
    });
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    expect(await write('/query', 'q=CREATE+DATABASE+%22telegraf%22', form)).toMatchObject({
      status: 200,
      body: { results: [{ statement_id: 0 }] },
    });
    expect(await write('/query?q=SELECT+1', '', form)).toMatchObject({
      status: 400,
      body: { error: expect.any(String) },
    });
    expect((await call(app, 'GET', '/ping')).status).toBe(204);
    expect((await call(app, 'HEAD', '/ping')).status).toBe(204);
  });

  it('takes a body without a content type, as curl sends it', async () => {
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    expect(await write('/write?precision=s', 'curl f=7 1700000000', form)).toMatchObject({ status: 204 });
    expect((await values('curl.f')).values).toEqual([7]);
  });
});

it('beyond the quota of series, those that exist still get their points', async () => {
  expect((await write('/write', 'quota f=1 1000000')).status).toBe(204);
  const more = Array.from({ length: 100 }, (_, i) => `quota${i} f=1 2000000`).join('\n');
  const v1 = await write('/write', `${more}\nquota f=2 2000000`);
  expect(v1).toMatchObject({
    status: 400,
    body: { error: expect.stringMatching(/^partial write: .*limit is 60.* dropped=100$/) },
  });
  expect((await values('quota.f')).values).toEqual([1, 2]);
  const v2 = await write('/api/v2/write', `${more}\nquota f=3 3000000`);
  expect(v2).toMatchObject({
    status: 422,
    body: { code: 'unprocessable entity', message: expect.stringMatching(/partial write: .* dropped=100$/) },
  });
  expect((await values('quota.f')).values).toEqual([1, 2, 3]);
});

it('takes keys as Telegraf, version 1 clients and everybody else send them', async () => {
  const { body } = await call<{ token: string }>(app, 'POST', '/v1/keys', {
    name: 'all',
    scopes: ['write', 'read', 'admin'],
  });
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
  for (const authorization of [`Token ${body.token}`, `Bearer ${body.token}`, basic(`telegraf:${body.token}`)]) {
    expect((await write('/api/v2/write', 'auth f=1', { authorization })).status).toBe(204);
  }
  for (const authorization of ['Token wrong', basic('telegraf:wrong'), basic('nothing')]) {
    const answer = await write('/api/v2/write', 'auth f=1', { authorization });
    expect(answer).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
  }
  expect(await write('/write', 'auth f=1')).toMatchObject({ status: 401, body: { error: expect.any(String) } });
  const reader = await call<{ token: string }>(
    app,
    'POST',
    '/v1/keys',
    { name: 'reads', scopes: ['read'] },
    { authorization: `Bearer ${body.token}` },
  );
  expect(await write('/api/v2/write', 'auth f=1', { authorization: `Token ${reader.body.token}` })).toMatchObject({
    status: 403,
    body: { code: 'forbidden' },
  });
});
