/** What jobs promise, once for each server that can hold the queues. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { JobSystem } from '../../src/jobs/system.js';
import { type EmbeddedServer, startPostgres } from '../../src/platform/embedded/postgres.js';
import { findRedisServer, startRedis } from '../../src/platform/embedded/redis.js';
import type { QueueConnection } from '../../src/platform/embedded/services.js';
import { Database } from '../../src/store/database.js';
import { ResultStore } from '../../src/store/results.js';
import { processors, type Seen, table } from './support/job-table.js';
import { Helper, scratch, until } from './support/processes.js';
import { redisHere } from './support/redis.js';

const LOCK_MS = 1500;
const ann = { owner: 'ann' };

for (const kind of ['postgres', 'redis'] as const) {
  (kind === 'redis' && !redisHere() ? describe.skip : describe)(`jobs on ${kind}`, () => {
    const dir = scratch();
    let postgres: EmbeddedServer;
    let redis: EmbeddedServer | undefined;
    let connection: QueueConnection;
    let database: Database;
    let jobs: JobSystem<typeof table>;
    let seen: Seen;
    let helpers: Helper[] = [];

    beforeAll(async () => {
      postgres = await startPostgres(dir.path);
      if (kind === 'redis') redis = await startRedis(dir.path, findRedisServer()!);
      connection = { kind, url: (redis ?? postgres).url };
    });
    afterAll(async () => {
      await redis?.stop();
      await postgres.stop();
      dir.remove();
    });
    beforeEach(async () => {
      database = await Database.open({ url: postgres.url });
      seen = { order: [], stopped: [], starts: [] };
      jobs = await JobSystem.open({ table, database, connection, maxUnfinished: 500 });
    });
    afterEach(async () => {
      for (const helper of helpers) await helper.kill();
      helpers = [];
      await jobs.close();
      // What a failed test leaves behind shall not run in the next one.
      await database.pool.query(
        "update jobs set status = 'failed', finished_at = now() where status in ('queued', 'running')",
      );
      await database.close();
    });

    const work = () => jobs.work(processors(database, seen), { lockMs: LOCK_MS, retentionMs: 1e9 });
    const helper = async () => {
      const started = Helper.start('test/service/support/job-worker.ts', [
        postgres.url,
        kind,
        connection.url,
        String(LOCK_MS),
      ]);
      helpers.push(started);
      await started.next();
      return started;
    };
    const finished = (id: string, timeoutMs = 30_000) => jobs.client.wait('ann', id, { timeoutMs });

    it('run and leave their result, for their owner alone', async () => {
      await work();
      const { id } = await jobs.client.add('echo', { value: { n: 1 } }, ann);
      expect(await finished(id)).toMatchObject({
        status: 'succeeded',
        result: { value: { n: 1 } },
        progress: 1,
        attempts: 1,
        error: null,
      });
      await expect(jobs.client.status('eve', id)).rejects.toMatchObject({ code: 'UNKNOWN_JOB' });
      await expect(jobs.client.cancel('eve', id)).rejects.toMatchObject({ code: 'UNKNOWN_JOB' });
      await expect(jobs.client.wait('eve', id, { timeoutMs: 10 })).rejects.toMatchObject({ code: 'UNKNOWN_JOB' });
      await expect(jobs.client.status('ann', '7')).rejects.toMatchObject({ code: 'UNKNOWN_JOB' });
      expect(await jobs.client.list('eve')).toEqual([]);
      expect((await jobs.client.list('ann', { kind: 'echo', limit: 1 })).map((job) => job.id)).toEqual([id]);
    });

    it('are tried again with growing pauses until they succeed', async () => {
      await work();
      const { id } = await jobs.client.add('flaky', { failures: 2 }, ann);
      expect(await finished(id)).toMatchObject({ status: 'succeeded', result: { attempt: 3 }, attempts: 3 });
      const [a, b, c] = seen.starts.map(({ at }) => at);
      expect(seen.starts.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
      expect(b! - a!).toBeGreaterThanOrEqual(190);
      expect(c! - b!).toBeGreaterThanOrEqual(390);
    });

    it('fail after their last attempt, with the reason', async () => {
      await work();
      const { id } = await jobs.client.add('flaky', { failures: 99 }, ann);
      expect(await finished(id)).toMatchObject({
        status: 'failed',
        attempts: 3,
        result: null,
        error: { code: 'INTERNAL', message: expect.stringContaining('failure 3') },
      });
      expect(seen.starts.length).toBe(3);
    });

    it('that can never succeed are not tried again, and say what to do', async () => {
      await work();
      const { id } = await jobs.client.add('refused', {}, ann);
      expect((await finished(id)).error).toEqual({
        code: 'NO_VALUES',
        message: 'the series has no values',
        where: { series: 'a' },
        fix: 'send some',
      });
      await sleep(500);
      expect(seen.starts.length).toBe(1);
    });

    it('tell their progress as it happens', async () => {
      await work();
      const { id } = await jobs.client.add('obedient', { ms: 1000 }, ann);
      const told: number[] = [];
      for await (const job of jobs.client.watch('ann', id)) told.push(job.progress);
      expect(told.length).toBeGreaterThanOrEqual(4);
      expect([...told].sort((a, b) => a - b)).toEqual(told);
      expect(told.at(-1)).toBe(1);
    });

    it('that wait can be cancelled, and are never run', async () => {
      const { id } = await jobs.client.add('flaky', { failures: 0 }, ann);
      expect(await jobs.client.cancel('ann', id, 'changed my mind')).toMatchObject({
        status: 'cancelled',
        error: { code: 'CANCELLED', message: 'changed my mind' },
      });
      await work();
      const { id: next } = await jobs.client.add('echo', { value: 1 }, ann);
      await finished(next);
      expect(seen.starts).toEqual([]);
      // Cancelling again, or what has finished, changes nothing.
      expect((await jobs.client.cancel('ann', id)).error?.message).toBe('changed my mind');
      expect((await jobs.client.cancel('ann', next)).status).toBe('succeeded');
    });

    it('that run can be cancelled: the processor hears of it, in whatever process it is', async () => {
      const worker = await helper();
      const { id } = await jobs.client.add('windows', { windows: 1000, ms: 50 }, ann);
      await until(async () => (await jobs.client.status('ann', id)).progress > 0);
      const begin = Date.now();
      await jobs.client.cancel('ann', id);
      expect(await finished(id)).toMatchObject({ status: 'cancelled', error: { code: 'CANCELLED' } });
      expect(Date.now() - begin).toBeLessThan(2000);
      // The worker really stopped: no more windows appear.
      const count = async () => (await new ResultStore(database).windowsDone(id, 's')).size;
      const after = await count();
      await sleep(400);
      expect(await count()).toBe(after);
      expect(worker.child.exitCode).toBeNull();
    });

    it('of high priority go first', async () => {
      await jobs.client.add('ordered', { name: 'first', ms: 0 }, ann);
      for (const [name, priority] of [
        ['low', 100],
        ['middle', 50],
        ['high', 1],
        ['low2', 100],
        ['high2', 1],
      ] as const) {
        await jobs.client.add('ordered', { name, ms: 0 }, { ...ann, priority });
      }
      const { id } = await jobs.client.add('ordered', { name: 'last', ms: 0 }, { ...ann, priority: 1000 });
      await work();
      await finished(id);
      expect(seen.order).toEqual(['high', 'high2', 'first', 'middle', 'low', 'low2', 'last']);
    });

    it('of one key are one job while it is unfinished, for each owner', async () => {
      const add = (owner: string) => jobs.client.add('unique', { key: 'k', ms: 100 }, { owner });
      const [a, b, c, other] = await Promise.all([add('ann'), add('ann'), add('ann'), add('eve')]);
      expect(new Set([a!.id, b!.id, c!.id]).size).toBe(1);
      expect([a!, b!, c!].filter((added) => added.deduplicated).length).toBe(2);
      expect(other!).toMatchObject({ deduplicated: false });
      expect(other!.id).not.toBe(a!.id);
      await work();
      await finished(a!.id);
      const again = await add('ann');
      expect(again.deduplicated).toBe(false);
      expect(await finished(again.id)).toMatchObject({ status: 'succeeded' });
    });

    it('do not begin before their delay', async () => {
      await work();
      const begin = Date.now();
      const { id } = await jobs.client.add('echo', { value: 1 }, { ...ann, delayMs: 700 });
      const job = await finished(id);
      expect(job.status).toBe('succeeded');
      expect(job.startedAt!.getTime() - begin).toBeGreaterThanOrEqual(690);
    });

    it('past their deadline fail, whether they run or wait', async () => {
      await work();
      const deadline = () => new Date(Date.now() + 600);
      const running = await jobs.client.add('obedient', { ms: 20_000 }, { ...ann, deadline: deadline() });
      const waiting = await jobs.client.add('echo', { value: 1 }, { ...ann, deadline: deadline(), delayMs: 60_000 });
      for (const { id } of [running, waiting]) {
        const job = await finished(id, 10_000);
        expect(job).toMatchObject({ status: 'failed', error: { code: 'DEADLINE_EXCEEDED' } });
        expect(job.finishedAt!.getTime() - job.deadline!.getTime()).toBeLessThan(2500);
      }
      expect(seen.stopped).toEqual([running.id]);
    });

    it('whose processor does not stop are given up and tried again', async () => {
      await work();
      const { id } = await jobs.client.add('stubborn', { ms: 60_000 }, ann);
      const job = await finished(id, 40_000);
      expect(job).toMatchObject({ status: 'failed', attempts: 2, error: { code: 'ATTEMPT_TIMEOUT' } });
      expect(seen.starts.map(({ attempt }) => attempt)).toEqual([1, 2]);
    });

    it('of a flow begin when their children have succeeded, and get their results', async () => {
      await work();
      const [root] = await jobs.client.addFlow(
        {
          kind: 'collect',
          data: {},
          children: [
            { kind: 'echo', data: { value: 'a', ms: 200 } },
            { kind: 'echo', data: { value: 'b' } },
            { kind: 'flaky', data: { failures: 1 }, children: [{ kind: 'echo', data: { value: 'deep' } }] },
          ],
        },
        ann,
      );
      const job = await finished(root!);
      expect(job).toMatchObject({ status: 'succeeded' });
      expect(job.result).toEqual({ values: ['a', 'b', null] });
    });

    it('of a flow fail with a child that fails, and are cancelled with their root', async () => {
      await work();
      const [root] = await jobs.client.addFlow(
        {
          kind: 'collect',
          data: {},
          children: [
            { kind: 'refused', data: {} },
            { kind: 'echo', data: { value: 1 } },
          ],
        },
        ann,
      );
      expect(await finished(root!)).toMatchObject({ status: 'failed', error: { code: 'CHILD_FAILED' } });

      const [top, child] = await jobs.client.addFlow(
        { kind: 'collect', data: {}, children: [{ kind: 'obedient', data: { ms: 30_000 } }] },
        ann,
      );
      await until(async () => (await jobs.client.status('ann', child!)).status === 'running');
      await jobs.client.cancel('ann', top!);
      expect(await finished(top!)).toMatchObject({ status: 'cancelled' });
      expect(await finished(child!)).toMatchObject({ status: 'cancelled' });
    });

    it('of a killed worker are finished by another one, with every window once', async () => {
      const first = await helper();
      const ids = await Promise.all(
        Array.from({ length: 6 }, async () => (await jobs.client.add('windows', { windows: 30, ms: 40 }, ann)).id),
      );
      await until(async () => {
        const states = await Promise.all(ids.map((id) => jobs.client.status('ann', id)));
        return states.every((job) => job.progress > 0.2);
      });
      await first.kill('SIGKILL');
      const begin = Date.now();
      const second = await helper();
      for (const id of ids) {
        const job = await finished(id, 60_000);
        expect(job).toMatchObject({ status: 'succeeded', attempts: 2, result: { windows: 30, attempt: 2 } });
        const { results } = await new ResultStore(database).page('ann', id, { limit: 1000 });
        expect(results.map(({ window }) => window)).toEqual(Array.from({ length: 30 }, (_, i) => i));
        // The work of the first run was kept.
        expect(results.some(({ meta }) => meta.attempt === 1)).toBe(true);
        expect(results.some(({ meta }) => meta.attempt === 2)).toBe(true);
      }
      expect(Date.now() - begin).toBeLessThan(40_000);
      await second.kill();
    });

    it('that kill every worker end after their attempts', async () => {
      const { id } = await jobs.client.add('poison', {}, ann);
      for (let attempt = 1; attempt <= 3; attempt++) {
        const victim = await helper();
        expect(await victim.exited).toBeNull();
      }
      await work();
      expect(await finished(id, 60_000)).toMatchObject({
        status: 'failed',
        attempts: 3,
        error: { code: 'WORKER_LOST' },
      });
    });

    it('of a worker that shuts down finish, or go back without losing an attempt', async () => {
      const worker = await helper();
      const short = await jobs.client.add('windows', { windows: 10, ms: 60 }, ann);
      const long = await jobs.client.add('windows', { windows: 100, ms: 60 }, ann);
      await until(async () => (await jobs.client.status('ann', long.id)).progress > 0);
      worker.say('stop 1500');
      expect(await worker.exited).toBe(0);
      expect(await jobs.client.status('ann', short.id)).toMatchObject({ status: 'succeeded' });
      expect(await jobs.client.status('ann', long.id)).toMatchObject({ status: 'queued', maxAttempts: 4 });
      await helper();
      expect(await finished(long.id)).toMatchObject({ status: 'succeeded', result: { windows: 100 } });
    });

    it('that the queue has lost are queued again', async () => {
      const { id } = await jobs.client.add('echo', { value: 'found' }, ann);
      const [root, child] = await jobs.client.addFlow(
        { kind: 'collect', data: {}, children: [{ kind: 'echo', data: { value: 'c' } }] },
        ann,
      );
      for (const lost of [root!, child!, id]) await jobs.queues.remove('quick', lost).catch(() => {});
      await work();
      expect(await finished(id, 20_000)).toMatchObject({ status: 'succeeded', result: { value: 'found' } });
      expect(await finished(root!, 20_000)).toMatchObject({ status: 'succeeded', result: { values: ['c'] } });
    });

    it('carry no arrays: what is large is refused, and the queue holds ids only', async () => {
      const add = (value: unknown) => jobs.client.add('echo', { value }, ann);
      await expect(add(Array.from({ length: 65 }, () => 1))).rejects.toMatchObject({ code: 'JOB_DATA_TOO_LARGE' });
      await expect(add({ deep: [{ y: new Float64Array(2) }] })).rejects.toMatchObject({ code: 'JOB_DATA_TOO_LARGE' });
      await expect(add('x'.repeat(20_000))).rejects.toMatchObject({ code: 'JOB_DATA_TOO_LARGE' });
      await expect(jobs.client.add('flaky', { failures: 'x' } as never, ann)).rejects.toMatchObject({
        code: 'BAD_JOB_DATA',
        where: { field: 'failures' },
      });
      const { id } = await jobs.client.add('echo', { value: 'secret-looking' }, ann);
      const queue = new jobs.backend.Queue('quick', { connection: jobs.backend.adding });
      const stored = await queue.getJob(id);
      expect(stored!.data).toEqual({});
      expect(JSON.stringify(stored!.opts)).not.toContain('secret-looking');
      await queue.close();
    });

    it('are recorded with what they need, or not at all', async () => {
      const failing = jobs.client.add(
        'echo',
        async (client) => {
          await client.query(
            "insert into objects (id, owner, kind, size) values (gen_random_uuid(), 'atomic', 'x', 0)",
          );
          throw new Error('no room');
        },
        ann,
      );
      await expect(failing).rejects.toThrow('no room');
      const { rowCount } = await database.pool.query("select from objects where owner = 'atomic'");
      expect(rowCount).toBe(0);
    });

    it('of one owner are limited', async () => {
      const client = await JobSystem.open({ table, database, connection, maxUnfinished: 2 });
      await client.client.add('echo', { value: 1 }, { owner: 'greedy' });
      await client.client.add('echo', { value: 2 }, { owner: 'greedy' });
      await expect(client.client.add('echo', { value: 3 }, { owner: 'greedy' })).rejects.toMatchObject({
        code: 'TOO_MANY_JOBS',
      });
      await client.client.add('echo', { value: 3 }, { owner: 'modest' });
      await client.close();
    });
  });
}
