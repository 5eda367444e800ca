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
});
