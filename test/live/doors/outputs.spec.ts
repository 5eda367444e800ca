import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, get, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { WebSocket } from 'ws';
import { call, startApp, type TestApp } from '../../http/app.js';
import { scratch, until } from '../../service/support/processes.js';
import { Broker } from './broker.js';

interface Hook {
  headers: IncomingMessage['headers'];
  body: string;
  path: string;
}

const folder = scratch();
const HOUR = 3_600_000;
const START = Date.UTC(2026, 0, 1);
let broker: Broker;
let app: TestApp;
let receiver: Server;
let hooks: Hook[] = [];
/** Statuses of the next answers; 204 when there is none left. */
let answers: number[] = [];

beforeAll(async () => {
  broker = await Broker.start(folder.path);
  const file = join(folder.path, 'mqtt.json');
  writeFileSync(
    file,
    JSON.stringify({
      connections: [
        { name: 'out', url: broker.url, publish: [{ prefix: 'mqtt/', horizon: 4, topic: 'adder/{series}/{type}' }] },
      ],
    }),
  );
  receiver = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    hooks.push({ headers: request.headers, body, path: request.url! });
    response.writeHead(answers.shift() ?? 204).end();
  }).listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  app = await startApp({ ADDER_MQTT_FILE: file, ADDER_WEBHOOK_HOSTS: 'example.com, 127.0.0.1' });
});
afterAll(async () => {
  expect(await app.stop()).toBe(0);
  receiver.close();
  await broker.stop();
  folder.remove();
});

const wave = (i: number) => 100 + 10 * Math.sin((2 * Math.PI * i) / 24) + (i % 3);

async function feed(series: string, from: number, values: number[]): Promise<void> {
  const lines = values.map((value, i) => JSON.stringify({ series, timestamp: START + (from + i) * HOUR, value }));
  const answer = await call(app, 'POST', '/v1/live/points', lines.join('\n'), {
    'content-type': 'application/x-ndjson',
  });
  expect(answer.status).toBe(200);
}
const history = (length: number) => Array.from({ length }, (_, i) => wave(i));

interface Event {
  event: string;
  data: Record<string, unknown>;
}

/** Listens to server-sent events. */
function listen(query: string): { events: Event[]; stop(): void } {
  const events: Event[] = [];
  const request = get(`${app.address}/v1/live/events?${query}`, (response) => {
    let rest = '';
    response.setEncoding('utf8').on('data', (text: string) => {
      const blocks = (rest + text).split('\n\n');
      rest = blocks.pop()!;
      for (const block of blocks) {
        const [, event, data] = /^event: (.*)\ndata: (.*)$/.exec(block) ?? [];
        if (event) events.push({ event, data: JSON.parse(data!) });
      }
    });
    response.on('error', () => {});
  });
  request.on('error', () => {});
  return { events, stop: () => request.destroy() };
}

