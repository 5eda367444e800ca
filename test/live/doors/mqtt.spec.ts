import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import protobuf from 'protobufjs';
import { readMqttFile } from '../../../src/live/doors/mqtt/mqtt-config.js';
import { clientOptions } from '../../../src/live/doors/mqtt/mqtt-consumer.js';
import { call, startApp, type TestApp } from '../../http/app.js';
import { type TestDatabase, testDatabase } from '../../service/support/database.js';
import { scratch, until } from '../../service/support/processes.js';
import { Broker } from './broker.js';

const folder = scratch();
let broker: Broker;
let store: TestDatabase;
let app: TestApp;

const SUBSCRIBE = [
  { topic: 'plain/+/temperature', format: 'number', series: '{1}.temperature' },
  {
    topic: 'json/#',
    format: 'json',
    series: 'json/{1}.{field}',
    values: { t: 'data[0].temp', h: 'hum' },
    time: 'at',
    timeUnit: 's',
  },
  { topic: 'zigbee2mqtt/+', format: 'json' },
  { topic: 'spBv1.0/#', format: 'sparkplug' },
];

function config(connections: object[]): string {
  const file = join(folder.path, `mqtt-${Math.random().toString(36).slice(2)}.json`);
  writeFileSync(file, JSON.stringify({ connections }));
  return file;
}

beforeAll(async () => {
  broker = await Broker.start(folder.path);
  store = await testDatabase();
  const file = config([
    { name: 'five', url: broker.url, subscribe: SUBSCRIBE },
    {
      name: 'old',
      url: broker.url,
      protocol: '3.1.1',
      subscribe: [{ topic: 'old/#', format: 'number', series: 'old/{1}' }],
    },
    { name: 'away', url: 'mqtt://127.0.0.1:1', subscribe: [{ topic: '#', format: 'number' }] },
  ]);
  app = await startApp({ ADDER_MQTT_FILE: file, DATABASE_URL: store.server.url });
  await ready('plain/ready/temperature', 'ready.temperature');
  await ready('old/ready', 'old/ready');
});
afterAll(async () => {
  expect(await app.stop()).toBe(0);
  await store.close();
  await broker.stop();
  folder.remove();
});

const values = async (series: string, from = app) =>
  (
    await call<{ values?: (number | null)[] }>(
      from,
      'GET',
      `/v1/series/${encodeURIComponent(series)}/points?limit=100000`,
    )
  ).body.values ?? [];
const points = async (series: string) =>
  (
    await call<{ timestamps: string[]; values: (number | null)[] }>(
      app,
      'GET',
      `/v1/series/${encodeURIComponent(series)}/points`,
    )
  ).body;

/** Waits until a subscription is in force: what is published before may not arrive. */
async function ready(topic: string, series: string, from = app): Promise<void> {
  await until(async () => {
    broker.send(topic, '1');
    return (await values(series, from)).length > 0;
  });
}

