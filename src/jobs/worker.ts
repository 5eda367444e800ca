import { UnrecoverableError, type Worker } from 'bullmq';
import type { QueueBackend } from './backend.js';
import type { JobTable } from './define.js';
import type { JobEvents } from './events.js';
import type { JobLedger } from './ledger.js';
import type { Processor } from './processor.js';
import { backoffOf } from './queues.js';
import { JobRunner, type RunOutcome } from './run.js';

export interface WorkerOptions {
  /** How long a job stays with a worker that gives no sign of life, milliseconds. */
  lockMs: number;
  /** Queues that this process works on; all by default. */
  queues?: readonly string[];
  /** Instead of the table's, by queue. */
  concurrency?: Readonly<Record<string, number>>;
  /** Told about every run that ended, and how long it took. */
  onRun?: (run: { id: string; kind: string; queue: string; outcome: RunOutcome; ms: number }) => void;
  onError?: (error: Error) => void;
}

/**
 * Takes jobs from the queues and runs them. BullMQ locks, renews, finds stalled jobs and times the retries; what a job is
 * and what became of it stands in the ledger.
 */
export class JobWorker {
  private readonly workers: Worker[];
  private readonly runner: JobRunner;
  private readonly heartbeat: NodeJS.Timeout;
  private closing: Promise<void> | undefined;
  private lastTouch = Date.now();

  constructor(
    table: JobTable,
    backend: QueueBackend,
    ledger: JobLedger,
    events: JobEvents,
    processors: ReadonlyMap<string, Processor>,
    private readonly options: WorkerOptions,
  ) {
    this.runner = new JobRunner(table, ledger, events, processors);
    this.workers = Object.entries(table.queues)
      .filter(([name]) => !options.queues || options.queues.includes(name))
      .map(([name, settings]) => this.open(table, name, backend, options.concurrency?.[name] ?? settings.concurrency));
    this.heartbeat = setInterval(() => void this.touch(), Math.max(250, options.lockMs / 3));
    this.heartbeat.unref();
  }

  private open(table: JobTable, queue: string, backend: QueueBackend, concurrency: number): Worker {
    const { lockMs } = this.options;
    const worker = new backend.Worker(
      queue,
      async (job, _token, signal) => {
        const begin = performance.now();
        const outcome = await this.runner.run(job.id!, signal);
        this.options.onRun?.({ id: job.id!, kind: job.name, queue, outcome, ms: performance.now() - begin });
        if (outcome.status === 'retry') throw new Error(outcome.error.message);
        // Only so does BullMQ fail the jobs that wait for this one.
        if (outcome.status === 'failed' || outcome.status === 'cancelled') {
          throw new UnrecoverableError(outcome.error.message);
        }
      },
      {
        connection: backend.working,
        concurrency,
        lockDuration: lockMs,
        stalledInterval: Math.max(200, Math.min(lockMs / 2, 30_000)),
        // The ledger counts the runs, and ends a job that keeps killing its workers.
        maxStalledCount: 1_000_000,
        drainDelay: 5,
        settings: { backoffStrategy: (failures, _type, _error, job) => backoffOf(table, job?.name ?? '', failures) },
      },
    );
    worker.on('error', (error) => this.options.onError?.(error));
    return worker;
  }

  /** Jobs that run at this moment. */
  get activeCount(): number {
    return this.runner.active.size;
  }

  /** Milliseconds since the ledger last took our sign of life; grows when the database is away. */
  get silence(): number {
    return Date.now() - this.lastTouch;
  }

  /** Resolves once every queue is connected. */
  async ready(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.waitUntilReady()));
  }

  private async touch(): Promise<void> {
    try {
      await this.runner.touch();
      this.lastTouch = Date.now();
    } catch (error) {
      this.options.onError?.(error as Error);
    }
  }

  /**
   * Takes no more jobs, lets those that run finish for `drainMs` (unless their kind says otherwise), then stops them and
   * gives them back to the queue.
   * Call before the database and the inference process are closed.
   */
  close(drainMs: number): Promise<void> {
    this.closing ??= (async () => {
      this.runner.beginShutdown();
      const late = setTimeout(() => this.runner.endShutdown(), drainMs);
      await Promise.all(this.workers.map((worker) => worker.close()));
      clearTimeout(late);
      clearInterval(this.heartbeat);
      this.runner.close();
    })();
    return this.closing;
  }
}
