import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { WebSocket } from 'ws';
import { call, startApp, type TestApp } from '../../http/app.js';
import { until } from '../../service/support/processes.js';
import { frame } from './binary-frame.js';

let app: TestApp;
beforeAll(async () => {
  app = await startApp({ ADDER_MAX_SERIES: '200' });
});
afterAll(async () => {
  expect(await app.stop()).toBe(0);
});

type Message = Record<string, unknown>;

/** A client that keeps what it hears. */
class Client {
  readonly heard: Message[] = [];
  private constructor(readonly socket: WebSocket) {
    socket.on('message', (data) => this.heard.push(JSON.parse(String(data))));
    socket.on('error', () => {});
  }
  static async open(protocols: string[] = [], headers: Record<string, string> = {}): Promise<Client> {
    const socket = new WebSocket(`${app.address.replace('http', 'ws')}/v1/live`, protocols, { headers });
    const client = new Client(socket);
    await once(socket, 'open');
    return client;
  }
  say(message: unknown): void {
    this.socket.send(message instanceof Buffer ? message : JSON.stringify(message));
  }
  hear(type: string, where: Message = {}): Promise<Message> {
    const fits = (message: Message) =>
      message.type === type && Object.entries(where).every(([key, value]) => message[key] === value);
    return until(
      () => this.heard.find(fits),
      20_000,
      `${type} ${JSON.stringify(where)} among ${JSON.stringify(this.heard)}`,
    );
  }
  async close(): Promise<void> {
    this.socket.close();
    if (this.socket.readyState !== WebSocket.CLOSED) await once(this.socket, 'close');
  }
}

const T = Date.UTC(2024, 0, 1);
const values = async (series: string) =>
  (await call<{ values: unknown[] }>(app, 'GET', `/v1/series/${series}/points?limit=100000`)).body.values;

