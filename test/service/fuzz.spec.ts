/** Whatever is sent to whatever route, the answer is a success or a helpful 4xx, and the service stays as it was. */
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { call, startApp, type TestApp, weekly } from '../http/app.js';
import { sendHostile } from './fuzz/answers.js';
import { EXAMPLES, PATHS } from './fuzz/examples.js';
import { bySchema, changed, nasty, queryText, urlText, writeJson } from './fuzz/hostile.js';
import { type Api, nameOf, type Operation, readApi } from './fuzz/operations.js';

/** ADDER_TEST_RUNS makes a longer search, from another place each time. */
const longer = process.env.ADDER_TEST_RUNS;
const numRuns = Number(longer ?? 40);
const search = { numRuns, ...(longer ? {} : { seed: 20261123 }), endOnFailure: true };

let app: TestApp;
let api: Api;
let before: unknown;

const probe = async () => {
  const body = { series: [{ values: weekly(50), season: 7 }], horizon: 4 };
  const { status, body: answer } = await call<{ forecasts: unknown }>(app, 'POST', '/v1/forecasts', body);
  expect(status).toBe(200);
  return answer.forecasts;
};

beforeAll(async () => {
  app = await startApp({
    ADDER_MAX_BODY_MB: '2',
    ADDER_MAX_POINTS_PER_REQUEST: '20000',
    ADDER_MAX_HORIZON: '500',
    ADDER_MAX_SERIES: '5000',
    ADDER_RATE_PER_MINUTE: '10000000',
    ADDER_RATE_BURST: '1000000',
  });
  api = await readApi(app);
  const stored = { series: [{ id: 'stored', timestamps: ['2024-01-01', '2024-01-02'], values: [1, 2] }] };
  expect((await call(app, 'POST', '/v1/points', stored)).status).toBe(200);
  before = await probe();
});
afterAll(async () => {
  expect(await app.stop()).toBe(0);
});

/** Keys would lock out all requests that follow; test/service/fuzz-owners.spec.ts has them. */
const open = ({ method, path }: Operation) => !(method === 'POST' && path === '/v1/keys');
/** Deleting what the examples name would make the rest shallow. */
const fill = ({ path }: Operation, values: Record<string, string> = PATHS[path] ?? {}) =>
  path.replace(/\{(\w+)\}/g, (_all, name: string) => values[name] ?? 'unknown');

it('covers every route: examples are accepted, and name no route that is gone', async () => {
  const names = api.operations.map(nameOf);
  expect(Object.keys(EXAMPLES).filter((name) => !names.includes(name))).toEqual([]);
  for (const operation of api.operations.filter(open)) {
    const example = EXAMPLES[nameOf(operation)];
    if (!example) continue;
    const { status, body } = await call<object>(app, operation.method, fill(operation), example);
    expect([nameOf(operation), status, status < 300 ? '' : body]).toEqual([nameOf(operation), status, '']);
  }
});

/** Runs the property for every operation that has what it needs. */
async function everywhere(
  what: (
    operation: Operation,
  ) => fc.Arbitrary<{ path?: string; body?: string; headers?: Record<string, string> }> | undefined,
): Promise<void> {
  for (const operation of api.operations.filter(open)) {
    const arbitrary = what(operation);
    if (!arbitrary) continue;
    await fc.assert(
      fc.asyncProperty(arbitrary, async ({ path = fill(operation), ...rest }) => {
        await sendHostile(app.address, { method: operation.method, path, ...rest });
      }),
      search,
    );
  }
}

const json = (value: unknown) => ({ body: writeJson(value), headers: { 'content-type': 'application/json' } });

it('changed examples', async () => {
  await everywhere((operation) => {
    const example = EXAMPLES[nameOf(operation)];
    return example && changed(example).map(json);
  });
}, 300_000);

it('bodies by schema, and against it', async () => {
  await everywhere(({ method, body }) => {
    if (body) return fc.oneof(bySchema(body, api.schemas), nasty()).map(json);
    return method === 'GET' || method === 'HEAD' ? undefined : nasty().map(json);
  });
}, 300_000);

