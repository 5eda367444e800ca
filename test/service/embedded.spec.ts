import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import pg from 'pg';
import { isAlive } from '../../src/platform/embedded/guardian.js';
import { startPostgres } from '../../src/platform/embedded/postgres.js';
import { findRedisServer, startRedis } from '../../src/platform/embedded/redis.js';
import { startServices } from '../../src/platform/embedded/services.js';
import { Helper, processesNaming, scratch, until } from './support/processes.js';
import { redisHere } from './support/redis.js';

interface Ready {
  databaseUrl: string;
  queueUrl: string;
  description: string[];
}

const HELPER = 'test/service/support/run-services.ts';
const isRoot = process.getuid?.() === 0;

async function query<T extends pg.QueryResultRow>(url: string, sql: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query<T>(sql)).rows;
  } finally {
    await client.end();
  }
}

const postmaster = (dataDir: string) =>
  Number(readFileSync(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8').split('\n')[0]);

describe('embedded PostgreSQL', () => {
  let dir: ReturnType<typeof scratch>;
  const helpers: Helper[] = [];
  beforeEach(() => {
    dir = scratch();
  });
  afterEach(async () => {
    for (const helper of helpers.splice(0)) await helper.kill();
    await until(() => processesNaming(dir.path).length === 0, 20_000, `the end of every process of ${dir.path}`);
    dir.remove();
  });
  const run = (dataDir: string, options?: Parameters<typeof Helper.start>[2]) => {
    const helper = Helper.start(HELPER, [dataDir], options);
    helpers.push(helper);
    return helper;
  };

  it('keeps its data over a restart, takes a password, and leaves no process behind', async () => {
    const first = await startPostgres(dir.path);
    expect(first.description).toMatch(/^PostgreSQL 18\.\d+.*, embedded in /);
    expect(first.description).not.toContain(new URL(first.url).password);
    await query(first.url, 'create table kept (n int); insert into kept values (7)');
    const stranger = new URL(first.url);
    stranger.password = 'wrong';
    await expect(query(stranger.href, 'select 1')).rejects.toMatchObject({ code: '28P01' });
    expect(statSync(join(dir.path, 'postgres.secret')).mode & 0o077).toBe(0);
    await first.stop();
    expect(isAlive(first.pid)).toBe(false);

    const second = await startPostgres(dir.path);
    expect(await query(second.url, 'select n from kept')).toEqual([{ n: 7 }]);
    await second.stop();
  });

  it('loses no acknowledged row when the server is killed, three times over', async () => {
    let acknowledged = 0;
    for (let round = 0; round < 3; round++) {
      const server = await startPostgres(dir.path);
      const client = new pg.Client({ connectionString: server.url });
      client.on('error', () => {});
      await client.connect();
      await client.query('create table if not exists acked (n int primary key)');
      const { rows } = await client.query<{ count: number }>('select count(*)::int as count from acked');
      // One insert may have been committed without our hearing of it.
      expect(rows[0]?.count).toBeGreaterThanOrEqual(acknowledged);
      let n = (await client.query<{ next: number }>('select coalesce(max(n), 0) + 1 as next from acked')).rows[0]!.next;
      setTimeout(() => process.kill(postmaster(dir.path), 'SIGKILL'), 150 + 50 * round);
      try {
        for (;;) {
          await client.query('insert into acked values ($1)', [n++]);
          acknowledged = n - 1;
        }
      } catch {
        // The kill.
      }
      expect(acknowledged).toBeGreaterThan(0);
      await client.end().catch(() => {});
      await server.stop();
    }
    const last = await startPostgres(dir.path);
    const rows = await query<{ n: number }>(last.url, 'select n from acked order by n');
    const numbers = rows.map(({ n }) => n);
    expect(numbers.length).toBeGreaterThanOrEqual(acknowledged);
    expect(numbers).toEqual(Array.from(numbers, (_, i) => i + 1));
    await last.stop();
  });

  it('is started again at the same address when it dies, and not when it was stopped', async () => {
    const server = await startPostgres(dir.path);
    await query(server.url, 'create table kept (n int); insert into kept values (3)');
    for (let death = 0; death < 2; death++) {
      const before = postmaster(dir.path);
      process.kill(before, 'SIGKILL');
      await until(async () => (await query(server.url, 'select n from kept').catch(() => [])).length === 1);
      expect(postmaster(dir.path)).not.toBe(before);
    }
    await server.stop();
    await new Promise((done) => setTimeout(done, 500));
    await expect(query(server.url, 'select 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('ends with a parent that is killed, and starts again at once', async () => {
    const parent = run(dir.path);
    const { databaseUrl } = await parent.next<Ready>();
    await query(databaseUrl, 'create table kept (n int); insert into kept values (1)');
    const pid = postmaster(dir.path);
    await parent.kill('SIGKILL');
    const server = await startPostgres(dir.path);
    expect(await query(server.url, 'select n from kept')).toEqual([{ n: 1 }]);
    await server.stop();
    expect(isAlive(pid)).toBe(false);
  });

  it('takes over a server whose parent and guardian were both killed', async () => {
    const parent = run(dir.path);
    const { databaseUrl } = await parent.next<Ready>();
    const pid = postmaster(dir.path);
    const guardians = processesNaming(dir.path).filter((other) => other !== pid && other !== parent.child.pid);
    for (const guardian of guardians) {
      if (readFileSync(`/proc/${guardian}/cmdline`, 'utf8').startsWith('/bin/sh')) process.kill(guardian, 'SIGKILL');
    }
    await parent.kill('SIGKILL');
    expect(isAlive(pid)).toBe(true);
    const server = await startPostgres(dir.path);
    expect(server.pid).toBe(pid);
    expect(server.url).toBe(databaseUrl);
    expect(server.description).toContain('taken over');
    await server.stop();
    expect(isAlive(pid)).toBe(false);
  });

  it('is shared by processes that start together, and its owner alone stops it', async () => {
    const both = [run(dir.path), run(dir.path)];
    const [a, b] = await Promise.all(both.map((helper) => helper.next<Ready>()));
    expect(a!.databaseUrl).toBe(b!.databaseUrl);
    const guest = [a, b].findIndex((ready) => ready!.description[0]!.includes('shared with process'));
    expect(guest).toBeGreaterThanOrEqual(0);
    const pid = postmaster(dir.path);
    both[guest]!.say('stop');
    await both[guest]!.exited;
    expect(isAlive(pid)).toBe(true);
    both[1 - guest]!.say('stop');
    await both[1 - guest]!.exited;
    expect(isAlive(pid)).toBe(false);
  });

  it('starts after a crash although another process has its old number', async () => {
    const first = await startPostgres(dir.path);
    await first.stop();
    writeFileSync(
      join(dir.path, 'postgres', 'postmaster.pid'),
      `${process.pid}\n${join(dir.path, 'postgres')}\n0\n1\n\n127.0.0.1\n`,
    );
    const second = await startPostgres(dir.path);
    expect(await query(second.url, 'select 1 as one')).toEqual([{ one: 1 }]);
    await second.stop();
  });

  it('says which version the data belongs to when it is not ours', async () => {
    const first = await startPostgres(dir.path);
    await first.stop();
    writeFileSync(join(dir.path, 'postgres', 'PG_VERSION'), '12\n');
    await expect(startPostgres(dir.path)).rejects.toMatchObject({
      code: 'EMBEDDED_POSTGRES',
      message: expect.stringContaining('belongs to PostgreSQL 12'),
    });
  });

  (isRoot ? it : it.skip)('runs for root in a folder that only root may enter', async () => {
    const home = scratch(homedir());
    try {
      chmodSync(home.path, 0o700);
      const server = await startPostgres(home.path);
      expect(await query(server.url, 'select 1 as one')).toEqual([{ one: 1 }]);
      expect(statSync(join(home.path, 'postgres')).uid).toBe(0);
      await server.stop();
    } finally {
      home.remove();
    }
  });

  (isRoot ? it : it.skip)('runs for root as nobody where user namespaces are forbidden', async () => {
    // Without `unshare` on the PATH a namespace cannot be made, which looks the same to us.
    const bin = join(dir.path, 'bin');
    mkdirSync(bin);
    symlinkSync(process.execPath, join(bin, 'node'));
    chmodSync(dir.path, 0o755);
    const helper = run(join(dir.path, 'data'), { env: { PATH: bin } });
    const { databaseUrl } = await helper.next<Ready>();
    expect(await query(databaseUrl, 'select 1 as one')).toEqual([{ one: 1 }]);
    expect(statSync(join(dir.path, 'data', 'postgres')).uid).toBe(65_534);
    helper.say('stop');
    expect(await helper.exited).toBe(0);
  });

  (isRoot ? it : it.skip)('runs for an ordinary user', async () => {
    const mine = join(dir.path, 'data');
    mkdirSync(mine);
    chmodSync(dir.path, 0o755);
    chownSync(mine, 65_534, 65_534);
    const helper = run(mine, { uid: 65_534, gid: 65_534, env: { HOME: mine } });
    const { databaseUrl } = await helper.next<Ready>();
    expect(await query(databaseUrl, 'select 1 as one')).toEqual([{ one: 1 }]);
    helper.say('stop');
    expect(await helper.exited).toBe(0);
  });
});

describe('private Redis', () => {
  const here = redisHere() ? it : it.skip;

  here('loses no acknowledged write when it is killed, and needs its password', async () => {
    const dir = scratch();
    const program = findRedisServer()!;
    const first = await startRedis(dir.path, program);
    const client = new Redis(first.url, { retryStrategy: () => null, maxRetriesPerRequest: 0 });
    client.on('error', () => {});
    for (let i = 1; i <= 500; i++) await client.incr('acked');
    process.kill(first.pid, 'SIGKILL');
    client.disconnect();
    await until(() => !isAlive(first.pid));
    // It comes back at the same address by itself.
    const back = new Redis(first.url, { maxRetriesPerRequest: null });
    back.on('error', () => {});
    expect(await back.get('acked')).toBe('500');
    back.disconnect();
    await first.stop();

    const second = await startRedis(dir.path, program);
    const again = new Redis(second.url);
    expect(await again.get('acked')).toBe('500');
    expect(await again.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction']);
    await again.quit();
    const stranger = connect(Number(new URL(second.url).port), '127.0.0.1');
    stranger.write('GET acked\r\n');
    const [answer] = (await once(stranger, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^-NOAUTH/);
    stranger.destroy();
    await second.stop();
    expect(isAlive(second.pid)).toBe(false);
    dir.remove();
  });

  here('ends with a parent that is killed', async () => {
    const dir = scratch();
    const parent = Helper.start(HELPER, [dir.path, 'redis']);
    const { queueUrl } = await parent.next<Ready>();
    expect(queueUrl).toMatch(/^redis:/);
    await parent.kill('SIGKILL');
    await until(() => processesNaming(dir.path).length === 0, 20_000, 'the end of both servers');
    const services = await startServices({
      dataDir: dir.path,
      databaseUrl: undefined,
      redisUrl: undefined,
      queue: 'redis',
    });
    expect(services.queue.kind).toBe('redis');
    await services.close();
    dir.remove();
  });
});
