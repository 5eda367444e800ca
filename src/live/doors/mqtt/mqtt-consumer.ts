import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt';
import { AdderError, toAdderError } from '../../../platform/errors.js';
import type { Ingest, Writer } from '../../ingest.js';
import { CommitPump } from '../stream/commit-pump.js';
import type { Mapping, MqttConnection } from './mqtt-config.js';
import { Sparkplug } from './sparkplug.js';
import { matchTopic, readerOf, unreadable } from './topic-mapping.js';

/** Messages that the broker may send ahead of their acknowledgement (MQTT 5). */
const RECEIVE_MAXIMUM = 1000;
/** Largest message, bytes (MQTT 5 tells it to the broker). */
const MAX_MESSAGE = 2 ** 20;
/** How long the broker keeps what comes while we are away, seconds (MQTT 5). */
const SESSION_S = 86_400;
const KEEPALIVE_S = 30;
const RECONNECT_MS = 1000;
/** A topic that does not parse is told at most so often; what failed meanwhile is counted. */
const TELL_AGAIN_MS = 60_000;
const MAX_TOLD = 1000;
/** Messages of a topic that come at once are a millisecond apart, up to so far ahead of the clock. */
const MAX_AHEAD_MS = 1000;
/** Topics whose latest message is remembered. */
const MAX_TOPICS = 10_000;

export interface ConsumerOptions {
  connection: MqttConnection;
  ingest: Ingest;
  writer: Writer;
  count(result: 'taken' | 'unreadable'): void;
  /** What people should know, as it happens. */
  tell(level: 'info' | 'warn', fields: object, message: string): void;
}

interface Reader {
  filter: string;
  read(
    topic: string,
    wild: string[],
    payload: Buffer,
    now: number,
    sink: (...point: [string, number, number]) => void,
  ): void;
}

/**
 * Subscribes to a broker and commits what its messages say. QoS 1 is acknowledged when it is committed, so that the broker
 * sends again what a crash has taken. A message that cannot be read is told and acknowledged: it would never be readable.
 */
export class MqttConsumer {
  readonly client: MqttClient;
  private readonly readers: Reader[];
  private pump: CommitPump;
  /** Messages so far, and those of QoS 1 that wait for their commit, oldest first. */
  private count = 0;
  private unacknowledged: { count: number; messageId: number }[] = [];
  /** When messages of QoS 1 that we have not acknowledged first came, by their number in the session. */
  private readonly arrivals = new Map<number, number>();
  /** When the latest message of each topic came. */
  private readonly latest = new Map<string, number>();
  private readonly told = new Map<string, { until: number; failures: number }>();
  private ended = false;

  constructor(private readonly options: ConsumerOptions) {
    const { connection } = options;
    this.readers = connection.subscribe.map((mapping) => this.newReader(mapping));
    this.pump = this.newPump();
    this.client = mqtt.connect(connection.url, { ...clientOptions(connection), resubscribe: false });
    this.client.handleMessage = (packet, done) => this.handle(packet, done);
    this.client.on('connect', ({ sessionPresent }) => {
      // The numbers of another session stand for other messages.
      if (!sessionPresent) this.arrivals.clear();
      void this.subscribe();
    });
    this.client.on('close', () => {
      // The broker sends again what was not acknowledged on this connection.
      this.unacknowledged = [];
    });
    this.client.on('error', (error) => this.tellError('the broker has trouble', error));
    this.client.on('offline', () => options.tell('warn', {}, 'the broker is away; connecting again'));
  }

  /** Commits and acknowledges what was received, then leaves; the session stays with the broker. */
  async close(): Promise<void> {
    this.ended = true;
    await this.pump.end().catch(() => {});
    await this.client.endAsync(false).catch(() => {});
  }

  private newReader(mapping: Mapping): Reader {
    const filter = mapping.topic;
    if (mapping.format !== 'sparkplug') return { filter, read: readerOf(mapping) };
    const sparkplug = new Sparkplug((topic, payload) => {
      this.client.publish(topic, Buffer.from(payload), { qos: 0 });
    });
    return { filter, read: (topic, _, payload, now, sink) => sparkplug.read(topic, payload, now, sink) };
  }

  private newPump(): CommitPump {
    const { ingest, writer } = this.options;
    return new CommitPump({
      ingest,
      writer,
      stream: undefined,
      onCommitted: (count) => this.acknowledge(Number(count)),
      onRejected: (_, { series, code, message }) => this.tellFailure(`series ${series}`, { series, code }, message),
      onFailed: (error) => {
        this.tellError('points of the broker cannot be committed; they are asked for again', error);
        // A new connection brings again what was not acknowledged.
        this.pump = this.newPump();
        if (!this.ended) this.client.stream.destroy();
      },
    });
  }

  private async subscribe(): Promise<void> {
    const { share, name } = this.options.connection;
    const topics = [...new Set(this.readers.map(({ filter }) => filter))];
    if (topics.length === 0) return;
    try {
      const filters = topics.map((topic) => (share === undefined ? topic : `$share/${share}/${topic}`));
      const granted = await this.client.subscribeAsync(filters, { qos: 1 });
      const refused = granted.filter(({ qos }) => qos >= 128).map(({ topic }) => topic);
      if (refused.length > 0) throw unreadable(`the broker refuses ${refused.join(', ')}`);
      this.options.tell('info', { topics: filters }, `subscribed at the broker ${name}`);
    } catch (error) {
      this.tellError('the broker refuses a subscription', error);
    }
  }

