/** Every acknowledged job ends once, no result twice, none lost: with every process killed in turn while jobs come and run. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { JobSystem } from '../../src/jobs/system.js';
import { type EmbeddedServer, startPostgres } from '../../src/platform/embedded/postgres.js';
import { findRedisServer, startRedis } from '../../src/platform/embedded/redis.js';
import { Database } from '../../src/store/database.js';
import { ResultStore } from '../../src/store/results.js';
import { table } from './support/job-table.js';
import { Helper, scratch, until } from './support/processes.js';
import { redisHere } from './support/redis.js';
import { processPids } from './support/server-pids.js';

const LOCK_MS = 1500;
const JOBS = 80;
const WINDOWS = 6;

for (const kind of ['postgres', 'redis'] as const) {
  (kind === 'redis' && !redisHere() ? describe.skip : describe)(`jobs on ${kind} under fire`, () => {
    const dir = scratch();
    let postgres: EmbeddedServer;
    let redis: EmbeddedServer | undefined;
    let database: Database;
    let jobs: JobSystem<typeof table>;
    const helpers: Helper[] = [];

    beforeAll(async () => {
      postgres = await startPostgres(dir.path);
      if (kind === 'redis') redis = await startRedis(dir.path, findRedisServer()!);
      database = await Database.open({ url: postgres.url });
      jobs = await JobSystem.open({
        table,
        database,
        connection: { kind, url: (redis ?? postgres).url },
        maxUnfinished: 10_000,
      });
    });
    afterAll(async () => {
      for (const helper of helpers) await helper.kill();
      await jobs.close();
      await database.close();
      await redis?.stop();
      await postgres.stop();
      dir.remove();
    });

    const worker = async () => {
      const url = (redis ?? postgres).url;
      const helper = Helper.start('test/service/support/job-worker.ts', [postgres.url, kind, url, String(LOCK_MS)]);
      helpers.push(helper);
      await helper.next();
      return helper;
    };

    it('end once each, with every window once', async () => {
      let first = await worker();
      await worker();
      const acknowledged: string[] = [];
      let refused = 0;
      const adding = (async () => {
        while (acknowledged.length < JOBS) {
          try {
            const { id } = await jobs.client.add('windows', { windows: WINDOWS, ms: 30 }, { owner: 'ann' });
            acknowledged.push(id);
          } catch {
            // The database was away: not acknowledged, so nothing is promised.
            refused++;
            await sleep(50);
          }
          await sleep(60);
        }
      })();
      const part = (share: number) => until(() => acknowledged.length >= JOBS * share, 60_000);
      await part(0.2);
      await first.kill('SIGKILL');
      first = await worker();
      await part(0.4);
      process.kill(processPids(dir.path).postgres!, 'SIGKILL');
      await part(0.6);
      if (redis) process.kill(processPids(dir.path).redis!, 'SIGKILL');
      else process.kill(processPids(dir.path).postgres!, 'SIGKILL');
      await part(0.8);
      await first.kill('SIGKILL');
      await worker();
      await adding;
      expect(new Set(acknowledged).size).toBe(JOBS);

      const results = new ResultStore(database);
      for (const id of acknowledged) {
        const job = await jobs.client.wait('ann', id, { timeoutMs: 60_000 });
        expect({ id, status: job.status, error: job.error, windows: job.result?.windows }).toEqual({
          id,
          status: 'succeeded',
          error: null,
          windows: WINDOWS,
        });
        const page = await results.page('ann', id);
        expect(page.results.map(({ window }) => window)).toEqual(Array.from({ length: WINDOWS }, (_, i) => i));
      }
      // Besides, at most those whose acknowledgement was lost with the connection.
      const all = await jobs.client.list('ann', { limit: 1000 });
      expect(all.length).toBeGreaterThanOrEqual(JOBS);
      expect(all.length).toBeLessThanOrEqual(JOBS + refused);
      await until(async () => (await jobs.client.list('ann', { status: 'running' })).length === 0, 60_000);
      await until(async () => (await jobs.client.list('ann', { status: 'queued' })).length === 0, 60_000);
    }, 240_000);
  });
}
