/**
 * Reads the log of the partitions that a process owns: each entry once, in the order of its number. News come from
 * Redis Streams with the entries in them, or as notifications of PostgreSQL; what is missing there, and everything
 * else, comes from the log itself.
 */
import type { Redis } from 'ioredis';
import pg from 'pg';
import type { Database } from '../../store/database.js';
import { streamOf } from '../announce.js';
import { LOG_CHANNEL } from './append.js';
import { decodeChanges, type LogEntry } from './entry.js';

/** Consumer group of the owners; each partition's stream has one reader at a time. */
const GROUP = 'live';

/** How long one read of the streams waits; a change of the partitions is seen that late. */
const BLOCK_MS = 250;

/** The log is looked at this often even without news. */
const LOOK_MS = 1000;

/** Entries read from the log at a time. */
const ENTRIES = 1000;

const RETRY_MS = 500;

export interface FollowerOptions {
  database: Database;
  /** A connection of its own for blocking reads, and one for everything else; absent: PostgreSQL tells the news. */
  redis?: { blocking: Redis; other: Redis };
  /** Name of this process in the consumer group. */
  consumer: string;
  onError: (error: Error) => void;
}

interface Followed {
  /** Number of the next entry. */
  next: number;
  /** Ids of the stream's messages that are not acknowledged yet, with the entry they carry. */
  unacknowledged: { id: string; seq: number }[];
}

export class LogFollower {
  private readonly followed = new Map<number, Followed>();
  private entries: LogEntry[] = [];
  private wake: (() => void) | undefined;
  private closed = false;
  private looking: Promise<void> | undefined;
  private lookAgain = false;
  private readonly timer: NodeJS.Timeout;
  private client: pg.Client | undefined;
  private readonly loop: Promise<void>;

  constructor(private readonly options: FollowerOptions) {
    this.timer = setInterval(() => this.look(), LOOK_MS);
    this.timer.unref();
    this.loop = options.redis ? this.readStreams() : this.listen();
  }

  /** Begins with the entry after `cursor`. */
  async follow(partition: number, cursor: number): Promise<void> {
    this.followed.set(partition, { next: cursor + 1, unacknowledged: [] });
    const other = this.options.redis?.other;
    if (other) await this.takeOver(other, partition).catch(this.options.onError);
    this.look();
  }

  unfollow(partition: number): void {
    this.followed.delete(partition);
    this.entries = this.entries.filter((entry) => entry.partition !== partition);
  }

