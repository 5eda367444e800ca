import { Redis } from 'ioredis';
import type { QueueConnection } from '../platform/embedded/services.js';
import type { Database } from '../store/database.js';
import { NOTIFYING, StreamAnnouncer } from './announce.js';
import { GroupIngest } from './group-ingest.js';

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
    private readonly redis: Redis | undefined,
  ) {}

  static async open({ database, connection, onError = () => {} }: LiveClientOptions): Promise<LiveClient> {
    const redis = connection.kind === 'redis' ? openRedis(connection.url, onError) : undefined;
    const announcer = redis ? new StreamAnnouncer(redis, onError) : NOTIFYING;
    return new LiveClient(new GroupIngest(database, { announcer }), redis);
  }

  async close(): Promise<void> {
    await this.ingest.close();
    this.redis?.disconnect();
  }
}

/** A connection that comes back by itself; what is sent while it is away fails at once. */
export function openRedis(url: string, onError: (error: Error) => void): Redis {
  const redis = new Redis(url, { maxRetriesPerRequest: 1, enableOfflineQueue: true, connectTimeout: 5000 });
  redis.on('error', onError);
  return redis;
}
