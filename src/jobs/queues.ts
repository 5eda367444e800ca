import type { FlowJob, FlowProducer, JobsOptions, Queue } from 'bullmq';
import type { JobTable } from './define.js';
import type { JobRecord } from './ledger.js';

/** What of a job the queue must know; parameters stay in the ledger. */
export type Enqueued = Pick<JobRecord, 'id' | 'kind' | 'queue' | 'priority'>;

/** A job with those that it waits for. */
export interface EnqueuedFlow {
  job: Enqueued;
  delayMs?: number;
  children: EnqueuedFlow[];
}

/**
 * Runs are counted in the ledger, which also sees the ones that ended with their worker. BullMQ is told a number that it
 * will not reach, and learns of the last failure by an UnrecoverableError.
 */
const ENDLESS = 1_000_000;

/** No pause before another run is longer, however often it has failed. */
const MAX_BACKOFF_MS = 60_000;

/** The pause before the run that follows failed run number `failures` of a kind. */
export function backoffOf(table: JobTable, kind: string, failures: number): number {
  const backoff = table.kinds[kind]?.backoff ?? { type: 'exponential', delayMs: 1000 };
  const factor = backoff.type === 'fixed' ? 1 : 2 ** Math.min(30, Math.max(0, failures - 1));
  return Math.min(MAX_BACKOFF_MS, backoff.delayMs * factor);
}

/** Finished jobs that BullMQ keeps for its own tools; ours are in the ledger. */
const KEPT = 500;

/** BullMQ's options of a job. */
export function jobOptions(job: Enqueued, delayMs?: number): JobsOptions {
  return {
    jobId: job.id,
    priority: job.priority,
    attempts: ENDLESS,
    backoff: { type: 'adder' },
    removeOnComplete: { count: KEPT },
    removeOnFail: { count: KEPT },
    ...(delayMs ? { delay: delayMs } : {}),
  };
}

/** The queues of a process, by name. */
export class Queues {
  constructor(
    private readonly queues: ReadonlyMap<string, Queue>,
    private readonly flows: FlowProducer,
  ) {}

  async add(job: Enqueued, delayMs?: number): Promise<void> {
    // The id is all that travels.
    await this.queue(job.queue).add(job.kind, {}, jobOptions(job, delayMs));
  }

  async addFlow(root: EnqueuedFlow): Promise<void> {
    const node = ({ job, children, delayMs }: EnqueuedFlow, top: boolean): FlowJob => ({
      name: job.kind,
      queueName: job.queue,
      data: {},
      opts: { ...jobOptions(job, delayMs), ...(top ? {} : { failParentOnFailure: true }) },
      children: children.map((child) => node(child, false)),
    });
    await this.flows.add(node(root, true));
  }

  /** Takes a waiting job out of its queue; a job that runs stays. */
  async remove(queue: string, id: string): Promise<void> {
    await this.queue(queue).remove(id);
  }

  /**
   * Puts a job back that the ledger knows and the queue may not. Returns whether it was missing: jobs that wait, run or are
   * delayed stay as they are.
   */
  async restore(job: Enqueued): Promise<boolean> {
    const queue = this.queue(job.queue);
    const state = await queue.getJobState(job.id);
    if (state !== 'unknown' && state !== 'completed' && state !== 'failed') return false;
    if (state !== 'unknown') await queue.remove(job.id);
    await this.add(job);
    return true;
  }

  /** Jobs of each queue by state, for metrics. */
  async counts(): Promise<Record<string, Record<string, number>>> {
    const states = ['wait', 'active', 'delayed', 'prioritized', 'waiting-children'] as const;
    const counts = await Promise.all(
      [...this.queues].map(async ([name, queue]) => [name, await queue.getJobCounts(...states)] as const),
    );
    return Object.fromEntries(counts);
  }

  private queue(name: string): Queue {
    const queue = this.queues.get(name);
    if (!queue) throw new Error(`no queue ${name}`);
    return queue;
  }
}
