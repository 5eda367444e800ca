import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { MAX_TIME, MIN_TIME } from '../../src/store/checks.js';
import { PointReader } from '../../src/store/point-reader.js';
import { type PointColumns, PointWriter } from '../../src/store/points.js';
import { SeriesStore } from '../../src/store/series.js';
import { type TestDatabase, testDatabase } from './support/database.js';

const columns = (rows: (readonly [bigint, number, number])[]): PointColumns => ({
  seriesIds: BigInt64Array.from(rows, ([id]) => id),
  times: Float64Array.from(rows, ([, time]) => time),
  values: Float64Array.from(rows, ([, , value]) => value),
});

describe('points', () => {
  let test: TestDatabase;
  let series: SeriesStore;
  let writer: PointWriter;
  let reader: PointReader;
  let made = 0;
  beforeAll(async () => {
    test = await testDatabase();
    series = new SeriesStore(test.database);
    writer = new PointWriter(test.database);
    reader = new PointReader(test.database);
  });
  afterAll(() => test.close());

  const create = async (owner = 'ann'): Promise<bigint> => {
    const uniqueId = `s${made++}`;
    return (await series.ensure(owner, [{ uniqueId }], 1e6)).get(uniqueId)!.id;
  };
  const all = async (id: bigint) => {
    const { times, values } = await reader.read(id, { limit: 1e6 });
    return Array.from(times, (time, i) => [time, values[i]]);
  };

  it('come back to the bit, from the first to the last storable instant', async () => {
    const id = await create();
    const times = [MIN_TIME, -9e15, -1, 0, 946_684_800_000, 1_763_913_600_123, 9.1e15, MAX_TIME].filter(
      (time) => time >= MIN_TIME && time <= MAX_TIME,
    );
    const values = [5e-324, -0, Number.NaN, 1.7976931348623157e308, 0.1 + 0.2, -123.456];
    const rows = times.map((time, i) => [id, time, values[i % values.length]!] as const);
    expect(await writer.write('ann', columns(rows))).toEqual({
      inserted: rows.length,
      updated: 0,
      unchanged: 0,
      repeated: false,
    });
    expect(await all(id)).toEqual(rows.map(([, time, value]) => [time, value]));
  });

  it('behave as a map from (series, time) to the last value written, however batches repeat and overlap', async () => {
    const ids = [await create(), await create(), await create()];
    const model = new Map<string, number>();
    const point = fc.tuple(
      fc.constantFrom(...ids),
      fc.integer({ min: 0, max: 30 }).map((n) => n * 1000),
      fc.oneof(fc.constant(Number.NaN), fc.integer({ min: -3, max: 3 })),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(point, { maxLength: 60 }), async (rows) => {
        const expected = { inserted: 0, updated: 0 };
        const next = new Map(model);
        for (const [id, time, value] of rows) next.set(`${id}@${time}`, value);
        for (const [key, value] of next) {
          if (!model.has(key)) expected.inserted++;
          else if (!Object.is(model.get(key), value)) expected.updated++;
          model.set(key, value);
        }
        const result = await writer.write('ann', columns(rows));
        expect(result).toEqual({
          ...expected,
          unchanged: rows.length - expected.inserted - expected.updated,
          repeated: false,
        });
        for (const id of ids) {
          const wanted = [...model]
            .filter(([key]) => key.startsWith(`${id}@`))
            .map(([key, value]) => [Number(key.split('@')[1]), value])
            .sort((a, b) => a[0]! - b[0]!);
          expect(await all(id)).toEqual(wanted);
        }
      }),
      { numRuns: 40 },
    );
  });

  it('of a batch are kept all or none', async () => {
    const mine = await create('ann');
    const hers = await create('eve');
    const bad: [string, (readonly [bigint, number, number])[]][] = [
      [
        'UNKNOWN_SERIES',
        [
          [mine, 1, 1],
          [hers, 1, 1],
        ],
      ],
      [
        'UNKNOWN_SERIES',
        [
          [mine, 1, 1],
          [999_999n, 1, 1],
        ],
      ],
      [
        'BAD_TIMESTAMP',
        [
          [mine, 1, 1],
          [mine, 1.5, 1],
        ],
      ],
      [
        'BAD_TIMESTAMP',
        [
          [mine, 1, 1],
          [mine, Number.NaN, 1],
        ],
      ],
      [
        'BAD_TIMESTAMP',
        [
          [mine, 1, 1],
          [mine, MAX_TIME + 1, 1],
        ],
      ],
      [
        'BAD_VALUE',
        [
          [mine, 1, 1],
          [mine, 2, Number.NEGATIVE_INFINITY],
        ],
      ],
    ];
    for (const [code, rows] of bad) {
      await expect(writer.write('ann', columns(rows))).rejects.toMatchObject({ code });
    }
    expect(await all(mine)).toEqual([]);
    expect(await all(hers)).toEqual([]);
  });

  it('of a stream are taken once, in whatever order repetitions arrive', async () => {
    const id = await create();
    const place = (sequence: bigint) => ({ stream: 'plant/1', sequence });
    expect((await writer.write('ann', columns([[id, 1, 1]]), place(1n))).repeated).toBe(false);
    expect((await writer.write('ann', columns([[id, 2, 2]]), place(2n))).repeated).toBe(false);
    expect(await writer.write('ann', columns([[id, 1, 99]]), place(1n))).toMatchObject({
      repeated: true,
      unchanged: 1,
    });
    // Another owner's stream of the same name is another stream.
    const other = await create('eve');
    expect((await writer.write('eve', columns([[other, 1, 1]]), place(1n))).repeated).toBe(false);
    expect(await all(id)).toEqual([
      [1, 1],
      [2, 2],
    ]);
  });

  it('of a failed batch leave the stream where it was', async () => {
    const id = await create();
    const place = { stream: 'failing', sequence: 7n };
    await expect(writer.write('ann', columns([[999_999n, 1, 1]]), place)).rejects.toMatchObject({
      code: 'UNKNOWN_SERIES',
    });
    expect((await writer.write('ann', columns([[id, 1, 1]]), place)).repeated).toBe(false);
  });

  it('may be written by many at once without a deadlock', async () => {
    const ids = await Promise.all(Array.from({ length: 4 }, () => create()));
    const batch = (seed: number) =>
      columns(
        Array.from(
          { length: 400 },
          (_, i) => [ids[(i * 7 + seed) % 4]!, ((i * 31 + seed * 17) % 97) * 1000, seed] as const,
        ),
      );
    await Promise.all(Array.from({ length: 24 }, (_, seed) => writer.write('ann', batch(seed))));
    for (const id of ids) expect((await all(id)).length).toBe(97);
  });

  it('are read by range, from either end, and counted', async () => {
    const id = await create();
    await writer.write('ann', columns(Array.from({ length: 100 }, (_, i) => [id, i * 1000, i] as const)));
    const read = await reader.read(id, { from: 10_000, to: 15_000, limit: 100 });
    expect([...read.times]).toEqual([10_000, 11_000, 12_000, 13_000, 14_000]);
    expect([...(await reader.read(id, { limit: 3 })).values]).toEqual([0, 1, 2]);
    expect([...(await reader.read(id, { limit: 3, last: true })).values]).toEqual([97, 98, 99]);
    expect([...(await reader.read(id, { to: 50_000, limit: 2, last: true })).values]).toEqual([48, 49]);
    expect(await reader.statistics(id, { from: 50_000 })).toEqual({ count: 50, first: 50_000, last: 99_000 });
    expect(await reader.statistics(await create())).toEqual({ count: 0, first: undefined, last: undefined });
    expect((await reader.read(id, { from: 1e300, limit: 5 })).times.length).toBeGreaterThanOrEqual(0);
  });

  it('are down-sampled into round intervals that know their extremes and ignore missing values', async () => {
    const id = await create();
    const rows = Array.from({ length: 600 }, (_, i) => [id, i * 1000, i % 60 === 0 ? Number.NaN : i] as const);
    await writer.write('ann', columns(rows));
    const { times, mean, min, max, count, stepMs } = await reader.downsample(id, { buckets: 10 });
    expect(stepMs).toBe(60_000);
    expect([...times]).toEqual(Array.from({ length: 10 }, (_, i) => i * 60_000));
    expect([...count]).toEqual(Array(10).fill(60));
    for (let b = 0; b < 10; b++) {
      expect(min[b]).toBe(b * 60 + 1);
      expect(max[b]).toBe(b * 60 + 59);
      expect(mean[b]).toBeCloseTo(b * 60 + 30, 9);
    }
  });

  it('go with their series and leave nothing, while others write to it', async () => {
    const { id, uniqueId } = await series.ensure('ann', [{ uniqueId: 'doomed' }], 1e6).then((m) => m.get('doomed')!);
    let at = 0;
    let refused = 0;
    const writing = Promise.all(
      Array.from({ length: 4 }, async () => {
        for (;;) {
          const base = at++ * 100;
          try {
            await writer.write('ann', columns(Array.from({ length: 100 }, (_, i) => [id, base + i, i] as const)));
          } catch (error) {
            expect(error).toMatchObject({ code: 'UNKNOWN_SERIES' });
            refused++;
            return;
          }
        }
      }),
    );
    await new Promise((done) => setTimeout(done, 300));
    expect((await reader.statistics(id)).count).toBeGreaterThan(0);
    await expect(series.remove('eve', uniqueId)).rejects.toMatchObject({ code: 'UNKNOWN_SERIES' });
    await series.remove('ann', uniqueId);
    await writing;
    expect(refused).toBe(4);
    expect((await reader.statistics(id)).count).toBe(0);
    const { rows } = await test.database.pool.query('select * from deleted_series');
    expect(rows).toEqual([]);
  });

  it('of a delete that was cut short are swept', async () => {
    const id = await create();
    await writer.write(
      'ann',
      columns([
        [id, 1, 1],
        [id, 2, 2],
      ]),
    );
    // What a process leaves that dies between the two steps of a delete.
    await test.database.pool.query('delete from series where id = $1', [id]);
    await test.database.pool.query("insert into deleted_series (id, owner) values ($1, 'ann')", [id]);
    expect(await series.sweep()).toBe(1);
    expect((await reader.statistics(id)).count).toBe(0);
    expect(await series.sweep()).toBe(0);
  });
});
