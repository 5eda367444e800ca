/**
 * Points per second into the embedded PostgreSQL (fsync on) and out of it: our binary upsert against Prisma's createMany, in
 * alternation so that both see the same machine.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres } from '../../src/platform/embedded/postgres.js';
import { Database } from '../../src/store/database.js';
import { PointReader } from '../../src/store/point-reader.js';
import { type PointColumns, PointWriter } from '../../src/store/points.js';
import { SeriesStore } from '../../src/store/series.js';
import { type Row, summarise } from '../measure.js';

const OWNER = 'bench';
const TOTAL = 100_000;

/** `total` points, `ids` in turn, in the order in which they would arrive. */
function batch(ids: readonly bigint[], total: number, start: number): PointColumns {
  const points = {
    seriesIds: new BigInt64Array(total),
    times: new Float64Array(total),
    values: new Float64Array(total),
  };
  for (let i = 0; i < total; i++) {
    points.seriesIds[i] = ids[i % ids.length]!;
    points.times[i] = start + Math.floor(i / ids.length) * 1000;
    points.values[i] = Math.sin(i / 50) * 100;
  }
  return points;
}

/** Points per second of one call. */
async function rate(total: number, work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return (total / (performance.now() - begin)) * 1000;
}

/** Rows of a PostgreSQL of its own; the first round warms caches and is thrown away. */
export async function pointRows({ rounds = 3 } = {}): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'adder-bench-'));
  const server = await startPostgres(dir);
  const database = await Database.open({ url: server.url });
  try {
    return rowsOf(await measure(database, rounds));
  } finally {
    await database.close();
    await server.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function measure(database: Database, rounds: number): Promise<Record<string, number[]>> {
  const writer = new PointWriter(database);
  const reader = new PointReader(database);
  const series = new SeriesStore(database);
  let made = 0;
  const create = async (count: number): Promise<bigint[]> => {
    const names = Array.from({ length: count }, () => ({ uniqueId: `s${made++}` }));
    return [...(await series.ensure(OWNER, names, 1e9)).values()].map(({ id }) => id);
  };
  const samples: Record<string, number[]> = {};
  for (let round = 0; round <= rounds; round++) {
    const keep = (name: string, value: number) => {
      samples[name] ??= [];
      if (round > 0) samples[name].push(value);
    };
    const [one] = await create(1);
    const points = batch([one!], TOTAL, 1.7e12);
    keep('one series', await rate(TOTAL, () => writer.write(OWNER, points)));
    keep('the same again', await rate(TOTAL, () => writer.write(OWNER, points)));
    const many = batch(await create(1000), TOTAL, 1.7e12);
    keep('a thousand series', await rate(TOTAL, () => writer.write(OWNER, many)));
    const [two] = await create(1);
    keep(
      'createMany',
      await rate(TOTAL / 5, async () => {
        for (let from = 0; from < TOTAL / 5; from += 5000) {
          await database.prisma.point.createMany({
            data: Array.from({ length: 5000 }, (_, i) => ({
              seriesId: two!,
              at: new Date(points.times[from + i]!),
              value: points.values[from + i]!,
            })),
          });
        }
      }),
    );
    keep('read', await rate(TOTAL, () => reader.read(one!, { limit: TOTAL })));
    const small = await create(100);
    keep(
      'batches of 100',
      await rate(10_000, async () => {
        for (let k = 0; k < 100; k++) await writer.write(OWNER, batch(small, 100, 1.7e12 + k * 1000));
      }),
    );
  }

  return samples;
}

function rowsOf(samples: Record<string, number[]>): Row[] {
  const row = (name: string, key: string, extra: Partial<Row> = {}): Row => ({
    name,
    ...summarise(samples[key]!),
    unit: 'points/s',
    higher: true,
    ...extra,
  });
  const ratios = samples['one series']!.map((value, i) => value / samples.createMany![i]!);
  return [
    row('insert 100,000 points of one series', 'one series', { least: 80_000 }),
    row('insert 100,000 points of 1,000 series, interleaved', 'a thousand series', { least: 80_000 }),
    row('the same 100,000 points again (nothing changes)', 'the same again'),
    row('batches of 100 points of 100 series, each committed', 'batches of 100'),
    row('Prisma createMany, 5,000 a call', 'createMany'),
    { name: 'insert against createMany', ...summarise(ratios), unit: '×', higher: true },
    row('read 100,000 points', 'read'),
  ];
}
