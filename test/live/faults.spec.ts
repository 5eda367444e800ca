import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { LiveOutput, Subscription } from '../../src/live/feed.js';
import { PointReader } from '../../src/store/point-reader.js';
import { type Helper, until } from '../service/support/processes.js';
import { OWNER, setting } from './support/setting.js';

const HOUR = 3_600_000;
const START = Date.UTC(2026, 0, 1);
/** In 1677, and on no full hour. */
const FAR_PAST = -9_223_372_036_000;

describe('live series in trouble', () => {
  const s = setting('postgres');
  let worker: Helper;
  let subscription: Subscription;
  const last = new Map<string, LiveOutput>();

  beforeEach(async () => {
    worker = await s.worker();
    last.clear();
    subscription = await s.client.feed.subscribe(OWNER.owner, { prefix: '' }, { horizon: 5 }, (output) => {
      last.set(output.series, output);
    });
  });
  afterEach(async () => {
    await subscription.close();
    worker.say('stop');
    await worker.exited;
  });

  const wave = (i: number) => 50 + 5 * Math.sin(i / 4);
  const points = (name: string, from: number, to: number) =>
    Array.from({ length: to - from }, (_, k): [string, number, number] => [
      name,
      START + (from + k) * HOUR,
      wave(from + k),
    ]);
  const heard = (name: string, i: number) =>
    until(
      () => (last.get(name)?.at === START + i * HOUR ? last.get(name) : undefined),
      20_000,
      `the output of ${name} at step ${i}`,
    );

  it('go on after a point of the far past, with a grid that is found', async () => {
    await s.write(points('far', 0, 100));
    const before = await heard('far', 99);
    await s.write([['far', FAR_PAST, 50]]);
    await s.write(points('far', 100, 101));
    await heard('far', 100);
    const after = await until(
      () => (last.get('far')!.position > 1000 ? last.get('far') : undefined),
      20_000,
      'a state that has seen the far point',
    );
    expect(after.frequency).toBe('H');
    expect(after.sequence).toBeGreaterThan(before.sequence);
    // One value, a gap that counts as long as gaps do, and the series.
    expect(after.position).toBeGreaterThan(1024);
    expect(after.position).toBeLessThan(1024 + 101 + 7 * 168);
    const { id } = (await s.database.prisma.series.findFirst({ where: { uniqueId: 'far' } }))!;
    const stored = await new PointReader(s.database).read(id, { limit: 200 });
    expect(stored.times).toHaveLength(102);
    expect(stored.times[0]).toBe(FAR_PAST);
    // The state stands: the next points move it without another reading.
    await s.write(points('far', 101, 130));
    expect((await heard('far', 129)).position).toBe(after.position + 29);
  });

  /** The message of a warning and those of its causes. */
  const said = (text: string) => worker.log.some((line) => JSON.stringify(line).includes(text));
  const idOf = async (uniqueId: string) =>
    (await s.database.prisma.series.findFirst({ where: { owner: OWNER.owner, uniqueId } }))!.id;

  it('say once that points without a step have no forecast, and others go on', async () => {
    const times = Array.from({ length: 32 }, (_, i) => Date.UTC(1800, 0, 1) + Math.round(1.37 * 2.5 ** i));
    await s.write(times.map((time, i): [string, number, number] => ['stepless', time, i]));
    await until(() => said('stepless'), 20_000, 'the warning');
    await s.write([['stepless', START, 1]]);
    await s.write(points('beside', 0, 40));
    await heard('beside', 39);
    expect(last.has('stepless')).toBe(false);
    expect(worker.log.filter((line) => JSON.stringify(line).includes('stepless'))).toHaveLength(1);
  });

  it('build a state again whose snapshot is broken, and read the others', async () => {
    for (const name of ['broken', 'whole']) await s.write(points(name, 0, 60));
    await Promise.all(['broken', 'whole'].map((name) => heard(name, 59)));
    worker.say('stop');
    await worker.exited;
    const { rowCount } = await s.database.pool.query("update states set bytes = '\\x0001' where series_id = $1", [
      await idOf('broken'),
    ]);
    expect(rowCount).toBeGreaterThan(0);
    worker = await s.worker();
    for (const name of ['broken', 'whole']) await s.write(points(name, 60, 61));
    const [broken, whole] = await Promise.all(['broken', 'whole'].map((name) => heard(name, 60)));
    expect(broken!.quantiles).toEqual(whole!.quantiles);
    const broke = await idOf('broken');
    await until(() => said(`the snapshot of series ${broke} cannot be read`), 20_000, 'the warning');
    expect(said(`the snapshot of series ${await idOf('whole')}`)).toBe(false);
  });

  it('have their outputs read beside one of unknown bytes, whose sequence goes on', async () => {
    const names = ['u/1', 'u/2', 'u/3'];
    await s.write(names.flatMap((name) => points(name, 0, 60)));
    const before = await Promise.all(names.map((name) => heard(name, 59)));
    worker.say('stop');
    await worker.exited;
    await subscription.close();
    const id = await idOf('u/2');
    const { rowCount } = await s.database.pool.query("update live_outputs set bytes = '\\x63' where series_id = $1", [
      id,
    ]);
    expect(rowCount).toBe(1);

    // Pages stay full, so that nobody takes the first one for the last.
    const page = await s.client.feed.latest(OWNER.owner, { prefix: 'u/' }, { limit: 2 });
    expect(page.map(({ series }) => series)).toEqual(['u/1', 'u/3']);
    expect(s.errors.map(String).join()).toContain(`the output of series u/2 (${id}) cannot be read`);

    const sequences: number[] = [];
    subscription = await s.client.feed.subscribe(OWNER.owner, { prefix: 'u/' }, { horizon: 5 }, (output) => {
      last.set(output.series, output);
      if (output.series === 'u/2') sequences.push(output.sequence);
    });
    expect(sequences).toEqual([]);
    worker = await s.worker();
    await s.write(names.flatMap((name) => points(name, 60, 61)));
    const after = await Promise.all(names.map((name) => heard(name, 60)));
    expect(after[1]!.quantiles).toEqual(after[0]!.quantiles);
    expect(sequences).toEqual(sequences.map((_, i) => before[1]!.sequence + 1 + i));
    expect(said(`the output of series u/2 (${id}) cannot be read`)).toBe(true);
  });

  it('let the others be read while one of them cannot be, which is tried again', async () => {
    // Nobody has demanded them yet when they get there, so all are read together.
    await subscription.close();
    const names = Array.from({ length: 20 }, (_, i) => `r/${i}`);
    await s.write(
      names.flatMap((name) => points(name, 0, 40)),
      { describe: () => ({ freq: 'H', season: 1 }) },
    );
    const id = await idOf('r/7');
    await s.database.pool.query("update series set freq = 'nonsense' where id = $1", [id]);
    subscription = await s.client.feed.subscribe(OWNER.owner, { prefix: 'r/' }, { horizon: 5 }, (output) => {
      last.set(output.series, output);
    });
    await Promise.all(names.filter((name) => name !== 'r/7').map((name) => heard(name, 39)));
    await until(() => said(`series ${id} cannot be read`), 20_000, 'the warning');
    expect(last.has('r/7')).toBe(false);
    await s.database.pool.query("update series set freq = 'H' where id = $1", [id]);
    await heard('r/7', 39);
  });

  it('stop nobody else when the output of one cannot be committed', async () => {
    const names = ['x/1', 'x/2', 'x/3', 'x/4', 'x/5'];
    await s.write(names.flatMap((name) => points(name, 0, 40)));
    await Promise.all(names.map((name) => heard(name, 39)));
    // A rule of the database that one output breaks, as any constraint might.
    await s.database.pool.query(
      `alter table live_outputs add constraint refused check (series_id <> ${await idOf('x/3')}) not valid`,
    );
    try {
      await s.write(names.flatMap((name) => points(name, 40, 41)));
      for (const name of names) if (name !== 'x/3') await heard(name, 40);
      await until(() => said('series x/3'), 20_000, 'the warning');
      expect(last.get('x/3')!.at).toBe(START + 39 * HOUR);
      // One after the other, so that rounds are computed while the one before them is refused.
      for (let i = 41; i < 60; i++) await s.write(names.flatMap((name) => points(name, i, i + 1)));
      for (const name of names) if (name !== 'x/3') await heard(name, 59);
    } finally {
      await s.database.pool.query('alter table live_outputs drop constraint refused');
    }
    const sequence = last.get('x/3')!.sequence;
    const back = await heard('x/3', 59);
    expect(back.sequence).toBe(sequence + 1);
    expect(back.quantiles).toEqual(last.get('x/1')!.quantiles);
  });
});
