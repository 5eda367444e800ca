/** What belongs to one account is not there for another one, at every route; and no route is open by mistake. */
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { JobSystem } from '../../src/jobs/system.js';
import { type AdderJobs, jobTable } from '../../src/jobs/table.js';
import { startServices } from '../../src/platform/embedded/services.js';
import { Database } from '../../src/store/database.js';
import { call, startApp, type TestApp, weekly } from '../http/app.js';
import { EXAMPLES, QUERIES } from './fuzz/examples.js';
import { nameOf, type Operation, readApi } from './fuzz/operations.js';
import { scratch } from './support/processes.js';

const dir = scratch();
const closing: (() => Promise<unknown>)[] = [];
let app: TestApp;
let operations: Operation[];
let jobs: JobSystem<AdderJobs>;
const tokens: Record<string, string> = {};
const as = (name: string) => ({ authorization: `Bearer ${tokens[name]}` });

/** Answered without a key: what load balancers, Prometheus and readers of the documentation ask for. */
const OPEN = ['GET /health/live', 'GET /health/ready', 'GET /v2', 'GET /v2/health/live', 'GET /v2/health/ready'];
/** Names that all accounts share. */
const SHARED = /^\/(v1|v2)\/models\//;

/** Ids of things of alice, and ids of nothing, by the path they stand in. */
const owned: Record<string, { hers: string; nobodys: string }> = {};

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
  jobs = await JobSystem.open({ table: jobTable, database, connection: services.queue, maxUnfinished: 100 });
  closing.push(() => jobs.close());
  app = await startApp({}, dir.path);
  closing.push(() => app.stop());
  operations = (await readApi(app)).operations.map((operation) => ({
    ...operation,
    path: operation.path.replace('{endpoint}', 'forecast'),
  }));

  const key = async (body: object, headers = {}) => {
    const answer = await call<{ id: string; token: string }>(app, 'POST', '/v1/keys', body, headers);
    expect(answer.status).toBe(201);
    return answer.body;
  };
  const admin = await key({ name: 'admin' });
  tokens.admin = admin.token;
  for (const owner of ['alice', 'bob']) tokens[owner] = (await key({ name: owner, owner }, as('admin'))).token;
  for (const scope of ['forecast', 'read', 'write']) {
    tokens[scope] = (await key({ name: scope, owner: 'alice', scopes: [scope] }, as('admin'))).token;
  }

  const points = { timestamps: weekly(30).map((_, i) => i * 86_400_000), values: weekly(30) };
  expect((await call(app, 'POST', '/v1/series/hers/points', points, as('alice'))).status).toBe(200);
  owned['/v1/series/'] = { hers: 'hers', nobodys: 'none' };
  const job = await jobs.client.add('describe', { model: 'theta' }, { owner: 'alice' });
  const uuid = '019ab123-0000-7000-8000-000000000000';
  owned['/v1/jobs/'] = { hers: job.id, nobodys: uuid };
  // Of a clip that is gone: it fails, and stays hers.
  const listening = await jobs.client.add('listen', { clip: uuid }, { owner: 'alice' });
  owned['/v1/audio/clips/'] = { hers: listening.id, nobodys: uuid };
  owned['/v1/keys/'] = { hers: admin.id, nobodys: uuid };
  owned['/v2/finetuned_models/'] = { hers: 'hers', nobodys: 'none' };
  owned['/v2/async/jobs/'] = owned['/v2/forecast/jobs/'] = owned['/v1/jobs/'];
  const stream = `${JSON.stringify({ series: 'live', timestamp: 1e12, value: 1 })}\n`;
  const lines = { ...as('alice'), 'content-type': 'application/x-ndjson' };
  expect((await call(app, 'POST', '/v1/live/points?stream=hers', stream, lines)).status).toBe(200);
  owned['/v1/live/streams/'] = { hers: 'hers', nobodys: 'none' };
  const rule = {
    name: 'rule',
    prefix: 'her',
    condition: { kind: 'missing', afterSeconds: 3600 },
    url: 'http://127.0.0.1:9/',
  };
  const made = await call<{ id: string }>(app, 'POST', '/v1/alerts/rules', rule, as('alice'));
  expect([made.status, made.body]).toEqual([201, expect.anything()]);
  owned['/v1/alerts/rules/'] = { hers: made.body.id, nobodys: uuid };
}, 120_000);
afterAll(async () => {
  for (const close of closing.reverse()) await close();
  dir.remove();
});

const fill = (path: string, value: string) => path.replace(/\{\w+\}/, value);
const prefixOf = (path: string) => path.slice(0, path.indexOf('{'));
const withPath = () => operations.filter(({ path }) => path.includes('{') && !SHARED.test(path));
/** The body without what differs from request to request. */
const plain = (body: unknown, id: string) =>
  JSON.stringify(body, (key, value) => (/^requestid$/i.test(key) ? '' : value)).replaceAll(id, 'ID');