describe('forecasts go out', () => {
  it('as server-sent events, with the anomalies among the values', async () => {
    await feed('sse/a', 0, history(200));
    const all = listen('prefix=sse/&horizon=6&minScore=8');
    const anomalies = listen('series=sse/a&series=sse/b&events=anomalies&minScore=8');
    const first = await until(() => all.events[0], 40_000, 'the first forecast');
    expect(first).toMatchObject({
      event: 'forecast',
      data: { series: 'sse/a', frequency: 'H', at: new Date(START + 199 * HOUR).toISOString() },
    });
    expect(first.data.times).toEqual(
      Array.from({ length: 6 }, (_, i) => new Date(START + (200 + i) * HOUR).toISOString()),
    );
    const quantiles = first.data.quantiles as Record<string, number[]>;
    expect(quantiles['0.5']).toHaveLength(6);
    expect(Math.abs(quantiles['0.5']![0]! - wave(200))).toBeLessThan(10);
    await feed('sse/a', 200, [wave(200), 1000]);
    const spike = await until(() => anomalies.events.find(({ data }) => data.value === 1000), 20_000, 'the anomaly');
    expect(spike).toMatchObject({
      event: 'anomaly',
      data: { series: 'sse/a', time: new Date(START + 201 * HOUR).toISOString() },
    });
    expect(spike.data.score as number).toBeGreaterThan(8);
    expect(anomalies.events.every(({ event }) => event === 'anomaly')).toBe(true);
    await until(() => all.events.some(({ data }) => data.value === 1000 && data.at), 20_000, 'the forecast after it');
    all.stop();
    anomalies.stop();
  });

  it('over a WebSocket to whoever subscribed, on the connection that brings the points', async () => {
    const socket = new WebSocket(`${app.address.replace('http', 'ws')}/v1/live`);
    const heard: Record<string, unknown>[] = [];
    socket.on('message', (data) => heard.push(JSON.parse(String(data))));
    await once(socket, 'open');
    const say = (message: object) => socket.send(JSON.stringify(message));
    say({
      type: 'points',
      series: 'ws/a',
      timestamps: history(120).map((_, i) => START + i * HOUR),
      values: history(120),
    });
    say({ type: 'subscribe', id: 's', series: ['ws/a'], horizon: 3, events: ['forecasts'] });
    say({ type: 'subscribe', id: 's', series: ['ws/a'] });
    say({ type: 'subscribe', id: 't', series: ['ws/a'], prefix: 'x' });
    const got = (type: string, id?: string) => heard.find((m) => m.type === type && (id === undefined || m.id === id));
    await until(() => got('forecast', 's'), 40_000, 'a forecast');
    expect(got('forecast', 's')).toMatchObject({ series: 'ws/a' });
    expect(heard.filter(({ type }) => type === 'error')).toMatchObject([
      { code: 'INVALID_REQUEST' },
      { code: 'INVALID_REQUEST' },
    ]);
    say({ type: 'points', series: 'ws/a', timestamp: START + 120 * HOUR, value: wave(120) });
    await until(() => heard.find((m) => m.at === new Date(START + 120 * HOUR).toISOString()), 20_000, 'the next one');
    say({ type: 'unsubscribe', id: 's' });
    await until(() => got('unsubscribed', 's'));
    socket.close();
  });

  it('to a scrape of Prometheus', async () => {
    await feed('scrape/"a"', 0, history(100));
    const text = await until(async () => {
      const { body } = await call<string>(app, 'GET', '/v1/live/metrics?prefix=scrape/&step=1&step=12');
      return body.includes('quantile="0.5",step="12"') ? body : undefined;
    }, 40_000);
    expect(text).toMatch(/^# TYPE adder_forecast gauge$/m);
    expect(text).toMatch(/^adder_forecast\{series="scrape\/\\"a\\"",quantile="0\.5",step="1"\} \d+\.\d+$/m);
    expect(text).toContain(
      `adder_forecast_last_value_timestamp_seconds{series="scrape/\\"a\\""} ${(START + 99 * HOUR) / 1000}`,
    );
    expect(text.split('\n').every((line) => line === '' || /^#|^adder_\w+\{.*\} \S+$/.test(line))).toBe(true);
  });

  it('back to the broker', async () => {
    const heard = broker.listen('adder/#');
    await new Promise((done) => setTimeout(done, 300));
    await feed('mqtt/pump', 0, history(100));
    const message = await until(
      () => heard.heard.find(({ topic }) => topic === 'adder/mqtt/pump/forecast'),
      40_000,
      'a message',
    );
    expect(JSON.parse(message.payload.toString())).toMatchObject({ series: 'mqtt/pump', times: expect.any(Array) });
    heard.stop();
  });

  it('a client that never reads loses the oldest and harms nobody', async () => {
    await feed('slow/a', 0, history(100));
    const { port } = new URL(app.address);
    const slow = connect(Number(port), '127.0.0.1');
    slow.write('GET /v1/live/events?prefix=slow/&horizon=1000 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
    slow.pause();
    const quick = listen('prefix=slow/');
    await until(() => quick.events.length > 0, 40_000, 'a forecast');
    for (let i = 100; i < 130; i++) await feed('slow/a', i, [wave(i)]);
    await until(
      () => quick.events.some(({ data }) => data.at === new Date(START + 129 * HOUR).toISOString()),
      30_000,
      'the last one',
    );
    slow.destroy();
    quick.stop();
  });
});

describe('alerts', () => {
  const rule = (fields: object) =>
    call<{ id: string; secret: string; code: string }>(app, 'POST', '/v1/alerts/rules', {
      url: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`,
      ...fields,
    });
  const told = (name: string, status: string) =>
    until(
      () =>
        hooks
          .map((hook) => ({ ...hook, json: JSON.parse(hook.body) }))
          .find(({ json }) => json.data.name === name && json.data.status === status),
      40_000,
      `${status} of ${name} among ${hooks.map(({ body }) => body).join()}`,
    );

  it('are signed, tried again until they are taken, and come once', async () => {
    hooks = [];
    answers = [500, 302];
    const { status, body } = await rule({
      name: 'spikes',
      prefix: 'alert/',
      condition: { kind: 'anomaly', minScore: 20 },
    });
    expect(status).toBe(201);
    await feed('alert/a', 0, history(200));
    const watch = listen('prefix=alert/');
    await until(() => watch.events.length > 0, 40_000, 'a standing forecast');
    await feed('alert/a', 200, [5000]);
    const hook = await told('spikes', 'firing');
    expect(hook.json).toMatchObject({
      type: 'alert.firing',
      data: { rule: body.id, series: 'alert/a', value: 5000, time: new Date(START + 200 * HOUR).toISOString() },
    });
    const { alerts } = await until(
      async () => {
        const answer = await call<{ alerts: { deliveredAt: string | null; attempts: number; status: string }[] }>(
          app,
          'GET',
          '/v1/alerts',
        );
        return answer.body.alerts.some(({ deliveredAt }) => deliveredAt) ? answer.body : undefined;
      },
      40_000,
      'the delivery',
    );
    expect(alerts.filter((alert) => alert.status === 'firing')).toMatchObject([{ attempts: 3, status: 'firing' }]);
    expect(hooks).toHaveLength(3);
    // One message, three attempts, each signed for its time.
    expect(new Set(hooks.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    for (const { headers, body: text } of hooks) {
      const key = Buffer.from(body.secret.replace('whsec_', ''), 'base64');
      const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${text}`;
      expect(headers['webhook-signature']).toBe(`v1,${createHmac('sha256', key).update(signed).digest('base64')}`);
    }
    await feed('alert/a', 201, [wave(201), wave(202)]);
    await told('spikes', 'resolved');
    watch.stop();
  });

  it('look ahead: a quantile of the forecast crosses a threshold', async () => {
    hooks = [];
    await rule({
      name: 'high',
      series: ['ahead'],
      condition: { kind: 'threshold', level: 0.9, above: 50, withinSteps: 12 },
    });
    await rule({
      name: 'low',
      series: ['ahead'],
      condition: { kind: 'threshold', level: 0.1, below: 50, withinSteps: 12 },
    });
    await feed('ahead', 0, history(100));
    const { json } = await told('high', 'firing');
    expect(json.data).toMatchObject({ series: 'ahead', level: 0.9, above: 50, step: 1 });
    expect(json.data.value).toBeGreaterThan(50);
    expect(hooks.some(({ body }) => body.includes('"low"'))).toBe(false);
  });

  it('tell that data is missing, and that it is back', async () => {
    hooks = [];
    await rule({ name: 'silent', prefix: 'missing/', condition: { kind: 'missing', afterSeconds: 3 } });
    const now = (series: string) =>
      call(app, 'POST', '/v1/points', { series: [{ id: series, timestamps: [Date.now()], values: [1] }] });
    await now('missing/a');
    await told('silent', 'firing');
    const end = Date.now() + 8000;
    while (Date.now() < end && !hooks.some(({ body }) => body.includes('resolved'))) {
      await now('missing/a');
      await new Promise((done) => setTimeout(done, 500));
    }
    await told('silent', 'resolved');
  });

  it('are not sent into the own network, whatever a name says, and rules are checked', async () => {
    hooks = [];
    const { port } = receiver.address() as AddressInfo;
    const condition = { kind: 'missing', afterSeconds: 1 };
    for (const [i, host] of ['localhost', '[::1]', '[::ffff:127.0.0.1]', '0.0.0.0'].entries()) {
      await call(app, 'POST', '/v1/points', { series: [{ id: `refused/${i}`, timestamps: [START], values: [1] }] });
      expect(
        (await rule({ name: host, series: [`refused/${i}`], condition, url: `http://${host}:${port}/x` })).status,
      ).toBe(201);
    }
    const refused = await until(
      async () => {
        const { body } = await call<{ alerts: { series: string; lastError: string | null }[] }>(
          app,
          'GET',
          '/v1/alerts',
        );
        const errors = body.alerts.filter(({ series, lastError }) => series.startsWith('refused/') && lastError);
        return errors.length === 4 ? errors : undefined;
      },
      30_000,
      'the refusals',
    );
    for (const { lastError } of refused) expect(lastError).toMatch(/own network/);
    expect(hooks.filter(({ path }) => path === '/x')).toEqual([]);
    const { body } = await call<{ rules: { id: string; name: string; firing: number }[] }>(
      app,
      'GET',
      '/v1/alerts/rules',
    );
    expect(body.rules.find(({ name }) => name === 'localhost')).toMatchObject({ firing: 1 });
    for (const { id } of body.rules) expect((await call(app, 'DELETE', `/v1/alerts/rules/${id}`)).status).toBe(204);
    expect((await call(app, 'GET', '/v1/alerts')).body).toEqual({ alerts: [], next: null });
    expect((await call(app, 'DELETE', `/v1/alerts/rules/${body.rules[0]!.id}`)).status).toBe(404);
    expect((await rule({ name: 'x', condition: { kind: 'threshold', withinSteps: 1 } })).status).toBe(422);
    expect((await rule({ name: 'x', condition, url: 'file:///etc/passwd' })).status).toBe(422);
    expect((await rule({ name: 'x', condition, series: ['a'], prefix: 'b' })).status).toBe(422);
  });
});
