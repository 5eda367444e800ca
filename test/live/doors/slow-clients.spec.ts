import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { WebSocket, WebSocketServer } from 'ws';
import { DropOldest } from '../../../src/live/doors/out/drop-oldest.js';
import { EventStream } from '../../../src/live/doors/out/event-stream.js';
import { Outbox } from '../../../src/live/doors/socket/outbox.js';
import { until } from '../../service/support/processes.js';

describe('a slow client', () => {
  it('of a queue: the oldest goes, and is counted', () => {
    const queue = new DropOldest<number>(3);
    for (let i = 0; i < 5000; i++) queue.push(i);
    expect([queue.takeLost(), queue.takeLost()]).toEqual([4997, 0]);
    expect([queue.shift(), queue.shift(), queue.shift(), queue.shift()]).toEqual([4997, 4998, 4999, undefined]);
    queue.push(7);
    expect([queue.shift(), queue.length]).toEqual([7, 0]);
  });

  it('of server-sent events hears how many it has lost, and goes on with the latest', async () => {
    const stream = new EventStream();
    for (let i = 0; i < 10_000; i++)
      stream.send({ type: 'forecast', n: i, filling: 'x'.repeat(1000) } as { type: string });
    let text = '';
    stream.on('data', (part: string) => {
      text += part;
    });
    await until(() => text.includes('"n":9999'));
    stream.destroy();
    const numbers = [...text.matchAll(/"n":(\d+)/g)].map(([, n]) => Number(n));
    const lost = Number(/^event: dropped\ndata: \{"count":(\d+)\}$/m.exec(text)![1]);
    expect(numbers.length + lost).toBe(10_000);
    expect(numbers.slice(-256)).toEqual(Array.from({ length: 256 }, (_, i) => 9744 + i));
  });

  it('of a WebSocket loses events, but no answer', async () => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(server, 'listening');
    const accepted = once(server, 'connection');
    const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const heard: { type: string; n: number; count: number; sequence: number }[] = [];
    client.on('message', (data) => heard.push(JSON.parse(String(data))));
    await once(client, 'open');
    const [socket] = (await accepted) as [WebSocket];
    const outbox = new Outbox(socket);
    client.pause();
    for (let i = 0; i < 40_000; i++) {
      outbox.event({ type: 'forecast', n: i, filling: 'x'.repeat(1000) });
      if (i % 400 === 0) {
        outbox.answer({ type: 'answer', n: i });
        outbox.commit(i);
        await new Promise((done) => setImmediate(done));
      }
    }
    expect(socket.bufferedAmount).toBeLessThan(300_000);
    client.resume();
    await until(() => heard.some(({ n }) => n === 39_999));
    const events = heard.filter(({ type }) => type === 'forecast');
    const lost = heard.filter(({ type }) => type === 'dropped').reduce((sum, { count }) => sum + count, 0);
    expect(lost).toBeGreaterThan(0);
    expect(events.length + lost).toBe(40_000);
    expect(heard.filter(({ type }) => type === 'answer').map(({ n }) => n)).toEqual(
      Array.from({ length: 100 }, (_, i) => 400 * i),
    );
    // Of acknowledgements the last one says it all.
    expect(heard.filter(({ type }) => type === 'committed').at(-1)!.sequence).toBe(39_600);
    client.close();
    server.close();
  });
});
