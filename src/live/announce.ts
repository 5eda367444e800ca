/** How the log's followers in other processes hear of new entries at once. */
import type { Redis } from 'ioredis';
import type { Appended } from './log/append.js';

/** Streams of Redis that carry the log's entries to the owners of their partitions. */
export const streamOf = (partition: number) => `adder:live:log:${partition}`;

/** Entries that a stream keeps at most; who has fallen behind further reads the log in PostgreSQL. */
const KEPT = 4096;

export interface Announcer {
  /** Whether PostgreSQL shall tell the followers, in the transaction. */
  readonly notify: boolean;
  /** After the commit. A failure loses nothing: followers look at the log themselves from time to time. */
  announce(entries: readonly Appended[]): void;
}

/** Without Redis: a notification of PostgreSQL, which comes with the commit. */
export const NOTIFYING: Announcer = { notify: true, announce: () => {} };

/** On Redis Streams: the entry itself. */
export class StreamAnnouncer implements Announcer {
  readonly notify = false;

  constructor(
    private readonly redis: Redis,
    private readonly onError: (error: Error) => void,
  ) {}

  announce(entries: readonly Appended[]): void {
    const pipeline = this.redis.pipeline();
    for (const { partition, seq, bytes } of entries) {
      pipeline.xadd(streamOf(partition), 'MAXLEN', '~', KEPT, '*', 's', seq, 'b', bytes);
    }
    pipeline.exec().catch(this.onError);
  }
}
