/** The first key of a service that shall listen to the network, made where its database is. */
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Cluster } from './cluster/cluster.js';
import { Helper } from './support/processes.js';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.open('postgres', { HOST: '0.0.0.0' });
});
afterAll(async () => {
  await cluster.close();
});

async function adder(...args: string[]) {
  const helper = Helper.start('src/cli.ts', args, { env: { DATABASE_URL: cluster.postgres.url } });
  let printed = '';
  helper.child.stdout?.on('data', (chunk: string) => {
    printed += chunk;
  });
  return { code: await helper.exited, printed };
}

it('opens the network', async () => {
  await expect(cluster.startApi()).rejects.toThrow(/NO_KEYS/);
  expect(await adder('key', 'reader', '--owner', 'ann', '--scopes', 'read,forecast')).toMatchObject({ code: 0 });
  const { code, printed } = await adder('key', 'ops');
  expect([code, printed]).toEqual([0, expect.stringMatching(/^adder_[a-z0-9]{10}_[\w-]{43}\n$/)]);
  const { address } = await cluster.startApi();
  const ask = (headers: Record<string, string>) =>
    fetch(`${address.replace('0.0.0.0', '127.0.0.1')}/v1/keys`, { headers });
  expect((await ask({})).status).toBe(401);
  const { keys } = (await (await ask({ authorization: `Bearer ${printed.trim()}` })).json()) as { keys: object[] };
  expect(keys).toMatchObject([
    { name: 'reader', owner: 'ann', scopes: ['read', 'forecast'] },
    { name: 'ops', owner: 'local', scopes: ['forecast', 'read', 'write', 'admin'] },
  ]);
});

it.each([[['key']], [['key', 'a', '--owner', 'a b']], [['key', 'a', '--scopes', 'root']]])(
  'refuses %j',
  async (args) => {
    expect(await adder(...args)).toEqual({ code: 2, printed: '' });
  },
);