describe('messages become points', () => {
  it.each([
    ['3.1.1', '0'],
    ['3.1.1', '1'],
    ['5', '1'],
    ['5', '2'],
  ])('plain numbers, published with MQTT %s and QoS %s', async (version, qos) => {
    const version_ = ['-V', version === '5' ? 'mqttv5' : 'mqttv311', '-q', qos];
    const name = `v${version}q${qos}`;
    for (const [topic, series] of [
      [`plain/${name}/temperature`, `${name}.temperature`],
      [`old/${name}`, `old/${name}`],
    ] as const) {
      for (const [i, text] of [' 21.5\n', '-1e3', 'true', 'OFF', 'NaN'].entries()) {
        broker.send(topic, text, version_);
        await until(async () => (await values(series)).length === i + 1);
      }
      expect(await values(series)).toEqual([21.5, -1000, 1, 0, null]);
    }
  });

  it('plain numbers that come at once, each its own', async () => {
    const numbers = Array.from({ length: 300 }, (_, i) => i);
    broker.sendLines('plain/burst/temperature', numbers.map(String), ['-q', '1']);
    await until(async () => (await values('burst.temperature')).length === 300);
    expect(await values('burst.temperature')).toEqual(numbers);
  });

  it('JSON by its paths and its time, and every number where no path is given', async () => {
    broker.send('json/a/b', JSON.stringify({ at: 1_700_000_000.5, hum: '55.5', data: [{ temp: null }] }));
    await until(async () => (await values('json/a/b.t')).length > 0);
    expect(await points('json/a/b.h')).toMatchObject({ timestamps: ['2023-11-14T22:13:20.500Z'], values: [55.5] });
    expect(await values('json/a/b.t')).toEqual([null]);
    broker.send(
      'zigbee2mqtt/door',
      JSON.stringify({ battery: 97, contact: false, update: { state: 'idle', progress: 3 } }),
    );
    await until(async () => (await values('zigbee2mqtt/door.update.progress')).length > 0);
    expect(await values('zigbee2mqtt/door.battery')).toEqual([97]);
    expect(await values('zigbee2mqtt/door.contact')).toEqual([0]);
  });

  it('a topic that never parses harms no other, and is acknowledged', async () => {
    const bad = ['', 'warm', '{', '1e999', '9'.repeat(100_000), '\u0000', '[]'];
    for (const text of bad) {
      for (const topic of ['plain/bad/temperature', 'json/bad', 'zigbee2mqtt/bad'])
        broker.send(topic, text, ['-q', '1']);
    }
    broker.send('plain/good/temperature', '5', ['-q', '1']);
    await until(async () => (await values('good.temperature')).length === 1);
    expect(await values('bad.temperature')).toEqual([]);
  });
});

describe('Sparkplug B', () => {
  const { root } = protobuf.parse(`
    syntax = "proto2";
    package tahu;
    message Payload {
      optional uint64 timestamp = 1; repeated Metric metrics = 2; optional uint64 seq = 3;
      message Metric {
        optional string name = 1; optional uint64 alias = 2; optional uint64 timestamp = 3; optional uint32 datatype = 4;
        optional bool is_historical = 5; optional bool is_null = 7;
        optional uint32 int_value = 10; optional uint64 long_value = 11; optional float float_value = 12;
        optional double double_value = 13; optional bool boolean_value = 14; optional string string_value = 15;
      }
    }`);
  const Payload = root.lookupType('tahu.Payload');
  const T = 1_700_000_000_000;
  const say = (topic: string, seq: number, metrics: object[], timestamp = T) =>
    broker.send(topic, Buffer.from(Payload.encode(Payload.fromObject({ timestamp, seq, metrics })).finish()));
  const E = 'spBv1.0/plant';

  it('takes names from births and aliases afterwards, and asks for a birth that it has missed', async () => {
    const commands = broker.listen(`${E}/NCMD/#`);
    await new Promise((done) => setTimeout(done, 300));
    // Data of a node that nobody has seen being born.
    say(`${E}/NDATA/edge`, 7, [
      { alias: 1, intValue: 1 },
      { name: 'named', datatype: 10, doubleValue: 2.5 },
    ]);
    await until(() => commands.heard.length === 1);
    expect(commands.heard[0]!.topic).toBe(`${E}/NCMD/edge`);
    const command = Payload.decode(commands.heard[0]!.payload).toJSON();
    expect(command.metrics).toEqual([{ name: 'Node Control/Rebirth', datatype: 11, booleanValue: true }]);
    await until(async () => (await values('plant/edge/named')).length === 1);

    say(`${E}/NBIRTH/edge`, 0, [
      { name: 'bdSeq', datatype: 8, longValue: 0 },
      { name: 'Node Control/Rebirth', datatype: 11, booleanValue: false },
      { name: 'Temp/in', alias: 1, datatype: 2, intValue: 65_531 },
      { name: 'Label', alias: 2, datatype: 12, stringValue: 'x' },
    ]);
    say(`${E}/DBIRTH/edge/pump`, 1, [{ name: 'rpm', alias: 1, datatype: 4, longValue: '18446744073709551611' }]);
    say(`${E}/NDATA/edge`, 2, [{ alias: 1, intValue: 7, timestamp: T + 1000 }]);
    say(`${E}/DDATA/edge/pump`, 3, [
      { alias: 1, longValue: 9, timestamp: T + 1000 },
      { alias: 1, isNull: true, timestamp: T + 2000 },
      { alias: 1, longValue: 5, timestamp: T - 1000, isHistorical: true },
    ]);
    await until(async () => (await values('plant/edge/pump/rpm')).length === 4);
    expect(await values('plant/edge/Temp/in')).toEqual([-5, 7]);
    expect(await values('plant/edge/pump/rpm')).toEqual([5, -5, 9, null]);
    expect((await call(app, 'GET', `/v1/series?prefix=${encodeURIComponent('plant/edge/')}`)).body).toMatchObject({
      series: [{ id: 'plant/edge/Temp/in' }, { id: 'plant/edge/named' }, { id: 'plant/edge/pump/rpm' }],
    });
    expect(commands.heard).toHaveLength(1);
    commands.stop();
  });

  it('is not troubled by what is no payload', async () => {
    broker.send(`${E}/NDATA/edge2`, 'no protobuf');
    broker.send(`${E}/NDATA/edge2`, Buffer.from([0x12, 0xff, 0xff, 0xff, 0x0f]));
    say(`${E}/DDATA/edge2/d`, 1, [{ name: 'fine', datatype: 9, floatValue: 0.5 }]);
    await until(async () => (await values('plant/edge2/d/fine')).length === 1);
  });
});

