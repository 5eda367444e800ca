import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Helper, scratch } from '../service/support/processes.js';
import { call, startApp, type TestApp } from './app.js';

interface Key {
  id: string;
  token: string;
  owner: string;
  scopes: string[];
}

let app: TestApp;
const dir = scratch();
beforeAll(async () => {
  app = await startApp({}, dir.path);
});
afterAll(async () => {
  await app.stop();
  dir.remove();
});

const as = (key: Pick<Key, 'token'>) => ({ authorization: `Bearer ${key.token}` });
const point = { timestamps: ['2024-01-01'], values: [1] };

it('guard a service from the first one on: accounts, scopes, limits and revocation', async () => {
  // Nothing but this machine may be let in while there is no key.
  const open = Helper.start('src/main.ts', [], {
    env: { PORT: '0', HOST: '0.0.0.0', ADDER_DATA_DIR: dir.path, ADDER_QUEUE: 'postgres' },
  });
  await expect(open.next()).rejects.toThrow(/NO_KEYS.*HOST=0\.0\.0\.0/);
  expect(await open.exited).toBe(2);

  await call(app, 'POST', '/v1/series/before/points', point);
  const created = await call<Key>(app, 'POST', '/v1/keys', { name: 'first', scopes: ['read'] });
  expect(created.status).toBe(201);
  const admin = created.body;
  expect(admin.token).toMatch(/^adder_[a-z0-9]{10}_[\w-]{43}$/);
  expect(admin).toMatchObject({ owner: 'local', scopes: ['forecast', 'read', 'write', 'admin'] });

  // No request goes without a key now, and a wrong one is told from none.
  expect((await call(app, 'GET', '/v1/series')).status).toBe(401);
  const wrong = await call<{ code: string }>(
    app,
    'GET',
    '/v1/series',
    undefined,
    as({ token: `${admin.token.slice(0, -1)}_` }),
  );
  expect([wrong.status, wrong.body.code]).toEqual([401, 'UNAUTHENTICATED']);
  expect(wrong.headers.get('www-authenticate')).toBe('Bearer');
  const nixtla = await call<{ detail: string }>(app, 'GET', '/validate_api_key', undefined, as({ token: 'nope' }));
  expect([nixtla.status, typeof nixtla.body.detail]).toEqual([401, 'string']);
  expect((await call(app, 'GET', '/validate_api_key', undefined, as(admin))).status).toBe(200);
  expect((await call(app, 'GET', '/health/ready')).status).toBe(200);

  // What was stored before belongs to the first key's account.
  expect((await call(app, 'GET', '/v1/series/before', undefined, as(admin))).status).toBe(200);

  const make = async (body: object) => (await call<Key>(app, 'POST', '/v1/keys', body, as(admin))).body;
  const bob = await make({ name: 'bob', owner: 'bob' });
  const reader = await make({ name: 'reader', owner: 'bob', scopes: ['read'] });

  // Another account's series does not exist, whatever is done to it.
  expect((await call(app, 'GET', '/v1/series/before', undefined, as(bob))).status).toBe(404);
  expect((await call(app, 'GET', '/v1/series/before/points', undefined, as(bob))).status).toBe(404);
  expect((await call(app, 'PATCH', '/v1/series/before', { season: 2 }, as(bob))).status).toBe(404);
  expect((await call(app, 'DELETE', '/v1/series/before', undefined, as(bob))).status).toBe(404);
  const forecast = { series: [{ stored: 'before' }], horizon: 1 };
  expect((await call(app, 'POST', '/v1/forecasts', forecast, as(bob))).status).toBe(404);
  expect((await call(app, 'POST', '/v1/series/before/points', point, as(bob))).status).toBe(200);
  await call(app, 'DELETE', '/v1/series/before', undefined, as(bob));
  expect((await call(app, 'GET', '/v1/series/before', undefined, as(admin))).status).toBe(200);

  // Scopes.
  expect((await call(app, 'GET', '/v1/series', undefined, as(reader))).status).toBe(200);
  expect((await call(app, 'POST', '/v1/series/x/points', point, as(reader))).status).toBe(403);
  expect((await call(app, 'POST', '/v1/forecasts', forecast, as(reader))).status).toBe(403);
  expect((await call(app, 'GET', '/v1/keys', undefined, as(bob))).status).toBe(403);

  // Limits of a key.
  const small = await make({
    name: 'small',
    owner: 'bob',
    limits: { ratePerMinute: 60, rateBurst: 3, seriesPerRequest: 1, bodyMb: 1 },
  });
  const two = { series: [{ values: [1] }, { values: [2] }], horizon: 1 };
  expect((await call(app, 'POST', '/v1/forecasts', two, as(small))).status).toBe(422);
  expect((await call(app, 'POST', '/v1/forecasts', ' '.repeat(2 ** 20 + 1), as(small))).status).toBe(413);
  const statuses: number[] = [];
  for (let i = 0; i < 5; i++) statuses.push((await call(app, 'GET', '/v1/series', undefined, as(small))).status);
  expect(statuses).toContain(429);
  const refused = await call(app, 'GET', '/v1/series', undefined, as(small));
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);

  // Lists never show a secret; a revoked key is none.
  const list = await call<{ keys: Record<string, unknown>[] }>(app, 'GET', '/v1/keys', undefined, as(admin));
  expect(list.body.keys).toHaveLength(4);
  expect(JSON.stringify(list.body)).not.toContain(bob.token.slice(-43));
  expect((await call(app, 'DELETE', `/v1/keys/${bob.id}`, undefined, as(admin))).status).toBe(204);
  expect((await call(app, 'GET', '/v1/series', undefined, as(bob))).status).toBe(401);

  // With keys there, it may listen to the network.
  const wide = Helper.start('src/main.ts', [], {
    env: { PORT: '0', HOST: '0.0.0.0', ADDER_DATA_DIR: dir.path, ADDER_QUEUE: 'postgres' },
  });
  expect(await wide.next<{ address: string }>()).toMatchObject({ address: expect.stringContaining('0.0.0.0') });
  expect(await wide.kill('SIGTERM')).toBe(0);
});