  /**
   * The library goes on with the next message when `done` is called, and acknowledges this one unless it is given an error.
   * So it always gets one for QoS 1; the acknowledgement is sent when the message is committed.
   */
  private handle(packet: IPublishPacket, done: (error?: Error) => void): void {
    const next = () => done(packet.qos === 0 ? undefined : LATER);
    if (this.ended) {
      // Not acknowledged, and so left to whoever comes next.
      next();
      return;
    }
    const count = ++this.count;
    this.take(packet, this.arrivalOf(packet));
    if (packet.qos === 1) this.unacknowledged.push({ count, messageId: packet.messageId! });
    this.pump.flush(BigInt(count));
    if (this.pump.full) this.pump.room().then(next, next);
    else next();
  }

  /**
   * When a message came, milliseconds since 1970. One that the broker sends again has the time of its first arrival, so that
   * it is the same point: a number that we have not acknowledged stands for no other message (MQTT 5, 4.4).
   */
  private arrivalOf({ qos, dup, messageId, topic }: IPublishPacket): number {
    const known = qos === 1 && dup ? this.arrivals.get(messageId!) : undefined;
    const arrival = known ?? this.nextOf(topic);
    if (qos === 1) this.arrivals.set(messageId!, arrival);
    return arrival;
  }

  /** Now, but later than the message before of the same topic, which would be the same point otherwise. */
  private nextOf(topic: string): number {
    const now = Date.now();
    const before = this.latest.get(topic) ?? 0;
    const next = Math.min(Math.max(now, before + 1), now + MAX_AHEAD_MS);
    if (this.latest.size >= MAX_TOPICS) this.latest.clear();
    this.latest.set(topic, next);
    return next;
  }

  private take({ topic, payload }: IPublishPacket, arrival: number): void {
    const bytes = Buffer.isBuffer(payload) ? payload : Buffer.from(payload);
    let result: 'taken' | 'unreadable' = 'taken';
    for (const { filter, read } of this.readers) {
      const wild = matchTopic(filter, topic);
      if (!wild) continue;
      try {
        const points: [string, number, number][] = [];
        read(topic, wild, bytes, arrival, (...point) => points.push(point));
        for (const [series, time, value] of points) this.pump.add(series, time, value, 0);
      } catch (error) {
        const { code, message } = error instanceof AdderError ? error : toAdderError(error);
        result = 'unreadable';
        this.tellFailure(`topic ${topic}`, { topic, code }, message);
      }
    }
    this.options.count(result);
  }

  private acknowledge(count: number): void {
    const waiting = this.unacknowledged;
    let i = 0;
    for (; i < waiting.length && waiting[i]!.count <= count; i++) {
      const { messageId } = waiting[i]!;
      this.arrivals.delete(messageId);
      // The way of the library's own handlers; there is no public one.
      // biome-ignore lint/complexity/useLiteralKeys: the member is private by its type
      this.client['_sendPacket']({ cmd: 'puback', messageId, reasonCode: 0 });
    }
    waiting.splice(0, i);
  }

  /** Tells a failure, but one that repeats only now and then. */
  private tellFailure(what: string, fields: object, message: string): void {
    const now = Date.now();
    const known = this.told.get(what);
    if (known && known.until > now) {
      known.failures++;
      return;
    }
    if (!known && this.told.size >= MAX_TOLD) this.told.delete(this.told.keys().next().value!);
    this.told.set(what, { until: now + TELL_AGAIN_MS, failures: 0 });
    const more = known?.failures ? { before: known.failures } : {};
    this.options.tell('warn', { connection: this.options.connection.name, ...fields, ...more }, message);
  }

  private tellError(message: string, error: unknown): void {
    this.tellFailure(message, { err: error }, message);
  }
}

const LATER = new Error('acknowledged when it is committed');

/** Options of the library for a connection. Throws the AdderErrors of files that cannot be read. */
export function clientOptions(connection: MqttConnection): IClientOptions {
  const { protocol, username, share } = connection;
  const password = connection.passwordFile
    ? read(connection.passwordFile).toString('utf8').trim()
    : connection.password;
  // A session belongs to an id: of those who share, each host has its own.
  const own = share === undefined ? '' : `-${hostname()}`;
  return {
    clientId: connection.clientId ?? `adder-${connection.name}${own}`,
    clean: false,
    keepalive: KEEPALIVE_S,
    reconnectPeriod: RECONNECT_MS,
    connectTimeout: 10_000,
    reconnectOnConnackError: true,
    ...(protocol === '5'
      ? {
          protocolVersion: 5,
          properties: {
            sessionExpiryInterval: SESSION_S,
            receiveMaximum: RECEIVE_MAXIMUM,
            maximumPacketSize: MAX_MESSAGE + 65_536,
          },
        }
      : { protocolVersion: 4 }),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(connection.ca ? { ca: read(connection.ca) } : {}),
    ...(connection.cert ? { cert: read(connection.cert) } : {}),
    ...(connection.key ? { key: read(connection.key) } : {}),
  };
}

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw toAdderError(error, { file: path, field: 'ADDER_MQTT_FILE' });
  }
}
