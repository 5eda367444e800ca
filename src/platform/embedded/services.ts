import type { Config } from '../config.js';
import { AdderError } from '../errors.js';
import { type EmbeddedServer, startPostgres } from './postgres.js';
import { findRedisServer, startRedis } from './redis.js';

/** Where the queues live. The address holds a password: never log it. */
export interface QueueConnection {
  kind: 'redis' | 'postgres';
  url: string;
}

/** The servers that Adder works on, whether it started them or was given them. */
export interface Services {
  databaseUrl: string;
  queue: QueueConnection;
  /** One line a server for the start-up log, without secrets. */
  description: string[];
  /** Stops what this process started, queue first. Later calls wait for the first. */
  close(): Promise<void>;
}

/**
 * Starts, or finds, the database and the queue that the configuration asks for.
 * Throws AdderErrors (`EMBEDDED_POSTGRES`, `EMBEDDED_REDIS`, `NO_REDIS`); what had been started by then is stopped.
 */
export async function startServices(
  config: Pick<Config, 'dataDir' | 'databaseUrl' | 'redisUrl' | 'queue'>,
): Promise<Services> {
  const started: EmbeddedServer[] = [];
  const close = async () => {
    for (const server of started.splice(0).reverse()) await server.stop();
  };
  try {
    const description: string[] = [];
    let databaseUrl = config.databaseUrl;
    if (databaseUrl) description.push(`database: PostgreSQL at ${withoutSecrets(databaseUrl)}`);
    else {
      const server = await startPostgres(config.dataDir);
      started.push(server);
      databaseUrl = server.url;
      description.push(`database: ${server.description}`);
    }
    const queue = await startQueue(config, databaseUrl, started, description);
    let closing: Promise<void> | undefined;
    return {
      databaseUrl,
      queue,
      description,
      close: () => {
        closing ??= close();
        return closing;
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function startQueue(
  config: Pick<Config, 'dataDir' | 'redisUrl' | 'queue'>,
  databaseUrl: string,
  started: EmbeddedServer[],
  description: string[],
): Promise<QueueConnection> {
  if (config.queue === 'postgres') {
    description.push('queue: BullMQ on the same PostgreSQL, as ADDER_QUEUE=postgres says');
    return { kind: 'postgres', url: databaseUrl };
  }
  if (config.redisUrl) {
    description.push(`queue: BullMQ on Redis at ${withoutSecrets(config.redisUrl)}`);
    return { kind: 'redis', url: config.redisUrl };
  }
  const program = findRedisServer();
  if (program) {
    const server = await startRedis(config.dataDir, program);
    started.push(server);
    description.push(`queue: BullMQ on ${server.description}`);
    return { kind: 'redis', url: server.url };
  }
  if (config.queue === 'redis') {
    throw new AdderError({
      code: 'NO_REDIS',
      message: 'ADDER_QUEUE=redis, but REDIS_URL is not set and no redis-server is on the PATH',
      where: { field: 'ADDER_QUEUE' },
      fix: 'set REDIS_URL, install redis-server, or let ADDER_QUEUE be auto',
    });
  }
  description.push('queue: BullMQ on the same PostgreSQL (no REDIS_URL, and no redis-server on the PATH)');
  return { kind: 'postgres', url: databaseUrl };
}

/** Host, port and database of an address; no user, no password, no parameters. */
export function withoutSecrets(address: string): string {
  const url = new URL(address);
  return `${url.host}${url.pathname === '/' ? '' : url.pathname}`;
}