describe('points over a WebSocket', () => {
  it('are committed when their number is acknowledged: JSON and binary, one stream', async () => {
    const client = await Client.open(['adder.live.v1']);
    expect(client.socket.protocol).toBe('adder.live.v1');
    client.say({ type: 'hello', stream: 'mixed' });
    expect(await client.hear('welcome')).toEqual({ type: 'welcome', stream: 'mixed', sequence: 0 });
    client.say({ type: 'points', sequence: 1, series: 'a', timestamp: T, value: 1 });
    client.say({
      type: 'points',
      sequence: 2,
      points: [
        { series: 'a', timestamp: '2024-01-01T00:00:01Z', value: 2 },
        { series: 'b', timestamps: [T, T + 1], values: [5, null] },
      ],
    });
    client.say({ type: 'names', names: ['a', 'c'] });
    expect(await client.hear('names')).toEqual({ type: 'names', from: 0, count: 2 });
    client.say(
      frame(10, [
        [0, T + 2000, 3],
        [1, T, Number.NaN],
        [1, T + 1, 9],
      ]),
    );
    await client.hear('committed', { sequence: 10 });
    expect(await values('a')).toEqual([1, 2, 3]);
    expect(await values('b')).toEqual([5, null]);
    expect(await values('c')).toEqual([null, 9]);
    await client.close();
  });

  it('resume by number after a connection that died', async () => {
    const message = (sequence: number) => ({
      type: 'points',
      sequence,
      series: 'resumed',
      timestamp: T + sequence * 1000,
      value: sequence,
    });
    const first = await Client.open();
    first.say({ type: 'hello', stream: 'resume' });
    for (let i = 1; i <= 50; i++) first.say(message(i));
    await first.hear('committed');
    first.socket.terminate();
    const second = await Client.open();
    second.say({ type: 'hello', stream: 'resume' });
    const { sequence } = await second.hear('welcome');
    expect(sequence).toBeGreaterThan(0);
    // From before the committed number on: what was there is recognised.
    for (let i = Math.max(1, (sequence as number) - 10); i <= 120; i++) second.say(message(i));
    await second.hear('committed', { sequence: 120 });
    expect(await values('resumed')).toEqual(Array.from({ length: 120 }, (_, i) => i + 1));
    // Sent again on the same connection: acknowledged, not stored twice, not changed.
    second.say({ ...message(7), value: 700 });
    await until(() => second.heard.filter((m) => m.type === 'committed' && m.sequence === 120).length > 1);
    expect((await values('resumed'))[6]).toBe(7);
    await second.close();
  });

  it('that cannot be stored are named, the others kept', async () => {
    const client = await Client.open();
    client.say({
      type: 'points',
      points: [
        { series: 'kept', timestamp: T, value: 1 },
        { series: 'kept', timestamp: 'yesterday', value: 1 },
        { series: 'kept', timestamp: 1e300, value: 1 },
        { series: 'kept', timestamp: T, value: 'NaN' },
      ],
    });
    await client.hear('committed', { sequence: 1 });
    expect(
      client.heard
        .filter(({ type }) => type === 'rejected')
        .map(({ sequence, index, code }) => [sequence, index, code]),
    ).toEqual([
      [1, 1, 'BAD_TIMESTAMP'],
      [1, 2, 'BAD_TIMESTAMP'],
      [1, 3, 'BAD_VALUE'],
    ]);
    client.say({ type: 'names', names: ['kept'] });
    client.say(
      frame(0, [
        [0, T + 1, Number.POSITIVE_INFINITY],
        [0, T + 2, 2],
      ]),
    );
    await client.hear('committed', { sequence: 2 });
    expect(await client.hear('rejected', { sequence: 2 })).toMatchObject({ series: 'kept', code: 'BAD_VALUE' });
    expect(await values('kept')).toEqual([1, 2]);
    await client.close();
  });

  it.each([
    ['no JSON', 'BAD_JSON'],
    [[1], 'BAD_JSON'],
    [{ type: 'dance' }, 'INVALID_REQUEST'],
    [{ type: 'points', points: 5 }, 'INVALID_REQUEST'],
    [{ type: 'names', names: [''] }, 'INVALID_REQUEST'],
    [{ type: 'points', sequence: 'x', series: 'a', timestamp: 1, value: 1 }, 'BAD_SEQUENCE'],
    [{ type: 'points', sequence: -1, series: 'a', timestamp: 1, value: 1 }, 'BAD_SEQUENCE'],
    [Buffer.from('junk'), 'BAD_FRAME'],
    [frame(1, []).subarray(0, 15), 'BAD_FRAME'],
    [frame(1, [[7, T, 1]]), 'BAD_FRAME'],
  ])('answers %j and stays open', async (message, code) => {
    const client = await Client.open();
    if (message === 'no JSON') client.socket.send('{');
    else client.say(message);
    expect(await client.hear('error')).toMatchObject({ code, message: expect.any(String), fix: expect.any(String) });
    client.say({ type: 'points', series: 'still', timestamp: T, value: 1 });
    await client.hear('committed');
    await client.close();
  });

  it('beyond the quota are refused, and other series of the connection are unharmed', async () => {
    const client = await Client.open();
    client.say({ type: 'points', points: [{ series: 'unharmed', timestamp: T, value: 1 }] });
    client.say({
      type: 'points',
      points: Array.from({ length: 300 }, (_, i) => ({ series: `new${i}`, timestamp: T, value: i })),
    });
    client.say({ type: 'points', points: [{ series: 'unharmed', timestamp: T + 1, value: 2 }] });
    await client.hear('committed', { sequence: 3 });
    expect(await client.hear('rejected')).toMatchObject({ code: 'TOO_MANY_SERIES' });
    expect(await values('unharmed')).toEqual([1, 2]);
    await client.close();
  });
});