describe('nothing acknowledged is lost', () => {
  let other: TestApp | undefined;
  let third: TestApp | undefined;
  afterEach(async () => {
    await other?.stop();
    await third?.stop();
    other = third = undefined;
  });

  it('QoS 1 is acknowledged when it is committed, not before: a kill in between loses nothing', async () => {
    const file = config([
      { name: 'late', url: broker.url, subscribe: [{ topic: 'late/#', format: 'json', time: 'at' }] },
    ]);
    const start = () => startApp({ ADDER_MQTT_FILE: file, DATABASE_URL: store.server.url });
    other = await start();
    await until(async () => {
      broker.send('late/first', '{"at":1,"v":1}', ['-q', '1']);
      return (await values('late/first.v')).length === 1;
    });
    // Nothing can be committed while somebody else holds the table.
    const holder = new pg.Client(store.server.url);
    await holder.connect();
    await holder.query('begin; lock table points in exclusive mode');
    const lines = Array.from({ length: 200 }, (_, i) => JSON.stringify({ at: 1000 + i, v: i }));
    broker.sendLines('late/held', lines, ['-q', '1']);
    await new Promise((done) => setTimeout(done, 1500));
    process.kill(processOf(other), 'SIGKILL');
    await other.process.kill('SIGKILL');
    await holder.query('rollback');
    await holder.end();
    expect((await values('late/held.v')).length).toBe(0);
    other = await start();
    await until(async () => (await values('late/held.v')).length === 200, 30_000, 'all messages');
    expect(await values('late/held.v')).toEqual(Array.from({ length: 200 }, (_, i) => i));
  });

  it('a broker that goes and comes back', async () => {
    await broker.stop();
    await broker.run();
    await until(async () => {
      broker.send('plain/again/temperature', '1', ['-q', '1']);
      return (await values('again.temperature')).length > 0;
    });
  });

  it('a shared subscription is dealt out to all API processes, and each message is stored once', async () => {
    const start = (id: string) =>
      startApp({
        DATABASE_URL: store.server.url,
        ADDER_MQTT_FILE: config([
          {
            name: 'shared',
            clientId: `shared-${id}`,
            url: broker.url,
            share: 'adder',
            subscribe: [{ topic: 'dealt/#', format: 'json', time: 'at' }],
          },
        ]),
      });
    other = await start('a');
    third = await start('b');
    await until(async () => {
      broker.send('dealt/ready', `{"at":${Date.now()},"v":1}`);
      return (await committed(other!)) > 0 && (await committed(third!)) > 0;
    });
    const before = (await committed(other)) + (await committed(third));
    broker.sendLines(
      'dealt/x',
      Array.from({ length: 500 }, (_, i) => JSON.stringify({ at: 1000 + i, v: i })),
      ['-q', '1'],
    );
    await until(async () => (await values('dealt/x.v')).length === 500, 30_000, 'all messages');
    expect((await committed(other)) + (await committed(third)) - before).toBeLessThanOrEqual(502);
  });

  it('a flood of 20,000 messages arrives whole', async () => {
    const lines = Array.from({ length: 20_000 }, (_, i) =>
      JSON.stringify({ at: 1000 + i, hum: i, data: [{ temp: i }] }),
    );
    const flood = spawn('mosquitto_pub', [
      '-h',
      '127.0.0.1',
      '-p',
      String(broker.port),
      '-t',
      'json/flood',
      '-l',
      '-q',
      '1',
    ]);
    flood.stdin.end(`${lines.join('\n')}\n`);
    broker.send('plain/beside/temperature', '3');
    await until(async () => (await values('beside.temperature')).length === 1);
    await until(async () => (await values('json/flood.h')).length === 20_000, 90_000, 'the flood');
  });
});

