import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import pg from 'pg';
import { call, startApp, type TestApp } from '../../http/app.js';
import { type TestDatabase, testDatabase } from '../../service/support/database.js';
import { scratch, until } from '../../service/support/processes.js';
import { Broker } from './broker.js';

/** A way to a broker that can be cut while both ends live. */
class Line {
  private readonly sockets = new Set<Socket>();
  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  static async to(port: number): Promise<Line> {
    const server = createServer();
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const line = new Line(server, `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`);
    server.on('connection', (near) => {
      const far = connect(port, '127.0.0.1');
      near.pipe(far).pipe(near);
      for (const socket of [near, far]) {
        line.sockets.add(socket);
        socket.on('error', () => {}).on('close', () => line.cut());
      }
    });
    return line;
  }

  cut(): void {
    for (const socket of this.sockets) {
      this.sockets.delete(socket);
      socket.destroy();
    }
  }

  close(): void {
    this.server.close();
    this.cut();
  }
}

const folder = scratch();
let broker: Broker;
let line: Line;
let store: TestDatabase;
let app: TestApp;

beforeAll(async () => {
  broker = await Broker.start(folder.path);
  store = await testDatabase();
  line = await Line.to(broker.port);
  const connections = [{ name: 'cut', url: line.url, subscribe: [{ topic: 'cut/#', format: 'number' }] }];
  const file = join(folder.path, 'mqtt.json');
  writeFileSync(file, JSON.stringify({ connections }));
  app = await startApp({ ADDER_MQTT_FILE: file, DATABASE_URL: store.server.url });
});
afterAll(async () => {
  expect(await app.stop()).toBe(0);
  line.close();
  await store.close();
  await broker.stop();
  folder.remove();
});

const points = async (series: string) => {
  const path = `/v1/series/${encodeURIComponent(series)}/points`;
  const { body } = await call<{ timestamps?: string[]; values?: number[] }>(app, 'GET', path);
  return { times: (body.timestamps ?? []).map((text) => Date.parse(text)), values: body.values ?? [] };
};
const taken = async () => {
  const { body } = await call<string>(app, 'GET', '/metrics');
  return Number(/^adder_mqtt_messages_total\{[^}]*result="taken"[^}]*\} (\S+)/m.exec(body)?.[1] ?? 0);
};
/** Sends until something arrives: what is published before the subscription does not. */
const arrives = (topic: string) =>
  until(async () => {
    broker.send(topic, '1', ['-q', '1']);
    return (await points(topic)).values.length > 0;
  });

it('what the broker sends again on a new connection has the time of its first arrival, and is one point', async () => {
  await arrives('cut/before');
  const before = await taken();
  // Nothing can be committed, and so acknowledged, while somebody else holds the table.
  const holder = new pg.Client(store.server.url);
  await holder.connect();
  await holder.query('begin; lock table points in exclusive mode');
  const begin = Date.now();
  for (let i = 1; i <= 5; i++) {
    broker.send('cut/x', String(i), ['-q', '1']);
    await until(async () => (await taken()) === before + i);
  }
  const end = Date.now();
  line.cut();
  await until(async () => (await taken()) === before + 10, 20_000, 'all messages again');
  await holder.query('rollback');
  await holder.end();
  // Behind them, so that they are through.
  await arrives('cut/after');
  const { times, values } = await points('cut/x');
  expect(values).toEqual([1, 2, 3, 4, 5]);
  expect(times.every((time) => time >= begin && time <= end)).toBe(true);
});
