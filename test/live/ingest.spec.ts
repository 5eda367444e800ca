import { describe, expect, it } from '@jest/globals';
import { IngestOverloaded } from '../../src/live/group-ingest.js';
import { decodeChanges } from '../../src/live/log/entry.js';
import { PointReader } from '../../src/store/point-reader.js';
import { columnsOf, setting } from './support/setting.js';

const START = Date.UTC(2026, 0, 1);

describe('ingest', () => {
  const s = setting('postgres');
  const writer = (owner: string, storedSeries = 1000) => ({ owner, limits: { storedSeries } });
  const put = (owner: string, points: [string, number, number][], options = {}, limit = 1000) =>
    s.client.ingest.write(writer(owner, limit), columnsOf(points), options);
  const idOf = async (owner: string, uniqueId: string) =>
    (await s.database.prisma.series.findUnique({ where: { owner_uniqueId: { owner, uniqueId } } }))!.id;

  it('tells each of many writers that share a transaction what became of its own points', async () => {
    await put('ann', [
      ['x', START, 1],
      ['x', START + 1, 2],
    ]);
    const acks = await Promise.all([
      put('ann', [['x', START, 1]]),
      put('ann', [['x', START + 1, 3]]),
      put('ann', [
        ['x', START + 2, 4],
        ['y', START, Number.NaN],
      ]),
      put('ben', [['x', START, 9]]),
      put('ann', [
        ['y', START + 5, 1],
        ['y', START + 5, 2],
      ]),
    ]);
    expect(acks.map(({ inserted, updated, unchanged }) => [inserted, updated, unchanged])).toEqual([
      [0, 0, 1],
      [0, 1, 0],
      [2, 0, 0],
      [1, 0, 0],
      [1, 0, 1],
    ]);
    expect([...(await new PointReader(s.database).read(await idOf('ann', 'y'), { limit: 9 })).values]).toEqual([
      Number.NaN,
      2,
    ]);
  });

  it('keeps the good points of a partial write, and nothing of another', async () => {
    const bad: [string, number, number][] = [
      ['p', START, 1],
      ['p', START + 0.5, 2],
      ['p', START + 1, Number.POSITIVE_INFINITY],
      ['', START, 3],
      ['p', 1e15, 3],
      ['p', START + 2, 4],
    ];
    await expect(put('ann', bad)).rejects.toMatchObject({ code: 'BAD_TIMESTAMP', where: { series: 'p' } });
    expect(await s.database.prisma.series.count({ where: { uniqueId: 'p' } })).toBe(0);
    const ack = await put('ann', bad, { partial: true });
    expect(ack).toMatchObject({ inserted: 2, series: 1 });
    expect(ack.rejected.map(({ index, code }) => [index, code])).toEqual([
      [1, 'BAD_TIMESTAMP'],
      [2, 'BAD_VALUE'],
      [3, 'BAD_NAME'],
      [4, 'BAD_TIMESTAMP'],
    ]);
  });

  it('creates series on first sight, under the quota', async () => {
    await put('quota', [['a', START, 1]], { describe: () => ({ freq: 'H', season: 24 }) }, 2);
    expect(await s.database.prisma.series.findFirst({ where: { owner: 'quota' } })).toMatchObject({
      freq: 'H',
      season: 24,
    });
    await put('quota', [['b', START, 1]], {}, 2);
    await expect(put('quota', [['c', START, 1]], {}, 2)).rejects.toMatchObject({ code: 'TOO_MANY_SERIES' });
    const ack = await put(
      'quota',
      [
        ['c', START, 1],
        ['a', START + 1, 1],
      ],
      { partial: true },
      2,
    );
    expect(ack).toMatchObject({ inserted: 1 });
    expect(ack.rejected).toMatchObject([{ index: 0, series: 'c', code: 'TOO_MANY_SERIES' }]);
    // Series that exist go on under a quota that is used up.
    expect((await put('quota', [['b', START + 1, 1]], {}, 2)).inserted).toBe(1);
  });

  it('recognises a batch of a stream, also among others in one transaction', async () => {
    const place = (sequence: bigint) => ({ stream: 'g', sequence });
    const acks = await Promise.all([
      put('eve', [['x', START, 1]], place(1n)),
      put('eve', [['x', START + 1, 1]], place(2n)),
      put('eve', [['x', START + 1, 7]], place(2n)),
      put('eve', [['x', START + 2, 1]], place(3n)),
    ]);
    expect(acks.map(({ repeated }) => repeated)).toEqual([false, false, true, false]);
    expect((await put('eve', [['x', START, 5]], place(3n))).repeated).toBe(true);
    expect([...(await new PointReader(s.database).read(await idOf('eve', 'x'), { limit: 9 })).values]).toEqual([
      1, 1, 1,
    ]);
  });

  it('logs each new point once, changed ones as series to be read again, and numbers entries without a gap', async () => {
    const first = await s.database.pool.query<{ partition: number; seq: bigint }>(
      'select partition, head as seq from live_heads',
    );
    const heads = new Map(first.rows.map(({ partition, seq }) => [partition, seq]));
    await Promise.all(
      Array.from({ length: 30 }, (_, k) =>
        put(
          `log${k % 3}`,
          Array.from({ length: 5 }, (_, i): [string, number, number] => [`s${i}`, START + k * 10 + i, k]),
        ),
      ),
    );
    await put('log0', [
      ['s0', START, 99],
      ['s1', START + 9999, 1],
    ]);
    await put('log0', [['s0', START, 99]]);
    const many = Array.from({ length: 300 }, (_, i): [string, number, number] => ['long', START + i, i]);
    await put('log0', many);
    const { rows } = await s.database.pool.query<{ partition: number; seq: bigint; bytes: Buffer }>(
      'select partition, seq, bytes from live_log order by partition, seq',
    );
    const fresh = rows.filter(({ partition, seq }) => seq > heads.get(partition)!);
    const points: string[] = [];
    const touched: [number, number][] = [];
    for (const partition of new Set(fresh.map((row) => row.partition))) {
      const mine = fresh
        .filter((row) => row.partition === partition)
        .map(({ seq }) => Number(seq - heads.get(partition)!));
      expect(mine).toEqual(mine.map((_, i) => i + 1));
    }
    for (const { bytes } of fresh) {
      const changes = decodeChanges(bytes);
      changes.points.ids.forEach((id, i) => {
        points.push(`${id} ${changes.points.times[i]}`);
      });
      changes.touched.ids.forEach((id, i) => {
        touched.push([id, changes.touched.from[i]!]);
      });
    }
    expect(points.length).toBe(30 * 5 + 1);
    expect(new Set(points).size).toBe(points.length);
    expect(touched.sort(([a], [b]) => a - b)).toEqual([
      [Number(await idOf('log0', 's0')), START],
      [Number(await idOf('log0', 'long')), START],
    ]);
  });

  it('writes to a series that was deleted by making it again', async () => {
    const { SeriesStore } = await import('../../src/store/series.js');
    await put('ann', [['gone', START, 1]]);
    await new SeriesStore(s.database).remove('ann', 'gone');
    expect(await put('ann', [['gone', START, 2]])).toMatchObject({ inserted: 1 });
  });

  it('refuses more than it can hold, of one owner first, and says when to come back', async () => {
    const flood = Array.from({ length: 30 }, (_, k) => {
      const rows = columnsOf([]);
      for (let i = 0; i < 25_000; i++) rows.push(`f${i % 10}`, START + k * 25_000 + i, i, i);
      return s.client.ingest.write(writer('flood'), rows).then(
        () => 'written',
        (error: unknown) => error,
      );
    });
    const other = put('calm', [['x', START, 1]]);
    expect((await other).inserted).toBe(1);
    const results = await Promise.all(flood);
    const refused = results.filter((result) => result !== 'written');
    expect(refused.length).toBeGreaterThan(0);
    expect(results.length - refused.length).toBeGreaterThan(10);
    for (const error of refused) {
      expect(error).toBeInstanceOf(IngestOverloaded);
      expect((error as IngestOverloaded).retryAfter).toBeGreaterThan(0);
    }
  });
});
