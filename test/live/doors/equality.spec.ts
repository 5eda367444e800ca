import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { Random } from '../../../src/engine/random.js';
import type { LiveOutput } from '../../../src/live/feed.js';
import { Helper, until } from '../../service/support/processes.js';
import { differenceFromScan } from '../support/expectations.js';
import { type RealSeries, realSeries } from '../support/real-series.js';
import { setting } from '../support/setting.js';
import { Broker } from './broker.js';
import {
  bySeries,
  type Feeder,
  InfluxFeeder,
  MqttFeeder,
  PATIENCE_MS,
  type Point,
  PrometheusFeeder,
  RestFeeder,
} from './feeders.js';
import { NdjsonFeeder, SocketFeeder } from './numbered-feeders.js';

/** Whose the series of a service without keys are. */
const OWNER = 'local';
const TOLERANCE = 1e-4;

/** With ADDER_TS_DATA, the folder of the time-series data, also series from there. The service knows no such variable. */
const data = process.env.ADDER_TS_DATA;
delete process.env.ADDER_TS_DATA;

describe('points that are fed through every door', () => {
  let feeders: Feeder[] = [];
  // Before the end of the servers.
  afterAll(async () => {
    for (const feeder of feeders) feeder.close?.();
    const code = await api?.kill('SIGTERM');
    await broker?.stop();
    expect(code).toBe(0);
  });
  const s = setting('redis');
  const random = new Random(23);
  let broker: Broker;
  let api: Helper | undefined;
  let address: Promise<string>;
  let worker: Helper;

  /** Starts an API process; who asks for its address meanwhile waits. */
  const startApi = (): Promise<string> => {
    const started = Helper.start('test/live/support/api.ts', [], {
      env: {
        PORT: '0',
        DATABASE_URL: s.services.databaseUrl,
        REDIS_URL: s.services.queue.url,
        ADDER_QUEUE: 'redis',
        ADDER_DATA_DIR: s.folder,
        ADDER_MODEL: 'theta',
        ADDER_MQTT_FILE: join(s.folder, 'mqtt.json'),
      },
    });
    api = started;
    address = started.next<{ address: string }>().then((told) => told.address);
    return address;
  };
  const service = { address: () => address };

  beforeAll(async () => {
    broker = await Broker.start(s.folder);
    const connections = (['mqttv311', 'mqttv5'] as const).map((name) => ({
      name,
      url: broker.url,
      protocol: name === 'mqttv5' ? '5' : '3.1.1',
      subscribe: [{ topic: `${name}/+`, format: 'json', series: '{topic}', values: { v: 'v' }, time: 'at' }],
    }));
    writeFileSync(join(s.folder, 'mqtt.json'), JSON.stringify({ connections }));
    worker = await s.worker({ leaseMs: 1500 });
    await startApi();
    // The broker keeps what comes for us from the first subscription on.
    for (const { name } of connections) {
      await until(async () => {
        broker.send(`${name}/ready`, '{"at":0,"v":0}', ['-q', '1']);
        return (await stored(`${name}/ready`)) > 0;
      }, PATIENCE_MS);
    }
    // Every output that is ever committed, whoever hears of it.
    await s.database.pool.query(`create table committed_outputs (series_id int8, sequence int8);
      create function note_output() returns trigger language plpgsql as
        $$ begin insert into committed_outputs values (new.series_id, new.sequence); return null; end $$;
      create trigger note after insert or update on live_outputs for each row execute function note_output()`);
  });
  const stored = async (name: string): Promise<number> => {
    const { rows } = await s.database.pool.query<{ count: number }>(
      'select count(*)::int as count from points join series on id = series_id where unique_id = $1',
      [name],
    );
    return rows[0]!.count;
  };

  /** Messages that the API process has received over each connection to the broker. */
  const messages = async (): Promise<number[]> => {
    const text = await (await fetch(`${await address}/metrics`)).text();
    const lines = text.matchAll(/^adder_mqtt_messages_total\{.*result="taken".*\} (\d+)$/gm);
    return [...lines].map(([, count]) => Number(count));
  };

  it('make the forecasts of one scan, although those who take them are stopped and killed', async () => {
    const real = realSeries(data);
    feeders = [
      new RestFeeder(service),
      new NdjsonFeeder(service, 'ndjson'),
      new SocketFeeder(service, 'socket', real.length),
      new SocketFeeder(service, 'binary', real.length, new Random(5)),
      new InfluxFeeder(service, 1),
      new InfluxFeeder(service, 2),
      new PrometheusFeeder(service, 1),
      new PrometheusFeeder(service, 2),
      new MqttFeeder(broker, 'mqttv311', stored),
      new MqttFeeder(broker, 'mqttv5', stored),
    ];
    for (const feeder of feeders) {
      for (const [n, { frequency, season }] of real.entries()) {
        await s.database.pool.query('insert into series (owner, unique_id, freq, season) values ($1, $2, $3, $4)', [
          OWNER,
          feeder.nameOf(n),
          frequency,
          season,
        ]);
      }
    }
    const told = new Map<string, LiveOutput[]>();
    const names = feeders.flatMap((feeder) => real.map((_, n) => feeder.nameOf(n)));
    const subscription = await s.client.feed.subscribe(OWNER, { ids: names }, { horizon: 20 }, (output) => {
      told.set(output.series, [...(told.get(output.series) ?? []), output]);
    });
    const outputs = () => [...told.values()].reduce((sum, list) => sum + list.length, 0);

    const queues = feeders.map(() => mixed(real, random));
    const total = queues.reduce((sum, queue) => sum + queue.length, 0);
    const next = feeders.map(() => 0);
    let fed = 0;
    const sending = new Set<Feeder>();
    /** Feeds until so much of everything is in, in pieces of any size, many of a single point. */
    const feed = (share: number) =>
      Promise.all(
        feeders.map(async (feeder, f) => {
          const queue = queues[f]!;
          while (next[f]! < Math.floor(share * queue.length)) {
            const size = random.uniform() < 0.5 ? 1 : Math.ceil(random.uniform() * (random.uniform() < 0.2 ? 90 : 12));
            const points = queue.slice(next[f]!, next[f]! + size);
            sending.add(feeder);
            await feeder.send(points);
            sending.delete(feeder);
            next[f]! += points.length;
            fed += points.length;
          }
        }),
      );
    /** Does something to the worker in the midst of the feeding and of the forecasting. */
    const amidst = (trouble: () => Promise<unknown>) => async (share: number) => {
      const [before, heard] = [fed, outputs()];
      const feeding = feed(share);
      const begun = () => fed > before + 0.4 * (share * total - before) && outputs() > heard;
      const midst = until(begun, PATIENCE_MS, 'points and forecasts between two troubles');
      await Promise.race([midst, feeding.then(() => midst)]);
      await trouble();
      worker = await s.worker({ leaseMs: 1500 });
      await feeding;
    };
    const restart = amidst(() => {
      worker.say('stop');
      return worker.exited;
    });
    const killWorker = amidst(() => worker.kill('SIGKILL'));
    const killApi = async (share: number) => {
      // While somebody holds the table, every door comes to have points that are not committed.
      const holder = new pg.Client(s.services.databaseUrl);
      await holder.connect();
      await holder.query('begin; lock table points in exclusive mode');
      const received = await messages();
      const feeding = feed(share);
      try {
        // The broker sends so many ahead of their acknowledgement and no more.
        const messaged = async () => (await messages()).every((count, i) => count > received[i]!);
        const busy = async () => sending.size === feeders.length && (await messaged());
        await until(busy, PATIENCE_MS, 'points on their way in every door');
        await api!.kill('SIGKILL');
      } finally {
        await holder.end();
      }
      await startApi();
      await feeding;
    };
    const troubles = [restart, killWorker, killApi, restart, restart];
    for (const [i, trouble] of troubles.entries()) await trouble((i + 1) / (troubles.length + 1));
    await feed(1);

    for (const feeder of feeders) {
      for (const [n, series] of real.entries()) {
        const name = feeder.nameOf(n);
        const at = series.times.at(-1)!;
        const output = await until(
          () => told.get(name)?.find((one) => one.at === at),
          PATIENCE_MS,
          `the end of ${name}`,
        );
        const difference = await differenceFromScan(s.batch, output, series);
        expect([name, difference < TOLERANCE]).toEqual([name, true]);
        const numbers = told.get(name)!.map(({ sequence }) => sequence);
        expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
        expect(await stored(name)).toBe(series.values.filter(Number.isFinite).length);
      }
      if (!feeder.stream) continue;
      const position = await fetch(`${await address}/v1/live/streams/${feeder.stream.name}`);
      expect(await position.json()).toEqual({ stream: feeder.stream.name, sequence: feeder.stream.sequence });
    }
    // The numbers of each series' outputs are 1, 2, 3 …: none is missing, none was given twice.
    const { rows } = await s.database.pool.query<{ name: string; numbers: number[] }>(
      `select unique_id as name, array_agg(sequence::int order by sequence) as numbers
       from committed_outputs join series on id = series_id group by 1`,
    );
    expect(rows.map(({ name }) => name).sort()).toEqual([...names].sort());
    for (const { name, numbers } of rows) {
      expect([name, numbers]).toEqual([name, Array.from({ length: numbers.length }, (_, i) => i + 1)]);
      expect(numbers.length).toBeGreaterThan(2);
    }
    await subscription.close();
    worker.say('stop');
    await worker.exited;
  }, 240_000);
});

/** The points of series as one stream: each series in the order of time, the series among each other in any. */
function mixed(real: readonly RealSeries[], random: Random): Point[] {
  const points = real.flatMap(({ times, values }, series) =>
    times.map((time, i) => ({ series, time, value: values[i]! })),
  );
  const left = [...bySeries(points.filter(({ value }) => Number.isFinite(value))).values()];
  const out: Point[] = [];
  while (left.length > 0) {
    const at = Math.floor(random.uniform() * left.length);
    out.push(left[at]!.shift()!);
    if (left[at]!.length === 0) left.splice(at, 1);
  }
  return out;
}
