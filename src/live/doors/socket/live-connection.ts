import type { WebSocket } from 'ws';
import type { Caller } from '../../../http/auth/caller.js';
import { asRequestError } from '../../../http/problem.js';
import { AdderError } from '../../../platform/errors.js';
import type { RequestError } from '../../../platform/request-error.js';
import { checkName } from '../../../store/checks.js';
import type { LiveFeed, Subscription } from '../../feed.js';
import type { Ingest } from '../../ingest.js';
import { eventsOf, filterOf } from '../out/output-json.js';
import { CommitPump } from '../stream/commit-pump.js';
import { JsonPoints } from '../stream/json-points.js';
import {
  type BinaryPoints,
  badFrame,
  type ClientMessage,
  clientMessage,
  MAX_NAMES,
  readBinaryPoints,
} from './frames.js';
import { Outbox } from './outbox.js';

/** Subscriptions of one connection. */
const MAX_SUBSCRIPTIONS = 100;
/** Rejected points that one message is told one by one. */
const TOLD = 20;

const WRAP = 2 ** 32;

export interface ConnectionParts {
  ingest: Ingest;
  feed: LiveFeed;
  /** The number up to which a stream is committed. */
  committed(owner: string, stream: string): Promise<bigint>;
  onError(error: unknown): void;
}

/** One client of `/v1/live`: its points go in by sequence number, what it subscribed to goes out. */
export class LiveConnection {
  private readonly outbox: Outbox;
  private readonly points = new JsonPoints();
  private readonly names: string[] = [];
  private readonly subscriptions = new Map<string, Promise<Subscription>>();
  private pump: CommitPump;
  /** Number of the last message with points, and of the last one that is committed. */
  private sequence = 0;
  private committed = 0;
  private rejected = { sequence: -1, count: 0 };
  /** Messages are handled in the order of their arrival; one that waits holds the next. */
  private turn: Promise<void> = Promise.resolve();
  private greeted = false;
  private holding = false;