describe('limits of a connection', () => {
  it('a message of a megabyte passes, a larger one ends the connection', async () => {
    const client = await Client.open();
    client.say({ type: 'names', names: ['mega'] });
    const rows = Array.from({ length: 52_000 }, (_, i): [number, number, number] => [0, T + i, i]);
    client.say(frame(0, rows));
    await client.hear('committed', { sequence: 1 });
    expect(await values('mega')).toHaveLength(52_000);
    const closed = once(client.socket, 'close');
    client.socket.send('x'.repeat(2 ** 20 + 1));
    expect((await closed)[0]).toBe(1009);
  });

  it('a flood is slowed down by the socket, not kept in memory', async () => {
    const before = await memory();
    const client = await Client.open();
    client.say({ type: 'names', names: ['flood'] });
    const rows = Array.from({ length: 10_000 }, (_, i): [number, number, number] => [0, T + i, i]);
    for (let i = 1; i <= 150; i++) client.say(frame(0, rows));
    // Another client is served meanwhile.
    const other = await Client.open();
    other.say({ type: 'points', series: 'beside', timestamp: T, value: 1 });
    await other.hear('committed');
    expect(client.heard.find(({ sequence }) => sequence === 150)).toBeUndefined();
    await until(() => client.heard.some(({ sequence }) => sequence === 150), 60_000, 'the end of the flood');
    expect((await memory()) - before).toBeLessThan(200e6);
    await Promise.all([client.close(), other.close()]);
  });

  it('a client that asks and never reads is given up', async () => {
    const client = await Client.open();
    client.socket.pause();
    let closed = false;
    client.socket.once('close', () => {
      closed = true;
    });
    const junk = JSON.stringify({ type: 'points', points: Array(20).fill({ series: 'junk' }) });
    const before = await memory();
    // The answers fill what the network holds, then what the server holds. That it has gone shows when writing fails.
    for (const end = Date.now() + 60_000; !closed && Date.now() < end; ) {
      if (client.socket.bufferedAmount < 4e6) for (let i = 0; i < 500; i++) client.socket.send(junk);
      expect((await memory()) - before).toBeLessThan(150e6);
    }
    expect(closed).toBe(true);
  }, 90_000);
});

describe('who may come in', () => {
  const upgrade = (headers: Record<string, string>, path = '/v1/live') =>
    new Promise<string>((done) => {
      const socket = connect(Number(new URL(app.address).port), '127.0.0.1', () => {
        const lines = Object.entries({
          Host: '127.0.0.1',
          Connection: 'Upgrade',
          Upgrade: 'websocket',
          'Sec-WebSocket-Version': '13',
          'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
          ...headers,
        });
        socket.write(
          `GET ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}`).join('\r\n')}\r\n\r\n`,
        );
      });
      socket.once('data', (data) => {
        done(data.toString());
        socket.destroy();
      });
    });

  it('no page of another origin, no other path', async () => {
    expect(await upgrade({ Origin: 'https://evil.example' })).toMatch(/^HTTP\/1.1 403 [\s\S]*"FORBIDDEN"/);
    expect(await upgrade({}, '/v1/other')).toMatch(/^HTTP\/1.1 404 [\s\S]*"NOT_FOUND"/);
    expect(await upgrade({})).toMatch(/^HTTP\/1.1 101 /);
    expect(await upgrade({ 'Sec-WebSocket-Version': '1' })).toMatch(/^HTTP\/1.1 4/);
  });

  it('only with a key once there is one, and only to what its scopes allow', async () => {
    const admin = await call<{ token: string }>(app, 'POST', '/v1/keys', {
      name: 'admin',
      scopes: ['admin', 'read', 'write'],
    });
    const authorization = `Bearer ${admin.body.token}`;
    const reader = await call<{ token: string }>(
      app,
      'POST',
      '/v1/keys',
      { name: 'r', scopes: ['read'] },
      { authorization },
    );
    expect(await upgrade({})).toMatch(/^HTTP\/1.1 401 /);
    expect(await upgrade({ Authorization: 'Bearer nonsense' })).toMatch(/^HTTP\/1.1 401 /);
    const client = await Client.open(['adder.live.v1', `adder.key.${reader.body.token}`]);
    expect(client.socket.protocol).toBe('adder.live.v1');
    client.say({ type: 'points', series: 'x', timestamp: T, value: 1 });
    expect(await client.hear('error')).toMatchObject({ code: 'FORBIDDEN' });
    client.say({ type: 'hello', stream: 's' });
    await until(() => client.heard.length === 2);
    const writer = await Client.open([], { authorization });
    writer.say({ type: 'points', series: 'keyed', timestamp: T, value: 1 });
    await writer.hear('committed');
    await Promise.all([client.close(), writer.close()]);
  });
});

async function memory(): Promise<number> {
  const { body } = await call<string>(app, 'GET', '/metrics');
  return Number(/^adder_process_resident_memory_bytes (\S+)/m.exec(body)![1]);
}
