import { createPostgresBackend, FlowProducer, Queue, Worker, withBackend } from 'bullmq';
import type { QueueConnection } from '../platform/embedded/services.js';

/** BullMQ's classes for one kind of server, and the connection that each role needs. */
export interface QueueBackend {
  kind: QueueConnection['kind'];
  Queue: typeof Queue;
  Worker: typeof Worker;
  FlowProducer: typeof FlowProducer;
  /** For those who add jobs: an unreachable server is an error at once, so that a request can be answered. */
  adding: object;
  /** For workers: they wait for a server that is away. */
  working: object;
}

/** Schema of BullMQ's tables in PostgreSQL. */
const SCHEMA = 'bullmq';

/**
 * BullMQ on Redis or on PostgreSQL. The classes are cast to those of Redis, because their types carry the backend
 * although no method that we use differs.
 */
export function queueBackend(connection: QueueConnection): QueueBackend {
  if (connection.kind === 'redis') {
    const { url } = connection;
    return {
      kind: 'redis',
      Queue,
      Worker,
      FlowProducer,
      adding: { url, maxRetriesPerRequest: 1, enableOfflineQueue: false, connectTimeout: 2000 },
      working: { url, maxRetriesPerRequest: null },
    };
  }
  const classes = withBackend(createPostgresBackend);
  const postgres = (max: number) => ({
    connectionString: connection.url,
    schema: SCHEMA,
    migrate: true,
    max,
    application_name: 'adder-queue',
    keepAlive: true,
    connectionTimeoutMillis: 5000,
  });
  return {
    kind: 'postgres',
    Queue: classes.Queue as unknown as typeof Queue,
    Worker: classes.Worker as unknown as typeof Worker,
    FlowProducer: classes.FlowProducer as unknown as typeof FlowProducer,
    adding: postgres(3),
    working: postgres(4),
  };
}
