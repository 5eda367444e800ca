import { Redis } from 'ioredis';
import type { QueueConnection } from '../platform/embedded/services.js';
import type { Database } from '../store/database.js';
import { NOTIFYING, StreamAnnouncer } from './announce.js';
import { GroupIngest } from './group-ingest.js';
import { ConnectedFeed } from './live-feed.js';
import { SeriesChanges } from './series-changes.js';

export interface LiveClientOptions {
  database: Database;
  /** Redis carries news where there is one, otherwise PostgreSQL. */
  connection: QueueConnection;
  onError?: (error: Error) => void;
}

/** What a process with doors has of the live side: points go in, forecasts come out. It keeps no state of any series. */
export class LiveClient {
  private constructor(
    readonly ingest: GroupIngest,
    readonly changes: SeriesChanges,
    readonly feed: ConnectedFeed,
    private readonly redis: Redis | undefined,
  ) {}

  static async open({ database, connection, onError = () => {} }: LiveClientOptions): Promise<LiveClient> {
    const redis = connection.kind === 'redis' ? openRedis(connection.url, onError) : undefined;
    const announcer = redis ? new StreamAnnouncer(redis, onError) : NOTIFYING;
    const subscriber = connection.kind === 'redis' ? openRedis(connection.url, onError, true) : undefined;
    const feed = new ConnectedFeed({ database, onError, ...(subscriber ? { redis: subscriber } : {}) });
    const ingest = new GroupIngest(database, { announcer });
    return new LiveClient(ingest, new SeriesChanges(database, announcer), feed, redis);
  }

  async close(): Promise<void> {
    await this.feed.close();
    await this.ingest.close();
    this.redis?.disconnect();
  }
}

/**
 * A connection that comes back by itself. What is sent while it is away fails soon, except on one that only listens: it
 * takes up its subscriptions again.
 */
export function openRedis(url: string, onError: (error: Error) => void, listens = false): Redis {
  const redis = new Redis(url, {
    maxRetriesPerRequest: listens ? null : 1,
    connectTimeout: 5000,
    lazyConnect: listens,
    retryStrategy: (times) => Math.min(1000, 50 * times),
  });
  redis.on('error', onError);
  return redis;
}