it('paths', async () => {
  await everywhere((operation) => {
    const names = operation.parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name);
    if (names.length === 0) return undefined;
    // A path that becomes another one (.., empty) is another route's business, and that route is open to all.
    const values = fc.record(Object.fromEntries(names.map((name) => [name, urlText()])));
    const example = EXAMPLES[nameOf(operation)];
    return values.map((filled) => ({
      path: fill(operation, filled as Record<string, string>),
      ...(example ? json(example) : {}),
    }));
  });
}, 300_000);

it('queries', async () => {
  await everywhere((operation) => {
    const names = operation.parameters.filter((parameter) => parameter.in === 'query').map(({ name }) => name);
    const name = fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(...names, ...(names.length ? [] : ['limit'])) },
      { weight: 1, arbitrary: fc.constantFrom('__proto__', 'a[]', 'a[b]', 'constructor', '', 'limit') },
    );
    const likely = (key: string) => {
      const schema = operation.parameters.find((parameter) => parameter.name === key)?.schema;
      return schema ? bySchema(schema, api.schemas).map(queryText) : urlText();
    };
    const pair = name.chain((key) => fc.oneof(likely(key), urlText()).map((value) => `${key}=${value}`));
    const example = EXAMPLES[nameOf(operation)];
    return fc.array(pair, { minLength: 1, maxLength: 4 }).map((pairs) => ({
      path: `${fill(operation)}?${pairs.join('&')}`,
      ...(example ? json(example) : {}),
    }));
  });
}, 300_000);

it('headers', async () => {
  const text = fc.oneof(
    fc.string({ maxLength: 60 }),
    fc.constantFrom(
      '',
      ' ',
      '-1',
      '1e9',
      'Bearer ',
      `Bearer ${'x'.repeat(3000)}`,
      'application/json; charset=utf-16',
      '*/*',
      'gzip, zstd',
      'chunked',
    ),
  );
  const names = [
    'authorization',
    'x-api-key',
    'content-type',
    'content-encoding',
    'accept',
    'x-request-id',
    'if-none-match',
    'x-forwarded-for',
    'inference-header-content-length',
    'last-event-id',
    'accept-encoding',
  ];
  // What HTTP itself does not allow never leaves a client.
  const sendable = (value: string) => value.replace(/[^\t\x20-\x7e]/g, '');
  await everywhere((operation) =>
    fc.dictionary(fc.constantFrom(...names), text.map(sendable), { minKeys: 1, maxKeys: 3 }).map((headers) => ({
      ...(operation.body ? { body: writeJson(EXAMPLES[nameOf(operation)] ?? {}) } : {}),
      headers,
    })),
  );
}, 300_000);

it('CSV and NDJSON', async () => {
  const cell = fc.oneof(
    urlText().map((t) => t.slice(0, 50)),
    fc.string(),
    fc.constantFrom('2024-01-01', '1', 'a', '"', ',', '\u0000', '1e308', 'NaN', ''),
  );
  const csv = fc
    .tuple(
      fc.constantFrom('unique_id,ds,y', 'ds,y', 'ds;y', 'y', '', '\ufeffunique_id,ds,y', 'ds,ds,y'),
      fc.array(fc.array(cell, { maxLength: 5 }), { maxLength: 10 }),
    )
    .map(([head, rows]) => ({ type: 'text/csv', text: [head, ...rows.map((row) => row.join(','))].join('\n') }));
  const point = fc.record({ series: nasty(), timestamp: nasty(), value: nasty() }, { requiredKeys: [] });
  const line = fc.oneof(
    changed({ series: 'stored', timestamp: '2024-01-01', value: 1 }),
    changed({ unique_id: 'stored', ds: 1e12, y: null }),
    point,
    nasty(),
  );
  const lines = fc
    .array(line, { maxLength: 6 })
    .map((all) => ({ type: 'application/x-ndjson', text: all.map(writeJson).join('\n') }));
  await everywhere((operation) =>
    operation.method === 'POST' && operation.path.endsWith('/points')
      ? fc.oneof(csv, lines).map(({ type, text }) => ({ body: text, headers: { 'content-type': type } }))
      : undefined,
  );
}, 300_000);

it('leaves no trace: the same forecast, nothing polluted, ready', async () => {
  expect(await probe()).toEqual(before);
  expect((await call(app, 'GET', '/health/ready')).status).toBe(200);
  expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  const { body } = await call<{ series: { id: string }[] }>(app, 'GET', '/v1/series?limit=1000');
  for (const { id } of body.series) expect(id.length).toBeLessThanOrEqual(256);
});
