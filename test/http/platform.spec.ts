import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { call, startApp, type TestApp, weekly } from './app.js';
import { gzipSync, zstdCompressSync } from './compress.js';

let app: TestApp;
beforeAll(async () => {
  app = await startApp({ ADDER_MAX_BODY_MB: '4' });
});
afterAll(async () => {
  expect(await app.stop()).toBe(0);
});

const forecast = (values: unknown) => ({ series: [{ id: 'a', values }], horizon: 3 });

describe('every answer', () => {
  it("carries a request id, the client's own if it is a sane one", async () => {
    expect((await call(app, 'GET', '/health/live')).headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    const own = await call(app, 'GET', '/health/live', undefined, { 'x-request-id': 'abc-1' });
    expect(own.headers.get('x-request-id')).toBe('abc-1');
    const bad = await call(app, 'GET', '/health/live', undefined, { 'x-request-id': 'a b"' });
    expect(bad.headers.get('x-request-id')).not.toBe('a b"');
  });

  it('that is an error is a problem detail naming series, index and field', async () => {
    const body = {
      series: [
        { id: 'a', values: [1, 2, 3] },
        { id: 'b', values: [1, null, 'x'] },
      ],
      horizon: 3,
    };
    const { status, headers, body: problem } = await call<Record<string, unknown>>(app, 'POST', '/v1/forecasts', body);
    expect(status).toBe(422);
    expect(headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(problem).toMatchObject({ status: 422, code: 'INVALID_REQUEST', index: 1, field: 'series[1].values[2]' });
    expect(problem.requestId).toBe(headers.get('x-request-id'));

    const empty = {
      series: [
        { id: 'a', values: [1] },
        { id: 'b', values: [null, null] },
      ],
      horizon: 3,
    };
    expect((await call(app, 'POST', '/v1/forecasts', empty)).body).toMatchObject({
      code: 'NO_VALUES',
      series: 'b',
      index: 1,
      field: 'series[1].values',
    });
  });
});

describe('bodies', () => {
  it.each(['gzip', 'zstd'] as const)('are read when compressed with %s', async (encoding) => {
    const text = Buffer.from(JSON.stringify(forecast(weekly(60))));
    const bytes = encoding === 'gzip' ? gzipSync(text) : zstdCompressSync(text);
    const plain = await call(app, 'POST', '/v1/forecasts', forecast(weekly(60)));
    const packed = await call(app, 'POST', '/v1/forecasts', bytes, { 'content-encoding': encoding });
    expect(packed.status).toBe(200);
    expect(packed.body).toEqual({ ...plain.body, requestId: packed.headers.get('x-request-id') });
  });

  it('of a megabyte are read on another thread, with the same result and the same errors', async () => {
    const values = weekly(60_000).map((v, i) => (i % 100 === 3 ? null : v));
    const { status, body } = await call<{ forecasts: object[] }>(app, 'POST', '/v1/forecasts', forecast(values));
    expect(status).toBe(200);
    expect(body.forecasts).toHaveLength(1);
    const bad = await call(app, 'POST', '/v1/forecasts', forecast([...values, 1e200]));
    expect(bad.body).toMatchObject({ status: 422, field: 'series[0].values[60000]' });
  });

  it('that are too large are refused, compressed or not, whatever they claim', async () => {
    const zeros = Buffer.from(`{"series":[{"values":[${'0,'.repeat(3_000_000)}0]}],"horizon":3}`);
    for (const [bytes, headers] of [
      [zeros, {}],
      [gzipSync(zeros), { 'content-encoding': 'gzip' }],
      [zstdCompressSync(zeros), { 'content-encoding': 'zstd' }],
    ] as const) {
      const { status, body } = await call(app, 'POST', '/v1/forecasts', bytes, headers);
      expect(status).toBe(413);
      expect(body).toMatchObject({ code: 'BODY_TOO_LARGE' });
    }
    // A frame header that asks for a window of a gigabyte.
    const claim = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3, 1, 0, 0]);
    expect((await call(app, 'POST', '/v1/forecasts', claim, { 'content-encoding': 'zstd' })).status).toBe(413);
  });

  it.each([
    ['{bad', {}, 400, 'BAD_JSON'],
    ['', {}, 422, 'INVALID_REQUEST'],
    ['null', {}, 422, 'INVALID_REQUEST'],
    ['[]', {}, 422, 'INVALID_REQUEST'],
    [`${'['.repeat(100_000)}${']'.repeat(100_000)}`, {}, 400, 'BAD_JSON'],
    ['{"series":[{"values":[NaN]}],"horizon":1}', {}, 400, 'BAD_JSON'],
    ['{"series":[{"values":[1e308]}],"horizon":1}', {}, 422, 'INVALID_REQUEST'],
    ['{"series":[{"values":[1]}],"horizon":1e9}', {}, 422, 'INVALID_REQUEST'],
    ['{"series":[{"values":[1]}],"horizon":1,"__proto__":{"x":1}}', {}, 200, undefined],
    ['{"series":[{"values":[1],"extra":1}],"horizon":1}', {}, 422, 'INVALID_REQUEST'],
    ['hello', { 'content-encoding': 'gzip' }, 400, 'BAD_COMPRESSION'],
    ['hello', { 'content-encoding': 'zstd' }, 400, 'BAD_COMPRESSION'],
    ['{}', { 'content-encoding': 'lzma' }, 415, 'UNSUPPORTED_MEDIA'],
    ['a,b', { 'content-type': 'text/csv' }, 415, 'UNSUPPORTED_MEDIA'],
  ] as [string, Record<string, string>, number, string | undefined][])(
    '%.60s %j → %i',
    async (text, headers, status, code) => {
      const answer = await call<{ code?: string }>(app, 'POST', '/v1/forecasts', text, headers);
      expect([answer.status, answer.body.code]).toEqual([status, code]);
    },
  );
});

describe('without keys', () => {
  it('answers this machine only: no other host name, no page of another origin', async () => {
    const foreign: Record<string, string>[] = [{ origin: 'https://evil.example' }, { 'sec-fetch-site': 'cross-site' }];
    for (const headers of foreign) {
      expect((await call(app, 'GET', '/v1/models', undefined, headers)).status).toBe(403);
    }
    expect((await call(app, 'GET', '/v1/models')).status).toBe(200);
  });
});

describe('documentation', () => {
  it('is an OpenAPI document made from the schemas, equal to the committed one', async () => {
    const { body } = await call(app, 'GET', '/docs/openapi.json');
    const file = new URL('./openapi.json', import.meta.url);
    if (process.env.UPDATE_OPENAPI) writeFileSync(file, `${JSON.stringify(body, null, 2)}\n`);
    expect(body).toEqual(JSON.parse(readFileSync(file, 'utf8')));
  });

  it('has a page that needs nothing from elsewhere', async () => {
    const { status, body, headers } = await call<string>(app, 'GET', '/docs');
    expect(status).toBe(200);
    expect(body).not.toMatch(/https?:/);
    expect(headers.get('content-security-policy')).toContain("default-src 'none'");
    expect((await call(app, 'GET', '/docs/swagger-ui-bundle.js')).status).toBe(200);
    expect((await call(app, 'GET', '/docs/package.json')).status).toBe(404);
  });
});

it('metrics count requests by route', async () => {
  await call(app, 'POST', '/v1/forecasts', forecast([1, 2, 3]));
  const { body } = await call<string>(app, 'GET', '/metrics');
  expect(body).toMatch(
    /adder_http_request_duration_seconds_count\{method="POST",route="\/v1\/forecasts",status="200"\} [1-9]/,
  );
});