/** Messages of a process that became points. */
async function committed(from: TestApp): Promise<number> {
  const { body } = await call<string>(from, 'GET', '/metrics');
  return Number(/^adder_mqtt_messages_total\{[^}]*result="taken"[^}]*\} (\S+)/m.exec(body)?.[1] ?? 0);
}

/** The process that answers HTTP. */
function processOf(of: TestApp): number {
  const children = readFileSync(`/proc/${of.process.child.pid}/task/${of.process.child.pid}/children`, 'utf8');
  const pids = children.trim().split(' ').map(Number);
  return pids.find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('main.'))!;
}

describe('a wrong file is refused with the name of the field', () => {
  const url = 'mqtt://127.0.0.1:1';
  it.each([
    [{ name: 'a', url, subscribe: [{ topic: 'a/#/b', format: 'number' }] }, 'connections.0.subscribe.0.topic'],
    [{ name: 'a', url, subscribe: [{ topic: 'a+', format: 'number' }] }, 'connections.0.subscribe.0.topic'],
    [{ name: 'a', url: 'http://x' }, 'connections.0.url'],
    [{ name: 'a b', url }, 'connections.0.name'],
    [{ name: 'a', url, share: 'g', subscribe: [{ format: 'sparkplug' }] }, 'connections.0.share'],
    [{ name: 'a', url, publish: [{ topic: 'x/#' }] }, 'connections.0.publish.0.topic'],
    [{ name: 'a', url, typo: 1 }, 'connections.0'],
  ])('%j', (connection, field) => {
    expect(thrownBy(() => readMqttFile(config([connection])))).toMatchObject({
      code: 'BAD_CONFIGURATION',
      where: { field },
    });
  });

  it('also of a file that it names, and when it is none', () => {
    const [connection] = readMqttFile(config([{ name: 'a', url, passwordFile: '/nonexistent' }]));
    expect(thrownBy(() => clientOptions(connection!))).toMatchObject({ code: 'FILE_NOT_FOUND' });
    expect(thrownBy(() => readMqttFile('/nonexistent'))).toMatchObject({ code: 'FILE_NOT_FOUND' });
    const file = join(folder.path, 'broken.json');
    writeFileSync(file, '{');
    expect(thrownBy(() => readMqttFile(file))).toMatchObject({ code: 'BAD_CONFIGURATION', where: { file } });
  });
});

function thrownBy(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
}
