import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Random } from '../../src/engine/random.js';
import type { LiveOutput, Subscription } from '../../src/live/feed.js';
import { type Helper, until } from '../service/support/processes.js';
import { differenceFromScan, housingStarts } from './support/expectations.js';
import { OWNER, setting } from './support/setting.js';

const HOUR = 3_600_000;
const START = Date.UTC(2026, 0, 1);
const TOLERANCE = 1e-4;

interface Feed {
  name: string;
  times: number[];
  values: number[];
  season: number;
  frequency: string;
}

/** An hourly sensor that is sometimes silent. */
function hourly(name: string, length: number, random: Random): Feed {
  const times: number[] = [];
  const values: number[] = [];
  for (let i = 0; i < length; i++) {
    if (i > 0 && random.uniform() < 0.02) i += Math.floor(random.uniform() * 30);
    times.push(START + i * HOUR);
    values.push(20 + 4 * Math.sin((2 * Math.PI * i) / 24) + random.normal());
  }
  return { name, times, values, season: 24, frequency: 'H' };
}

/** Values by step from the first to the last. */
function onSteps({ times, values }: Feed, step: number): Float64Array {
  const out = new Float64Array(Math.round((times.at(-1)! - times[0]!) / step) + 1).fill(Number.NaN);
  times.forEach((time, i) => {
    out[Math.round((time - times[0]!) / step)] = values[i]!;
  });
  return out;
}

