import { once } from 'node:events';
import { get } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { call, startApp, type TestApp } from '../../http/app.js';
import { until } from '../../service/support/processes.js';

let app: TestApp;
beforeAll(async () => {
  app = await startApp();
});
afterAll(async () => {
  expect(await app.stop()).toBe(0);
});

const HOUR = 3_600_000;
const START = Date.UTC(2026, 0, 1);
const write = (body: string, headers: Record<string, string> = {}) =>
  call<unknown>(app, 'POST', '/write?precision=ms', body, { 'content-type': 'text/plain', ...headers });

it('times of the far past and future are kept, and live forecasts go on', async () => {
  const line = (i: number, value: number) => `far v=${value} ${START + i * HOUR}`;
  const wave = (i: number) => 50 + 5 * Math.sin(i / 4);
  await write(Array.from({ length: 100 }, (_, i) => line(i, wave(i))).join('\n'));
  let text = '';
  const request = get(`${app.address}/v1/live/events?series=far.v&events=forecasts`, (response) => {
    response.on('data', (part) => {
      text += part;
    });
    response.on('error', () => {});
  });
  request.on('error', () => {});
  const heard = (i: number) =>
    until(
      () => text.includes(`"at":"${new Date(START + i * HOUR).toISOString()}"`),
      40_000,
      `the forecast of step ${i}`,
    );
  await heard(99);
  for (const ms of [0, -9_223_372_036_000, 9_223_372_036_000]) {
    expect((await write(`far v=50 ${ms}`)).status).toBe(204);
  }
  await write(line(100, wave(100)));
  await heard(100);
  request.destroy();
  const last = text.trim().split('\n\n').at(-1)!;
  const { quantiles } = JSON.parse(last.slice(last.indexOf('data: ') + 6));
  expect(Math.abs(quantiles['0.5'][0] - wave(101))).toBeLessThan(20);
  const { body } = await call<{ values: number[] }>(app, 'GET', '/v1/series/far.v/points?limit=1000');
  expect(body.values).toHaveLength(104);
});

it('a client that is gone without a word is let go of', async () => {
  const { port } = new URL(app.address);
  const socket = connect(Number(port), '127.0.0.1');
  socket.write(
    'GET /v1/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  // It takes what comes and answers nothing, pings neither.
  socket.resume();
  const begin = Date.now();
  await once(socket, 'close');
  expect(Date.now() - begin).toBeGreaterThan(10_000);
}, 60_000);

it('frames that break the protocol end their connection only', async () => {
  const { port } = new URL(app.address);
  for (const bytes of [
    Buffer.from([0xff, 0xff, 0xff, 0xff]),
    Buffer.from([0x81, 0x05, 1, 2, 3, 4, 5]),
    Buffer.from([0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
  ]) {
    const socket = connect(Number(port), '127.0.0.1');
    socket.write(
      'GET /v1/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    await once(socket, 'data');
    socket.write(bytes);
    socket.resume();
    await once(socket, 'close');
  }
  expect((await write('after v=1 1000')).status).toBe(204);
});

it('a flood from one key leaves the others their place', async () => {
  const admin = await call<{ token: string }>(app, 'POST', '/v1/keys', {
    name: 'a',
    scopes: ['admin', 'write', 'read'],
  });
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
  const other = await call<{ token: string }>(
    app,
    'POST',
    '/v1/keys',
    { name: 'b', scopes: ['write', 'read'], owner: 'other' },
    bearer(admin.body.token),
  );
  const heap = Array.from({ length: 20_000 }, (_, i) => `flood,s=${i % 100} v=${i} ${START + i}`).join('\n');
  let flooding = true;
  const statuses = new Set<number>();
  const flood = Array.from({ length: 16 }, async () => {
    while (flooding) statuses.add((await write(heap, bearer(admin.body.token))).status);
  });
  for (let i = 0; i < 10; i++) {
    expect((await write(`beside v=${i} ${START + i}`, bearer(other.body.token))).status).toBe(204);
  }
  flooding = false;
  await Promise.all(flood);
  expect([...statuses].every((status) => [204, 429, 503].includes(status))).toBe(true);
});