  constructor(
    private readonly socket: WebSocket,
    private readonly caller: Caller,
    private readonly parts: ConnectionParts,
  ) {
    this.outbox = new Outbox(socket);
    this.pump = this.newPump(undefined);
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      this.turn = this.turn.then(() => this.handle(data, isBinary));
      void this.holdWhileBehind();
    });
    socket.once('close', () => this.end());
    socket.on('error', () => {});
  }

  /** Waits until what was received is committed, then says goodbye. */
  async close(): Promise<void> {
    this.socket.pause();
    await this.turn;
    await this.pump.end().catch(() => {});
    this.socket.resume();
    this.socket.close(1001, 'this server stops; connect again');
  }

  /** While a message waits for something, or too many points wait for their commit, the socket is read no further. */
  private async holdWhileBehind(): Promise<void> {
    if (this.holding) return;
    this.holding = true;
    this.socket.pause();
    for (let mark: Promise<void> | undefined; mark !== this.turn; ) {
      mark = this.turn;
      await mark;
      // What ended the pump was told when it happened.
      await this.pump.room().catch(() => {});
    }
    this.holding = false;
    this.socket.resume();
  }

  private async handle(data: Buffer, isBinary: boolean): Promise<void> {
    if (this.socket.readyState !== this.socket.OPEN) return;
    let sequence: number | undefined;
    try {
      if (isBinary) {
        this.needs('write');
        const frame = readBinaryPoints(data);
        sequence = this.next(frame.sequence || undefined);
        this.takeBinary(frame, sequence);
        this.flush(sequence);
        return;
      }
      const message = parse(data);
      if (message.type === 'points') {
        this.needs('write');
        sequence = this.next(message.sequence);
        this.takeJson(message, sequence);
        this.flush(sequence);
        return;
      }
      const known = clientMessage.safeParse(message);
      if (!known.success) throw notUnderstood(known.error.issues[0]);
      await this.obey(known.data);
    } catch (error) {
      const known = asRequestError(error);
      if (known.status >= 500) this.parts.onError(error);
      this.outbox.answer({ type: 'error', ...(sequence === undefined ? {} : { sequence }), ...said(known) });
    }
  }

  private async obey(message: ClientMessage): Promise<void> {
    switch (message.type) {
      case 'hello':
        return this.greet(message.stream);
      case 'names': {
        if (this.names.length + message.names.length > MAX_NAMES) throw badFrame(`more than ${MAX_NAMES} names`);
        const from = this.names.length;
        for (const name of message.names) this.names.push(checkName(name, 'names'));
        this.outbox.answer({ type: 'names', from, count: message.names.length });
        return;
      }
      case 'subscribe':
        return this.subscribe(message);
      case 'unsubscribe': {
        const subscription = this.subscriptions.get(message.id);
        this.subscriptions.delete(message.id);
        await (await subscription)?.close();
        this.outbox.answer({ type: 'unsubscribed', id: message.id });
      }
    }
  }

  /** From here on the messages belong to a named stream, whose committed number the client learns. */
  private async greet(stream: string): Promise<void> {
    this.needs('write');
    if (this.greeted || this.sequence > 0) {
      throw new AdderError({
        code: 'BAD_SEQUENCE',
        message: 'hello comes first, and once',
        fix: 'open another connection for another stream',
      });
    }
    this.greeted = true;
    this.committed = Number(await this.parts.committed(this.caller.owner, checkName(stream, 'stream')));
    this.sequence = this.committed;
    this.pump = this.newPump(stream);
    this.outbox.answer({ type: 'welcome', stream, sequence: this.committed });
  }

  private async subscribe(message: Extract<ClientMessage, { type: 'subscribe' }>): Promise<void> {
    this.needs('read');
    const { id, horizon } = message;
    if (this.subscriptions.has(id) || this.subscriptions.size >= MAX_SUBSCRIPTIONS) {
      throw new AdderError({
        code: 'INVALID_REQUEST',
        message: this.subscriptions.has(id) ? 'this id is in use' : `at most ${MAX_SUBSCRIPTIONS} subscriptions`,
        where: { field: 'id' },
        fix: 'unsubscribe first',
      });
    }
    const options = horizon === undefined ? {} : { horizon };
    const subscription = this.parts.feed.subscribe(this.caller.owner, filterOf(message), options, (output) => {
      for (const { type, ...event } of eventsOf(output, message)) this.outbox.event({ type, id, ...event });
    });
    this.subscriptions.set(id, subscription);
    // Also when it fails at once: whoever closes the connection waits for it.
    subscription.catch(() => this.subscriptions.delete(id));
    await subscription;
    this.outbox.answer({ type: 'subscribed', id });
  }

  /** The number of a message with points: given by the client, ascending, or the next one where it names no stream. */
  private next(given: unknown): number {
    if (given === undefined && !this.greeted) return this.sequence + 1;
    const whole = typeof given === 'number' && Number.isSafeInteger(given) && given >= 1;
    if (whole && (this.greeted || given > this.sequence)) return given;
    throw new AdderError({
      code: 'BAD_SEQUENCE',
      message: whole ? `${given} does not follow ${this.sequence}` : 'a message of a stream needs a sequence number',
      where: { field: 'sequence' },
      fix: 'number the messages in ascending order, from 1',
    });
  }

  /** Whether a message of a resumed stream came before. */
  private isRepeated(sequence: number): boolean {
    return sequence <= this.sequence;
  }

  private takeJson({ points, type: _, sequence: __, ...own }: Record<string, unknown>, sequence: number): void {
    if (this.isRepeated(sequence)) return;
    const list = points === undefined ? [own] : points;
    if (!Array.isArray(list)) throw notUnderstood({ path: ['points'], message: 'expected an array' });
    list.forEach((point, index) => {
      try {
        this.points.read(point, (series, time, value) => this.pump.add(series, time, value, sequence % WRAP));
      } catch (error) {
        if (!(error instanceof AdderError)) throw error;
        this.reject(sequence, { index, ...said(error) });
      }
    });
  }

  private takeBinary({ times, values, names }: BinaryPoints, sequence: number): void {
    if (this.isRepeated(sequence)) return;
    const unknown = names.find((name) => name >= this.names.length);
    if (unknown !== undefined) throw badFrame(`it names series ${unknown} of ${this.names.length}`);
    for (let i = 0; i < times.length; i++) {
      this.pump.add(this.names[names[i]!]!, Math.round(times[i]!), values[i]!, sequence % WRAP);
    }
  }

  /** Lets a message be committed. One that came before is acknowledged when it is, or was. */
  private flush(sequence: number): void {
    if (sequence <= this.committed) this.outbox.commit(this.committed);
    if (this.isRepeated(sequence)) return;
    this.sequence = sequence;
    this.pump.flush(BigInt(sequence));
  }

  private newPump(stream: string | undefined): CommitPump {
    return new CommitPump({
      ingest: this.parts.ingest,
      writer: this.caller,
      stream,
      onCommitted: (sequence) => {
        this.committed = Number(sequence);
        this.outbox.commit(this.committed);
      },
      onFailed: (error) => this.fail(error),
      onRejected: (tag, { series, code, message }) => {
        // The tag is the lower half of the number, which is at most the last one.
        const base = this.sequence - (this.sequence % WRAP) + tag;
        this.reject(base > this.sequence ? base - WRAP : base, { series, code, message });
      },
    });
  }

  private reject(sequence: number, what: object): void {
    if (this.rejected.sequence !== sequence) this.rejected = { sequence, count: 0 };
    if (++this.rejected.count <= TOLD) this.outbox.answer({ type: 'rejected', sequence, ...what });
  }

  private needs(scope: 'read' | 'write'): void {
    const { key } = this.caller;
    if (!key || key.scopes.includes(scope)) return;
    throw new AdderError({
      code: 'FORBIDDEN',
      message: `this key lacks the scope ${scope}`,
      fix: 'use a key that has it',
    });
  }

  /** The stream cannot go on: the client is told, and shall connect again and resume. */
  private fail(error: RequestError): void {
    this.parts.onError(error);
    this.outbox.answer({ type: 'error', ...said(error) });
    this.socket.close(error.status === 503 ? 1013 : 1011, error.code);
  }

  private end(): void {
    this.pump.stop();
    for (const subscription of this.subscriptions.values()) {
      subscription.then((open) => open.close()).catch((error) => this.parts.onError(error));
    }
    this.subscriptions.clear();
  }
}

const said = ({ code, message, fix, where }: AdderError | RequestError) => ({
  code,
  message,
  ...(where?.series === undefined ? {} : { series: where.series }),
  ...(where?.field === undefined ? {} : { field: where.field }),
  ...(fix === undefined ? {} : { fix }),
});

function parse(data: Buffer): Record<string, unknown> {
  try {
    const message: unknown = JSON.parse(data.toString('utf8'));
    if (typeof message === 'object' && message !== null && !Array.isArray(message)) {
      return message as Record<string, unknown>;
    }
  } catch (error) {
    throw new AdderError({
      code: 'BAD_JSON',
      message: (error as Error).message,
      fix: 'send one JSON object a message',
    });
  }
  throw new AdderError({ code: 'BAD_JSON', message: 'expected an object', fix: 'send one JSON object a message' });
}

const notUnderstood = (issue: { path: readonly PropertyKey[]; message: string } | undefined) =>
  new AdderError({
    code: 'INVALID_REQUEST',
    message: issue?.message ?? 'this message is not understood',
    where: { field: issue?.path.map(String).join('.') || 'type' },
    fix: 'see docs/live-doors.md for the messages',
  });
