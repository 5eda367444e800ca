/** Two API and three worker processes on one Redis and one PostgreSQL share the work, and answer as one. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { weekly } from '../http/app.js';
import { Cluster } from './cluster/cluster.js';
import { type Helper, until } from './support/processes.js';
import { redisHere } from './support/redis.js';

const APIS = 2;
const WORKERS = 3;

(redisHere() ? describe : describe.skip)('a cluster', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.open('redis', {
      // As many at a time as one worker holds, so that the others have something to do.
      ADDER_WORKER_CONCURRENCY: '4',
      ADDER_RATE_BURST: '100000',
      ADDER_RATE_PER_MINUTE: '1000000',
    });
    // All at once on an empty database: the migrations are applied by one of them.
    await Promise.all([
      ...Array.from({ length: APIS }, () => cluster.startApi()),
      ...Array.from({ length: WORKERS }, () => cluster.startWorker()),
    ]);
    await cluster.ready();
  }, 120_000);
  afterAll(async () => {
    await cluster?.close();
  });

  const send = async (api: number, method: string, path: string, body?: object) => {
    const response = await fetch(cluster.apis[api]!.address + path, {
      method,
      headers: { 'content-type': 'application/json' },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  const request = (seed: number) => ({ series: [{ values: weekly(80, seed), season: 7 }], horizon: 5 });
  /** Forecast jobs that a worker has finished. */
  const finished = ({ log }: Helper) =>
    log.filter(({ msg, kind }) => msg === 'job succeeded' && kind === 'forecast').length;

  it('gives every process work, and every request the same answer', async () => {
    const seeds = Array.from({ length: 8 }, (_, i) => 100 + 10 * i);
    const expected = new Map<number, unknown>();
    for (const seed of seeds)
      expected.set(seed, (await send(0, 'POST', '/v1/forecasts', request(seed))).body.forecasts);
    expect(new Set([...expected.values()].map((value) => JSON.stringify(value))).size).toBe(seeds.length);
    for (let round = 0; round < 20 && cluster.workers.some((worker) => finished(worker) < 5); round++) {
      const answers = await Promise.all(
        Array.from({ length: 60 }, async (_, i) => {
          const seed = seeds[i % seeds.length]!;
          const { status, body } = await send(i % APIS, 'POST', '/v1/forecasts', request(seed));
          return { seed, status, forecasts: body.forecasts };
        }),
      );
      for (const { seed, status, forecasts } of answers) {
        expect([status, forecasts]).toEqual([200, expected.get(seed)]);
      }
    }
    for (const worker of cluster.workers) expect(finished(worker)).toBeGreaterThanOrEqual(5);
    // An answer is there before the line that tells of it.
    const told = ({ process }: (typeof cluster.apis)[number]) =>
      process.log.filter(({ msg, path }) => msg === 'request' && path === '/v1/forecasts').length;
    await until(() => cluster.apis.every((api) => told(api) > 20), 20_000, 'the requests in the log of every API');
  }, 120_000);

  it('shows each API what came through the other one', async () => {
    const points = { timestamps: weekly(60).map((_, i) => i * 86_400_000), values: weekly(60) };
    expect((await send(0, 'POST', '/v1/series/shared/points', points)).status).toBe(200);
    const read = await Promise.all([0, 1].map((api) => send(api, 'GET', '/v1/series/shared/points')));
    expect(read[0]!.body.values).toEqual(points.values);
    expect(read[1]).toEqual(read[0]);
    const stored = { series: [{ stored: 'shared' }], horizon: 4 };
    const [a, b] = await Promise.all([0, 1].map((api) => send(api, 'POST', '/v1/forecasts', stored)));
    expect(a!.status).toBe(200);
    expect(b!.body.forecasts).toEqual(a!.body.forecasts);
  });

  it('answers while its workers are replaced one by one, and drains those that are told to go', async () => {
    let stop = false;
    let answered = 0;
    const statuses = new Set<number>();
    const clients = Array.from({ length: 6 }, async (_, i) => {
      while (!stop) {
        statuses.add((await send(i % APIS, 'POST', '/v1/forecasts', request(100))).status);
        answered++;
      }
    });
    for (const old of [...cluster.workers]) {
      const before = answered;
      await cluster.startWorker();
      old.child.kill('SIGTERM');
      expect(await old.exited).toBe(0);
      expect(answered).toBeGreaterThan(before);
    }
    stop = true;
    await Promise.all(clients);
    expect([...statuses]).toEqual([200]);
  }, 120_000);

  it('an API that is told to go answers what it has, and refuses what comes after', async () => {
    const { address, process } = cluster.apis.pop()!;
    const running = Array.from({ length: 10 }, (_, i) =>
      fetch(`${address}/v1/forecasts`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(request(200 + i)),
      }),
    );
    await new Promise((done) => setTimeout(done, 20));
    process.child.kill('SIGTERM');
    const answers = await Promise.all(running);
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200));
    expect(await process.exited).toBe(0);
    await expect(fetch(`${address}/health/live`)).rejects.toThrow();
    expect((await send(0, 'POST', '/v1/forecasts', request(1))).status).toBe(200);
  });
});
