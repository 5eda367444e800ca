import { describe, expect, it } from '@jest/globals';
import type { LiveOutput } from '../../src/live/feed.js';
import { PARTITIONS } from '../../src/live/log/partition.js';
import { type Helper, until } from '../service/support/processes.js';
import { differenceFromScan } from './support/expectations.js';
import { randomModel } from './support/model.js';
import { OWNER, setting } from './support/setting.js';

const SECOND = 1000;
const START = Date.UTC(2026, 5, 1);
const value = (series: number, i: number) =>
  10 + series + Math.sin((i + series) / 5) + ((i * 31 + series * 17) % 23) / 20;

describe.each(['redis', 'postgres'] as const)('owners of live series on %s', (kind) => {
  const s = setting(kind);

  const held = async (worker: Helper) => {
    worker.say('held');
    return worker.next<{ partitions: number; series: number }>();
  };
  const facts = { describe: () => ({ freq: '1s', season: 1 }) };
  const names = Array.from({ length: 40 }, (_, i) => `o/${i}`);
  const write = (from: number, to: number) =>
    s.write(
      Array.from({ length: to - from }, (_, k) => from + k).flatMap((i) =>
        names.map((name, n): [string, number, number] => [name, START + i * SECOND, value(n, i)]),
      ),
      facts,
    );
  const history = (n: number, length: number) => ({
    values: Float64Array.from({ length }, (_, i) => value(n, i)),
    season: 1,
    frequency: '1s',
  });

  it('share the partitions; those of a killed one move within ten seconds and go on with the same numbers', async () => {
    const latest = new Map<string, LiveOutput>();
    const told: string[] = [];
    const subscription = await s.client.feed.subscribe(OWNER.owner, { prefix: 'o/' }, {}, (output) => {
      told.push(`${output.series} ${output.sequence}`);
      latest.set(output.series, output);
    });
    const reached = (i: number) =>
      until(() => names.every((name) => latest.get(name)?.at === START + i * SECOND), 15_000, `forecasts at ${i}`);

    const one = await s.worker();
    await write(0, 100);
    await reached(99);
    expect(await held(one)).toMatchObject({ partitions: PARTITIONS, series: names.length });
    const two = await s.worker();
    await until(async () => (await held(two)).partitions === PARTITIONS / 2, 15_000, 'two equal shares');
    for (let i = 100; i < 120; i++) await write(i, i + 1);
    await reached(119);
    expect((await held(one)).series + (await held(two)).series).toBe(names.length);

    // Points keep coming while one of the two dies.
    await one.kill('SIGKILL');
    const since = Date.now();
    for (let i = 120; i < 140; i++) await write(i, i + 1);
    await reached(139);
    expect(Date.now() - since).toBeLessThan(10_000);
    expect(await held(two)).toMatchObject({ partitions: PARTITIONS, series: names.length });
    await write(140, 150);
    await reached(149);
    for (const n of [0, 13, 27]) {
      expect(await differenceFromScan(s.batch, latest.get(names[n]!)!, history(n, 150))).toBeLessThan(1e-4);
    }
    expect(new Set(told).size).toBe(told.length);
    await subscription.close();

    // A graceful end leaves nothing to be replayed: the next one continues from states as they were.
    two.say('stop');
    await two.exited;
    const { rows } = await s.database.pool.query<{ free: number }>(
      'select count(*)::int as free from live_partitions where holder is null',
    );
    expect(rows[0]!.free).toBe(PARTITIONS);
  });

  it('build states of another model from the points', async () => {
    const other = randomModel(s.folder, { seed: 2 });
    const worker = await s.worker({ model: other });
    let output: LiveOutput | undefined;
    const subscription = await s.client.feed.subscribe(OWNER.owner, { ids: ['o/3'] }, { horizon: 24 }, (o) => {
      output = o;
    });
    await write(150, 151);
    await until(() => output?.model === 'random-2' && output.position === 151, 15_000, 'the other model');
    const { loadModel } = await import('../../src/forecast/model/load.js');
    const { StreamBatch } = await import('../../src/forecast/model/stream-batch.js');
    const model = loadModel(s.batch.model.backend, other);
    const batch = new StreamBatch(model);
    expect(await differenceFromScan(batch, output!, history(3, 151))).toBeLessThan(1e-4);
    await batch.close();
    model.free();
    await subscription.close();
    worker.say('stop');
    await worker.exited;
  });

  it('forecast as long as somebody demands it, as far as the longest demand', async () => {
    const worker = await s.worker();
    const { feed } = s.client;
    await feed.demand(OWNER.owner, 'rule', { prefix: 'd/' }, { horizon: 5 });
    for (let i = 0; i < 30; i++) await s.write([['d/x', START + i * SECOND, value(1, i)]], facts);
    const standing = await until(
      async () => (await feed.latest(OWNER.owner, { prefix: 'd/' })).find(({ position }) => position === 30),
      15_000,
      'a forecast without a listener',
    );
    expect(standing.times.length).toBe(5);
    expect([...standing.times]).toEqual([30, 31, 32, 33, 34].map((i) => START + i * SECOND));
    let heard: LiveOutput | undefined;
    const subscription = await feed.subscribe(OWNER.owner, { ids: ['d/x'] }, { horizon: 40 }, (o) => {
      heard = o;
    });
    // The present forecast comes at once, the longer one without another point.
    expect(heard?.position).toBe(30);
    await until(() => heard?.times.length === 40, 5000, 'the longer forecast');
    expect(await feed.latest('somebody else', { prefix: 'd/' })).toEqual([]);
    await subscription.close();
    await feed.release(OWNER.owner, 'rule');
    const sequence = heard!.sequence;
    await until(
      async () => (await s.database.pool.query('select from live_demands')).rowCount === 0,
      5000,
      'the end of all demands',
    );
    await new Promise((done) => setTimeout(done, 1500));
    await s.write([['d/x', START + 30 * SECOND, 3]]);
    await new Promise((done) => setTimeout(done, 1500));
    expect((await feed.latest(OWNER.owner, { prefix: 'd/' }))[0]!.sequence).toBe(sequence);
    worker.say('stop');
    await worker.exited;
  });

  it('score each new value by the forecast that stood before it', async () => {
    const worker = await s.worker();
    const outputs: LiveOutput[] = [];
    const subscription = await s.client.feed.subscribe(OWNER.owner, { ids: ['s/x'] }, {}, (o) => outputs.push(o));
    for (let i = 0; i < 60; i++) {
      await s.write([['s/x', START + i * SECOND, i === 50 ? 500 : value(1, i)]], facts);
      if (i > 1) await until(() => outputs.at(-1)?.at === START + i * SECOND, 5000, `output ${i}`);
    }
    for (let k = 1; k < outputs.length; k++) {
      const before = outputs[k - 1]!;
      const { scores } = outputs[k]!;
      expect(scores.map(({ time }) => time)).toEqual([outputs[k]!.at]);
      const median = before.levels.indexOf(0.5);
      expect(scores[0]!.expected).toBe(before.quantiles[median]![0]!);
    }
    const outlier = outputs.find(({ value: v }) => v === 500)!.scores[0]!;
    expect(outlier.score).toBeGreaterThan(3);
    expect(outlier.value).toBeGreaterThan(outlier.high);
    await subscription.close();
    worker.say('stop');
    await worker.exited;
  });
});
