import type { FlowProducer, Queue } from 'bullmq';
import { type QueueConnection, withoutSecrets } from '../platform/embedded/services.js';
import { AdderError } from '../platform/errors.js';
import type { Database } from '../store/database.js';
import { ModelStore } from '../store/models.js';
import { ObjectStore } from '../store/objects.js';
import { SeriesStore } from '../store/series.js';
import { type QueueBackend, queueBackend } from './backend.js';
import { JobClient } from './client.js';
import type { JobTable } from './define.js';
import { JobEvents } from './events.js';
import { Housekeeping } from './housekeeping.js';
import { JobLedger } from './ledger.js';
import type { Processor } from './processor.js';
import { Queues } from './queues.js';
import { JobWorker, type WorkerOptions } from './worker.js';

export interface JobSystemOptions<T extends JobTable> {
  table: T;
  database: Database;
  connection: QueueConnection;
  maxUnfinished: number;
  onError?: (error: Error) => void;
}

/** How long the start waits for the server of the queues. */
const CONNECT_MS = 20_000;

async function reachable(connecting: Promise<unknown>, { kind, url }: QueueConnection): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, fail) => {
    timer = setTimeout(() => fail(new Error(`no answer for ${CONNECT_MS / 1000} s`)), CONNECT_MS);
  });
  connecting.catch(() => {});
  try {
    await Promise.race([connecting, late]);
  } catch (cause) {
    throw new AdderError({
      code: 'QUEUE_UNREACHABLE',
      message: `the queues on ${kind === 'redis' ? 'Redis' : 'PostgreSQL'} at ${withoutSecrets(url)} cannot be reached: ${(cause as Error).message}`,
      where: { field: kind === 'redis' ? 'REDIS_URL' : 'DATABASE_URL' },
      fix: 'check that the server runs, and that the address has the right host and password',
      cause,
    });
  } finally {
    clearTimeout(timer);
  }
}

/** The jobs of one process: client, ledger, queues and events, and where it works on them, a worker. */
export class JobSystem<T extends JobTable> {
  private worker: JobWorker | undefined;
  private housekeeping: Housekeeping | undefined;
  private closing: Promise<void> | undefined;

  private constructor(
    private readonly options: JobSystemOptions<T>,
    readonly backend: QueueBackend,
    readonly ledger: JobLedger,
    readonly events: JobEvents,
    readonly queues: Queues,
    readonly client: JobClient<T>,
    private readonly closeQueues: () => Promise<void>,
  ) {}

  /**
   * Connects to the ledger's events and to every queue of the table, or uses the queues given, which stay the caller's to
   * close. Throws `QUEUE_UNREACHABLE`.
   */
  static async open<T extends JobTable>(
    options: JobSystemOptions<T>,
    given?: { queues: ReadonlyMap<string, Queue>; flows: FlowProducer },
  ): Promise<JobSystem<T>> {
    const { table, database, connection } = options;
    const onError = options.onError ?? (() => {});
    const backend = queueBackend(connection);
    const ledger = new JobLedger(database);
    const opened =
      given?.queues ??
      new Map(Object.keys(table.queues).map((name) => [name, new backend.Queue(name, { connection: backend.adding })]));
    const flows = given?.flows ?? new backend.FlowProducer({ connection: backend.adding });
    for (const queue of opened.values()) queue.on('error', onError);
    flows.on('error', onError);
    // The first job shall not find a connection that is still being made.
    await reachable(
      Promise.all([...[...opened.values()].map((queue) => queue.waitUntilReady()), flows.waitUntilReady()]),
      connection,
    );
    const queues = new Queues(opened, flows);
    const events = await JobEvents.open(database.url, onError);
    const client = new JobClient(table, ledger, queues, events, {
      maxUnfinished: options.maxUnfinished,
      onQueueError: onError,
    });
    return new JobSystem(options, backend, ledger, events, queues, client, async () => {
      if (given) return;
      await Promise.all([...opened.values()].map((queue) => queue.close()));
      await flows.close();
    });
  }

  /** Begins to take jobs. `processors` come from `assignProcessors`, which has checked that none is missing. */
  async work(
    processors: ReadonlyMap<string, Processor>,
    options: WorkerOptions & { retentionMs: number; onRestored?: (count: number) => void },
  ): Promise<JobWorker> {
    const { table, database } = this.options;
    this.worker = new JobWorker(table, this.backend, this.ledger, this.events, processors, options);
    await this.worker.ready();
    this.housekeeping = new Housekeeping(
      table,
      this.ledger,
      this.queues,
      { objects: new ObjectStore(database), series: new SeriesStore(database), models: new ModelStore(database) },
      {
        silentMs: options.lockMs * 2,
        retentionMs: options.retentionMs,
        ...(options.onError ? { onError: options.onError } : {}),
        ...(options.onRestored ? { onRestored: options.onRestored } : {}),
      },
    );
    this.housekeeping.start();
    return this.worker;
  }

  /** Stops working, workers before queues. The database stays open. */
  close(drainMs = 0): Promise<void> {
    this.closing ??= (async () => {
      await this.housekeeping?.close();
      await this.worker?.close(drainMs);
      await this.closeQueues();
      await this.events.close();
    })();
    return this.closing;
  }
}
