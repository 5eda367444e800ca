import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { ForecastRequest } from '../../src/forecast/forecaster.js';
import { resolveForecaster } from '../../src/forecast/models.js';
import { parted, QueueEngine } from '../../src/jobs/forecast/queue-engine.js';
import { JobSystem } from '../../src/jobs/system.js';
import { type AdderJobs, jobTable } from '../../src/jobs/table.js';
import { loadConfig } from '../../src/platform/config.js';
import { type EmbeddedServer, startPostgres } from '../../src/platform/embedded/postgres.js';
import { findRedisServer, startRedis } from '../../src/platform/embedded/redis.js';
import type { QueueConnection } from '../../src/platform/embedded/services.js';
import { Database } from '../../src/store/database.js';
import { Helper, processesNaming, scratch, until } from './support/processes.js';
import { redisHere } from './support/redis.js';

const request = (last: number, horizon = 3): ForecastRequest => ({
  history: Float64Array.from({ length: 60 }, (_, i) => (i === 59 ? last : Math.sin(i / 3) * 10 + i / 7)),
  horizon,
  season: 12,
  frequency: 'M',
  quantiles: [0.1, 0.5, 0.9],
});

for (const kind of ['postgres', 'redis'] as const) {
  (kind === 'redis' && !redisHere() ? describe.skip : describe)(`forecasts through the queue on ${kind}`, () => {
    const dir = scratch();
    let postgres: EmbeddedServer;
    let redis: EmbeddedServer | undefined;
    let database: Database;
    let jobs: JobSystem<AdderJobs>;
    let engine: QueueEngine;
    let helpers: Helper[] = [];
    const config = loadConfig({ ADDER_MODEL: 'theta', ADDER_SYNC_TIMEOUT_MS: '30000', ADDER_BATCH_QUEUE: '2000' });

    beforeAll(async () => {
      postgres = await startPostgres(dir.path);
      if (kind === 'redis') redis = await startRedis(dir.path, findRedisServer()!);
      const connection: QueueConnection = { kind, url: (redis ?? postgres).url };
      database = await Database.open({ url: postgres.url });
      jobs = await JobSystem.open({ table: jobTable, database, connection, maxUnfinished: 1000 });
      engine = new QueueEngine(jobs.client, { config });
    });
    afterEach(async () => {
      for (const helper of helpers.splice(0)) await helper.kill();
      helpers = [];
    });
    afterAll(async () => {
      await jobs.close();
      await database.close();
      await redis?.stop();
      await postgres.stop();
      dir.remove();
    });

    const worker = async (env: Record<string, string> = {}) => {
      const helper = Helper.start('src/worker.ts', [], {
        env: {
          DATABASE_URL: postgres.url,
          ADDER_LOG_FORMAT: 'json',
          ADDER_BACKEND: 'wasm',
          ADDER_MODEL: 'theta',
          ADDER_LOCK_MS: '1500',
          ...(redis ? { REDIS_URL: redis.url } : { ADDER_QUEUE: 'postgres' }),
          ...env,
        },
      });
      helpers.push(helper);
      await helper.next();
      return helper;
    };

    it('answer as the forecaster does, small calls and large ones', async () => {
      await worker();
      const forecaster = await resolveForecaster('theta');
      const small = [request(1), { ...request(2), horizon: 9, quantiles: [0.25, 0.75], frequency: undefined }];
      expect(await engine.forecast(small)).toEqual(await forecaster.forecast(small));
      const large = Array.from({ length: 600 }, (_, i) => request(i));
      expect(parted(large).map((part) => part.length)).toEqual([256, 256, 88]);
      expect(await engine.forecast(large)).toEqual(await forecaster.forecast(large));
      expect(await engine.describe('naive')).toEqual({ model: 'naive', backend: 'javascript' });
      await engine.selfTest();
      // Nothing of it stays.
      const { rowCount } = await database.pool.query('select from jobs');
      expect(rowCount).toBe(0);
    });

    it('fail with the reason of the forecaster', async () => {
      await worker();
      const empty = { ...request(1), history: new Float64Array(9).fill(Number.NaN) };
      await expect(engine.forecast([request(1), empty])).rejects.toMatchObject({ code: 'NO_VALUES' });
      // Calls that share a job do not share their faults.
      const together = await Promise.allSettled([1, 2, 3].map((n) => engine.forecast([n === 2 ? empty : request(n)])));
      expect(together.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
      expect(together[1]).toMatchObject({ reason: { code: 'NO_VALUES' } });
      await expect(engine.forecast([request(1)], { model: 'no-such' })).rejects.toMatchObject({
        code: 'UNKNOWN_MODEL',
      });
    });

    it('are refused when too much waits, given up when the caller goes or the time is over, and then not computed', async () => {
      const impatient = new QueueEngine(jobs.client, {
        config: {
          ...config,
          server: { ...config.server, syncTimeoutMs: 600 },
          inference: { ...config.inference, queueSize: 3 },
        },
      });
      const abort = new AbortController();
      const waiting = impatient.forecast([request(1), request(2)], { signal: abort.signal });
      await expect(impatient.forecast([request(1), request(2)])).rejects.toMatchObject({
        code: 'OVERLOADED',
        retryAfter: 5,
      });
      await sleep(100);
      abort.abort(new Error('hung up'));
      await expect(waiting).rejects.toThrow('hung up');
      await expect(impatient.forecast([request(3)])).rejects.toMatchObject({ code: 'TIMEOUT' });
      const unfinished = async () =>
        (await database.pool.query("select from jobs where status in ('queued', 'running')")).rowCount;
      await until(async () => (await unfinished()) === 0);
    });

    it('are answered, every one, while workers and inference processes are killed', async () => {
      await worker();
      let first = await worker();
      const [expected] = await (await resolveForecaster('theta')).forecast([request(5)]);
      let done = 0;
      const total = 200;
      const all = Promise.all(
        Array.from({ length: total }, async (_, i) => {
          await sleep(i * 15);
          const [result] = await engine.forecast([request(5)]);
          expect(result).toEqual(expected);
          done++;
        }),
      );
      await until(() => done > 20);
      await first.kill('SIGKILL');
      await until(() => done > 40);
      first = await worker();
      await until(() => done > 80);
      for (const pid of processesNaming('inference-child')) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It ended by itself.
        }
      }
      await all;
      expect(done).toBe(total);
    });

    it('end with a worker that stops in an orderly way', async () => {
      const helper = await worker();
      const answers = Array.from({ length: 20 }, () => engine.forecast([request(1)]));
      await Promise.race(answers);
      const next = await worker();
      helper.child.kill('SIGTERM');
      expect(await helper.exited).toBe(0);
      await Promise.all(answers);
      next.child.kill('SIGTERM');
      expect(await next.exited).toBe(0);
    });
  });
}
