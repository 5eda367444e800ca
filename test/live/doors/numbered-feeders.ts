/** Clients that number their points and keep a connection open: they ask what is committed and go on from there. */
import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import type { Random } from '../../../src/engine/random.js';
import { until } from '../../service/support/processes.js';
import { frame } from './binary-frame.js';
import { type Feeder, PATIENCE_MS, type Point, type Service } from './feeders.js';

interface Connection {
  /** What the service says is committed. */
  committed: number;
  /** Sends points, the first of them with this number. */
  write(points: readonly Point[], from: number): void;
  close(): void;
}

/** What a connection tells the feeder. */
interface Told {
  onCommitted(number: number): void;
  onLost(): void;
}

abstract class NumberedFeeder implements Feeder {
  abstract readonly door: string;
  private readonly sent: Point[] = [];
  private committed = 0;
  private connection: Connection | undefined;

  constructor(
    private readonly service: Service,
    private readonly key: string,
  ) {}

  nameOf = (series: number) => `${this.key}/${series}`;

  get stream() {
    return { name: this.key, sequence: this.sent.length };
  }

  protected abstract connect(address: string, stream: string, told: Told): Promise<Connection>;

  async send(points: readonly Point[]): Promise<void> {
    const from = this.sent.length + 1;
    this.sent.push(...points);
    this.connection?.write(points, from);
    for (const end = Date.now() + PATIENCE_MS; this.committed < this.sent.length; ) {
      if (Date.now() > end) throw new Error(`${this.door}: ${this.committed} of ${this.sent.length} are committed`);
      if (!this.connection) await this.resume();
      await until(() => !this.connection || this.committed >= this.sent.length, PATIENCE_MS, `commits of ${this.door}`);
    }
  }

  /** Connects again and sends what is not committed. */
  private async resume(): Promise<void> {
    let lost = false;
    const told = {
      onCommitted: (number: number) => {
        this.committed = Math.max(this.committed, number);
      },
      onLost: () => {
        lost = true;
        if (this.connection === mine) this.connection = undefined;
      },
    };
    let mine: Connection | undefined;
    try {
      mine = await this.connect(await this.service.address(), this.key, told);
    } catch {
      await sleep(50);
      return;
    }
    if (lost) return;
    if (mine.committed < this.committed)
      throw new Error(`${this.door}: ${this.committed} were acknowledged, ${mine.committed} are there`);
    this.committed = mine.committed;
    this.connection = mine;
    mine.write(this.sent.slice(mine.committed), mine.committed + 1);
  }

  close(): void {
    this.connection?.close();
  }
}

/** `/v1/live/points`, an upload that stays open. */
export class NdjsonFeeder extends NumberedFeeder {
  readonly door = 'NDJSON';

  protected async connect(address: string, stream: string, { onCommitted, onLost }: Told): Promise<Connection> {
    const answer = await fetch(`${address}/v1/live/streams/${stream}`);
    const { sequence } = (await answer.json()) as { sequence: number };
    const upload = request(`${address}/v1/live/points?stream=${stream}&after=${sequence}`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson', accept: 'application/x-ndjson' },
    });
    upload
      .on('error', onLost)
      .on('close', onLost)
      .on('response', (response) => read(response, onCommitted, onLost));
    return { committed: sequence, write: (points) => this.write(upload, points), close: () => upload.destroy() };
  }

  private write(upload: ClientRequest, points: readonly Point[]): void {
    const lines = points.map(({ series, time, value }) =>
      JSON.stringify({ series: this.nameOf(series), timestamp: time, value }),
    );
    // An empty body would be sent at once where there is nothing to resume.
    if (lines.length > 0) upload.write(`${lines.join('\n')}\n`);
  }
}

function read(response: IncomingMessage, onCommitted: (number: number) => void, onLost: () => void): void {
  let rest = '';
  response.on('error', onLost).on('close', onLost);
  response.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    for (const line of lines) {
      const { committed } = JSON.parse(line) as { committed?: number };
      if (committed !== undefined) onCommitted(committed);
    }
  });
}

/** `/v1/live`: each point a message of JSON, or several in a binary frame. */
export class SocketFeeder extends NumberedFeeder {
  readonly door: string;

  /** @param sizes of the binary frames; absent: JSON */
  constructor(
    service: Service,
    key: string,
    private readonly series: number,
    private readonly sizes?: Random,
  ) {
    super(service, key);
    this.door = sizes ? 'WebSocket, binary' : 'WebSocket, JSON';
  }

  protected async connect(address: string, stream: string, { onCommitted, onLost }: Told): Promise<Connection> {
    const socket = new WebSocket(`${address.replace('http', 'ws')}/v1/live`, 'adder.live.v1');
    socket.on('error', onLost).on('close', onLost);
    const welcome = new Promise<number>((done) => {
      socket.on('message', (data) => {
        const message = JSON.parse(String(data)) as { type: string; sequence: number };
        if (message.type === 'welcome') done(message.sequence);
        else if (message.type === 'committed') onCommitted(message.sequence);
      });
    });
    await Promise.race([once(socket, 'open'), once(socket, 'close').then(gone)]);
    socket.send(JSON.stringify({ type: 'hello', stream }));
    if (this.sizes) {
      const names = Array.from({ length: this.series }, (_, i) => this.nameOf(i));
      socket.send(JSON.stringify({ type: 'names', names }));
    }
    const committed = await Promise.race([welcome, once(socket, 'close').then(gone)]);
    return {
      committed,
      write: (points, from) => this.write(socket, points, from),
      close: () => socket.terminate(),
    };
  }

  private write(socket: WebSocket, points: readonly Point[], from: number): void {
    for (let at = 0; at < points.length; ) {
      const some = points.slice(at, at + (this.sizes ? 1 + Math.floor(this.sizes.uniform() * 7) : 1));
      at += some.length;
      // A frame has the number of its last point.
      const sequence = from + at - 1;
      if (this.sizes)
        socket.send(
          frame(
            sequence,
            some.map(({ series, time, value }) => [series, time, value]),
          ),
        );
      else {
        const [{ series, time: timestamp, value }] = some as [Point];
        socket.send(JSON.stringify({ type: 'points', sequence, series: this.nameOf(series), timestamp, value }));
      }
    }
  }
}

const gone = (): never => {
  throw new Error('the connection is gone');
};