it('no thing with an id is forgotten here', () => {
  const prefixes = [...new Set(withPath().map(({ path }) => prefixOf(path)))];
  expect(prefixes.filter((prefix) => !(prefix in owned))).toEqual([]);
});

it("another account's ids are answered as ids of nothing, and change nothing", async () => {
  const hers = async () => [
    (await call(app, 'GET', '/v1/series/hers', undefined, as('alice'))).body,
    (await call(app, 'GET', '/v1/series/hers/points', undefined, as('alice'))).body,
    (await call(app, 'GET', '/v1/jobs?limit=1000', undefined, as('alice'))).body,
  ];
  for (const kind of ['/v1/jobs/', '/v1/audio/clips/']) {
    await jobs.client.wait('alice', owned[kind]!.hers, { timeoutMs: 20_000 }).catch(() => undefined);
  }
  const before = await hers();
  for (const operation of withPath()) {
    const { method, path } = operation;
    const { hers: id, nobodys } = owned[prefixOf(path)]!;
    const ask = (value: string) =>
      call<object>(
        app,
        method,
        fill(path, value) + (QUERIES[nameOf(operation)] ?? ''),
        EXAMPLES[nameOf(operation)],
        as('bob'),
      );
    // Writing points makes the series: one of bob's own, of the same name.
    if (nameOf(operation) === 'POST /v1/series/{id}/points') continue;
    const [real, unknown] = [await ask(id), await ask(nobodys)];
    expect([nameOf(operation), real.status, plain(real.body, id)]).toEqual([
      nameOf(operation),
      unknown.status,
      plain(unknown.body, nobodys),
    ]);
    // A stream that has not begun is at its beginning.
    if (path.startsWith('/v1/live/streams/')) continue;
    // Keys are an admin's business alone.
    expect([nameOf(operation), real.status]).toEqual([nameOf(operation), path.startsWith('/v1/keys') ? 403 : 404]);
  }
  for (const path of ['/v1/forecasts', '/v1/anomalies', '/v1/backtests']) {
    const body = { series: [{ stored: 'hers' }], ...(path === '/v1/anomalies' ? {} : { horizon: 3 }) };
    const { status } = await call(app, 'POST', path, body, as('bob'));
    expect([path, status]).toEqual([path, 404]);
    expect((await call(app, 'POST', path, body, as('alice'))).status).toBe(200);
  }
  for (const path of ['/v1/series', '/v1/jobs', '/v2/finetuned_models']) {
    const { body } = await call<object>(app, 'GET', path, undefined, as('bob'));
    expect([path, JSON.stringify(body)]).toEqual([path, expect.not.stringMatching(/hers|describe/)]);
  }
  // A series of the same name is another series.
  const own = { timestamps: ['2030-01-01'], values: [77] };
  expect((await call(app, 'POST', '/v1/series/hers/points', own, as('bob'))).status).toBe(200);
  expect((await call(app, 'DELETE', '/v1/series/hers', undefined, as('bob'))).status).toBe(204);
  expect(await hers()).toEqual(before);
});

it('every route wants a key, and a whole one', async () => {
  for (const operation of operations) {
    const { method, path } = operation;
    const name = nameOf(operation);
    const target = fill(path, owned[prefixOf(path)]?.hers ?? 'theta');
    const bad = [
      '',
      'Bearer',
      'Bearer x',
      `Bearer ${tokens.alice}x`,
      `Bearer ${tokens.alice!.slice(0, -1)}`,
      `Basic ${tokens.alice}`,
    ];
    for (const authorization of bad) {
      const headers: Record<string, string> = authorization === '' ? {} : { authorization };
      const { status } = await call(app, method, target, EXAMPLES[name], headers);
      expect([name, authorization.slice(0, 12), OPEN.includes(name) || status === 401]).toEqual([
        name,
        authorization.slice(0, 12),
        true,
      ]);
    }
  }
});

/** The status alone: a stream of events has no end. */
async function statusOf(method: string, path: string, body: object | undefined, headers: Record<string, string>) {
  const response = await fetch(app.address + path, {
    method,
    headers: { ...headers, ...(body ? { 'content-type': 'application/json' } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  await response.body?.cancel();
  return response.status;
}

it('every route wants a scope: none but the open ones answers keys of every kind', async () => {
  for (const operation of operations) {
    const { method, path } = operation;
    const name = nameOf(operation);
    if (OPEN.includes(name)) continue;
    const target = fill(path, SHARED.test(path) ? 'theta' : 'none');
    const statuses: number[] = [];
    for (const scope of ['forecast', 'read', 'write']) {
      const url =
        path.startsWith('/v1/jobs/') || path.startsWith('/v1/keys/') ? fill(path, owned['/v1/keys/']!.nobodys) : target;
      statuses.push(await statusOf(method, url, EXAMPLES[name], as(scope)));
    }
    // What asks about the key itself is for every key.
    if (/^GET \/(validate_api_key|usage|model_params)$|^GET \/v1\/models/.test(name)) continue;
    expect([name, statuses.includes(403)]).toEqual([name, true]);
  }
});