describe.each(['redis', 'postgres'] as const)('live forecasts on %s', (kind) => {
  const s = setting(kind);
  let worker: Helper;
  let outputs: Map<string, LiveOutput[]>;
  let subscription: Subscription;

  beforeEach(async () => {
    worker = await s.worker({ leaseMs: 1500 });
    outputs = new Map();
  });
  afterEach(async () => {
    await subscription?.close();
    worker.say('stop');
    await worker.exited;
  });

  const listen = async (prefix: string, horizon = 20) => {
    subscription = await s.client.feed.subscribe(OWNER.owner, { prefix }, { horizon }, (output) => {
      const list = outputs.get(output.series);
      if (list) list.push(output);
      else outputs.set(output.series, [output]);
    });
  };
  const last = (name: string) => outputs.get(name)?.at(-1);
  const settled = (name: string, at: number): Promise<LiveOutput> =>
    until(() => (last(name)?.at === at ? last(name) : undefined), 20_000, `the output of ${name}`);

  /** The season that the owner found, as its snapshot says. */
  const foundSeason = async (name: string): Promise<number> => {
    const { rows } = await s.database.pool.query<{ bytes: Buffer }>(
      'select bytes from states join series on id = series_id where unique_id = $1 order by position desc limit 1',
      [name],
    );
    const { bytes } = rows[0]!;
    return JSON.parse(bytes.toString('utf8', 4, 4 + bytes.readUInt32LE())).season;
  };

  it('equal one scan of the whole history: any pieces, repetitions, three restarts and a kill', async () => {
    const random = new Random(11);
    const housing = { name: 'a/housing', ...housingStarts(), season: 12, frequency: 'M' };
    const feeds: Feed[] = [housing, hourly('a/one', 900, random), hourly('a/two', 500, random)];
    // One states nothing: its grid and season are found.
    const silent: Feed = { ...hourly('a/found', 700, random), name: 'a/found' };
    silent.times.forEach((_, i) => {
      silent.times[i] = START + i * 10_000;
    });
    feeds.push(silent);
    await listen('a/');
    const next = feeds.map(() => 0);
    const sent: { points: [string, number, number][]; sequence: bigint }[] = [];
    const describeSeries = (name: string) => {
      const feed = feeds.find((one) => one.name === name)!;
      return feed === silent ? {} : { freq: feed.frequency, season: feed.season };
    };
    const total = feeds.reduce((sum, { times }) => sum + times.length, 0);
    const restarts = [0.2, 0.45, 0.6, 0.8].map((share) => Math.floor(share * total));
    for (let done = 0, sequence = 1n; done < total; sequence++) {
      const points: [string, number, number][] = [];
      feeds.forEach((feed, f) => {
        const count = Math.floor(random.uniform() * (random.uniform() < 0.1 ? 80 : 12));
        for (let k = 0; k < count && next[f]! < feed.times.length; k++, next[f]!++, done++) {
          points.push([feed.name, feed.times[next[f]!]!, feed.values[next[f]!]!]);
        }
      });
      const ack = await s.write(points, { stream: 'gateway', sequence, describe: describeSeries });
      expect(ack).toMatchObject({ inserted: points.length, repeated: false });
      sent.push({ points, sequence });
      if (random.uniform() < 0.1) {
        const old = sent[Math.floor(random.uniform() * sent.length)]!;
        expect((await s.write(old.points, { stream: 'gateway', sequence: old.sequence })).repeated).toBe(true);
        expect((await s.write(old.points)).unchanged).toBe(old.points.length);
      }
      if (done > (restarts[0] ?? total)) {
        restarts.shift();
        if (restarts.length === 1) await worker.kill('SIGKILL');
        else {
          worker.say('stop');
          await worker.exited;
        }
        worker = await s.worker({ leaseMs: 1500 });
      }
    }
    for (const feed of feeds) {
      const output = await settled(feed.name, feed.times.at(-1)!);
      const step = feed === housing ? undefined : feed === silent ? 10_000 : HOUR;
      const values = step ? onSteps(feed, step) : Float64Array.from(feed.values);
      const season = feed === silent ? await foundSeason(feed.name) : feed.season;
      const history = { values, season, frequency: feed === silent ? '10s' : feed.frequency };
      expect([feed.name, (await differenceFromScan(s.batch, output, history)) < TOLERANCE]).toEqual([feed.name, true]);
      const numbers = outputs.get(feed.name)!.map(({ sequence }) => sequence);
      expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
      expect((await s.client.feed.latest(OWNER.owner, { ids: [feed.name] }))[0]!.sequence).toBe(numbers.at(-1));
    }
  });

  it('follow points that come late, earlier history, corrections and deletions', async () => {
    const random = new Random(5);
    const feed = hourly('b/late', 600, random);
    await listen('b/');
    const at = (from: number, to: number): [string, number, number][] =>
      feed.times.slice(from, to).map((time, i) => [feed.name, time, feed.values[from + i]!]);
    const facts = { describe: () => ({ freq: 'H', season: 24 }) };
    const check = async (present: Feed) => {
      const values = onSteps(present, HOUR);
      const output = await until(
        async () => {
          const now = last(feed.name);
          if (!now || now.at !== present.times.at(-1) || now.position !== values.length) return undefined;
          const worst = await differenceFromScan(s.batch, now, { values, season: 24, frequency: 'H' });
          return worst < TOLERANCE ? now : undefined;
        },
        20_000,
        'a forecast of what is stored',
      );
      expect(output.frequency).toBe('H');
    };
    const part = (keep: (i: number) => boolean): Feed => ({
      ...feed,
      times: feed.times.filter((_, i) => keep(i)),
      values: feed.values.filter((_, i) => keep(i)),
    });
    // It goes live in the middle, with holes.
    await s.write(at(200, 300), facts);
    const missing = [301, 330, 399];
    for (let i = 300; i < 400; i++) if (!missing.includes(i)) await s.write(at(i, i + 1));
    await check(part((i) => i >= 200 && i < 400 && !missing.includes(i)));
    for (const i of missing.reverse()) await s.write(at(i, i + 1));
    await check(part((i) => i >= 200 && i < 400));
    // The history before it is imported while it goes on, overlapping what came live.
    const importing = s.write(at(0, 260));
    for (let i = 400; i < 450; i++) await s.write(at(i, i + 1));
    expect(await importing).toMatchObject({ inserted: 200, unchanged: 60 });
    await check(part((i) => i < 450));
    // A correction far behind, then one in the open patch.
    for (const i of [100, 448]) {
      feed.values[i]! += 3;
      expect(await s.write(at(i, i + 1))).toMatchObject({ updated: 1 });
    }
    await s.write(at(450, 600));
    await check(feed);
    const id = (await s.database.prisma.series.findFirst({ where: { uniqueId: feed.name } }))!.id;
    await s.client.changes.removeRange(id, feed.times[300]!, feed.times[320]!);
    await check(part((i) => i < 300 || i >= 320));
  });

  it('begin again on other steps when the frequency or the season is stated anew, also while no owner lives', async () => {
    await listen('d/');
    const random = new Random(8);
    const minutes = Float64Array.from({ length: 1200 }, (_, i) => 30 + 6 * Math.sin(i / 23) + random.normal());
    const points = (from: number, to: number) =>
      [...minutes.subarray(from, to)].map((v, i): [string, number, number] => ['d/x', START + (from + i) * 60_000, v]);
    await s.write(points(0, 1150), { describe: () => ({ season: 1 }) });
    await settled('d/x', START + 1149 * 60_000);
    expect(last('d/x')!.frequency).toBe('1min');
    const of = (length: number, frequency: string, season: number) => {
      const step = frequency === '1min' ? 1 : 10;
      const values = Float64Array.from({ length: Math.ceil(length / step) }, (_, k) => {
        const own = minutes.subarray(k * step, Math.min(length, (k + 1) * step));
        return own.reduce((sum, v) => sum + v, 0) / own.length;
      });
      return { values, frequency, season };
    };
    const becomes = (history: ReturnType<typeof of>) =>
      until(
        async () => {
          const now = last('d/x')!;
          if (now.position !== history.values.length) return undefined;
          return (await differenceFromScan(s.batch, now, history)) < TOLERANCE ? now : undefined;
        },
        20_000,
        `forecasts every ${history.frequency} with a season of ${history.season}`,
      );
    await becomes(of(1150, '1min', 1));
    await s.client.changes.describe(OWNER.owner, 'd/x', { freq: '10min' });
    expect((await becomes(of(1150, '10min', 1))).frequency).toBe('10min');
    await s.write(points(1150, 1160));
    await s.client.changes.describe(OWNER.owner, 'd/x', { season: 14 });
    await becomes(of(1160, '10min', 14));
    // What is no grid rebuilds nothing.
    const { sequence } = last('d/x')!;
    await s.client.changes.describe(OWNER.owner, 'd/x', { season: 14, metadata: { room: 'attic' } });
    worker.say('stop');
    await worker.exited;
    expect(last('d/x')!.sequence).toBe(sequence);
    await s.client.changes.describe(OWNER.owner, 'd/x', { freq: '1min', season: 7 });
    await s.write(points(1160, 1161));
    worker = await s.worker({ leaseMs: 1500 });
    await becomes(of(1161, '1min', 7));
    await s.write(points(1161, 1200));
    await becomes(of(1200, '1min', 7));
  });

  it('begin again with a series that was deleted and came back', async () => {
    await listen('c/');
    const values = Float64Array.from({ length: 60 }, (_, i) => Math.sin(i / 3));
    const points = (level: number) =>
      [...values].map((v, i): [string, number, number] => ['c/x', START + i * HOUR, v + level]);
    const facts = { describe: () => ({ freq: 'H', season: 1 }) };
    await s.write(points(0), facts);
    await settled('c/x', START + 59 * HOUR);
    const { SeriesStore } = await import('../../src/store/series.js');
    await new SeriesStore(s.database).remove(OWNER.owner, 'c/x');
    expect(await s.client.feed.latest(OWNER.owner, { prefix: 'c/' })).toEqual([]);
    outputs.clear();
    expect(await s.write(points(5), facts)).toMatchObject({ inserted: 60 });
    const output = await until(
      () => (last('c/x') && last('c/x')!.value > 3 ? last('c/x') : undefined),
      20_000,
      'the new series',
    );
    const history = { values: values.map((v) => v + 5), season: 1, frequency: 'H' };
    expect(await differenceFromScan(s.batch, output, history)).toBeLessThan(TOLERANCE);
    expect(output.sequence).toBe(1);
  });
});