  /** Entries that have arrived, waiting for the first at most `ms`. */
  async take(ms: number, most: number): Promise<LogEntry[]> {
    if (this.entries.length === 0 && !this.closed) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((done) => {
        this.wake = done;
        timer = setTimeout(done, ms);
      });
      clearTimeout(timer);
      this.wake = undefined;
    }
    return this.entries.length <= most ? this.entries.splice(0) : this.entries.splice(0, most);
  }

  /** Ends a `take` that waits. */
  stir(): void {
    this.wake?.();
  }

  /** Entries that wait to be taken. */
  get backlog(): number {
    return this.entries.length;
  }

  /** After the commit of what was made of the entries up to these. */
  async acknowledge(cursors: ReadonlyMap<number, { seq: number }>): Promise<void> {
    const other = this.options.redis?.other;
    if (!other) return;
    const pipeline = other.pipeline();
    for (const [partition, { seq: last }] of cursors) {
      const followed = this.followed.get(partition);
      if (!followed) continue;
      const done = followed.unacknowledged.filter(({ seq }) => seq <= last).map(({ id }) => id);
      followed.unacknowledged = followed.unacknowledged.filter(({ seq }) => seq > last);
      if (done.length > 0) pipeline.xack(streamOf(partition), GROUP, ...done);
    }
    await pipeline.exec();
  }

  async close(): Promise<void> {
    this.closed = true;
    clearInterval(this.timer);
    this.wake?.();
    this.options.redis?.blocking.disconnect();
    await this.client?.end().catch(() => {});
    await this.loop;
    await this.looking;
  }

  private offer(entry: LogEntry): boolean {
    const followed = this.followed.get(entry.partition);
    if (!followed || entry.seq < followed.next) return true;
    if (entry.seq > followed.next) return false;
    followed.next++;
    this.entries.push(entry);
    this.wake?.();
    return true;
  }

  /** Reads what the log has beyond the entries that we know. */
  private look(): void {
    if (this.closed) return;
    if (this.looking) {
      this.lookAgain = true;
      return;
    }
    this.looking = this.readLog()
      .catch(this.options.onError)
      .finally(() => {
        this.looking = undefined;
        if (this.lookAgain) {
          this.lookAgain = false;
          this.look();
        }
      });
  }

  private async readLog(): Promise<void> {
    for (let full = true; full && !this.closed; ) {
      const partitions = [...this.followed.keys()];
      if (partitions.length === 0) return;
      const { rows } = await this.options.database.pool.query<{ partition: number; seq: number; bytes: Buffer }>(
        `select l.partition, l.seq::float8 as seq, l.bytes from unnest($1::int[], $2::int8[]) u (partition, next)
         join live_log l on l.partition = u.partition and l.seq >= u.next order by l.partition, l.seq limit ${ENTRIES}`,
        [partitions, partitions.map((partition) => this.followed.get(partition)!.next)],
      );
      full = rows.length === ENTRIES;
      for (const { partition, seq, bytes } of rows) {
        const followed = this.followed.get(partition);
        // Older entries may be gone: whoever follows from there has read the series themselves.
        if (followed && seq > followed.next) followed.next = seq;
        this.offer({ partition, seq, changes: decodeChanges(bytes) });
      }
    }
  }

  /** The partition's stream, from now on ours: what the owner before us had not acknowledged is in the log. */
  private async takeOver(redis: Redis, partition: number): Promise<void> {
    const stream = streamOf(partition);
    await redis.xgroup('CREATE', stream, GROUP, '$', 'MKSTREAM').catch((error: Error) => {
      if (!/BUSYGROUP/.test(error.message)) throw error;
    });
    await redis.xgroup('SETID', stream, GROUP, '$');
    const pending = (await redis.xpending(stream, GROUP, '-', '+', 10_000)) as [string, ...unknown[]][];
    if (pending.length > 0) await redis.xack(stream, GROUP, ...pending.map(([id]) => id));
  }

  private async readStreams(): Promise<void> {
    const { blocking } = this.options.redis!;
    while (!this.closed) {
      const partitions = [...this.followed.keys()];
      if (partitions.length === 0) {
        await sleep(50);
        continue;
      }
      try {
        const found = (await blocking.callBuffer(
          'XREADGROUP',
          'GROUP',
          GROUP,
          this.options.consumer,
          'COUNT',
          '256',
          'BLOCK',
          BLOCK_MS,
          'STREAMS',
          ...partitions.map(streamOf),
          ...partitions.map(() => '>'),
        )) as Found | null;
        for (const [stream, messages] of pairs(found ?? [])) this.hear(stream.toString(), messages);
      } catch (error) {
        if (this.closed) return;
        this.options.onError(error as Error);
        await sleep(RETRY_MS);
        // A Redis that has lost its streams has lost the groups too.
        for (const partition of partitions) {
          await this.takeOver(this.options.redis!.other, partition).catch(() => {});
        }
        this.look();
      }
    }
  }

  private hear(stream: string, messages: Messages): void {
    const partition = Number(stream.slice(stream.lastIndexOf(':') + 1));
    for (const [id, fields] of messages) {
      if (!fields) continue;
      const seq = Number(fields[1]!.toString());
      this.followed.get(partition)?.unacknowledged.push({ id: id.toString(), seq });
      // One in between is missing: another process committed it before this one and has not told it yet, or never will.
      if (!this.offer({ partition, seq, changes: decodeChanges(fields[3]!) })) this.look();
    }
  }

  private async listen(): Promise<void> {
    while (!this.closed) {
      const client = new pg.Client({
        connectionString: this.options.database.url,
        keepAlive: true,
        application_name: 'adder-live',
        connectionTimeoutMillis: 10_000,
      });
      const ended = new Promise<void>((done) => {
        client.on('error', (error) => {
          if (!this.closed) this.options.onError(error);
          done();
        });
        client.on('end', () => done());
      });
      client.on('notification', () => this.look());
      try {
        await client.connect();
        await client.query(`listen ${LOG_CHANNEL}`);
        this.client = client;
        if (this.closed) await client.end();
        this.look();
        await ended;
      } catch (error) {
        if (!this.closed) this.options.onError(error as Error);
      }
      this.client = undefined;
      await client.end().catch(() => {});
      if (!this.closed) await sleep(RETRY_MS);
    }
  }
}

type Messages = [Buffer, Buffer[] | null][];
type Found = [Buffer, Messages][] | (Buffer | Messages)[];

/** Streams with their messages: RESP3 answers with a map, which arrives as keys and values in turn; RESP2 with pairs. */
function pairs(found: Found): [Buffer, Messages][] {
  if (!Buffer.isBuffer(found[0])) return found as [Buffer, Messages][];
  return Array.from({ length: found.length / 2 }, (_, i) => [found[2 * i] as Buffer, found[2 * i + 1] as Messages]);
}

const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));
