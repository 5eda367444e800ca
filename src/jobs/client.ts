import { AdderError } from '../platform/errors.js';
import { orderedId } from '../platform/ids.js';
import type { Queryable } from '../store/database.js';
import { checkData, type DataOf, type JobTable, type KindOf } from './define.js';
import type { JobChange, JobEvents } from './events.js';
import { isFinal, type JobLedger, type JobRecord, type NewJob } from './ledger.js';
import type { EnqueuedFlow, Queues } from './queues.js';

export interface AddOptions {
  owner: string;
  /** Instead of the kind's; 1 is the most urgent. */
  priority?: number;
  /** The job fails when it is not finished by then. */
  deadline?: Date;
  /** Instead of the kind's; null: never the same as another job. */
  dedupKey?: string | null;
  /** The job begins no sooner, milliseconds from now. */
  delayMs?: number;
}

/** A job of a flow with those that must succeed before it begins. */
export interface FlowNode<T extends JobTable, K extends KindOf<T> = KindOf<T>> {
  kind: K;
  data: DataOf<T, K>;
  children?: FlowNode<T>[];
}

export interface Added {
  id: string;
  /** An unfinished job with the same dedup key was there; this is its id. */
  deduplicated: boolean;
}

export interface JobClientOptions {
  /** Unfinished jobs of one owner. */
  maxUnfinished: number;
  /** Told when the queue does not take a job that the ledger holds; it is queued again by a worker's housekeeping. */
  onQueueError?: (error: Error) => void;
}

/** How often a waiting caller looks at the ledger in case that a message was lost. */
const LOOK_AGAIN_MS = 2000;

/** How long adding waits for the queue before it leaves the job to housekeeping. */
const QUEUE_PATIENCE_MS = 3000;

/**
 * Adds jobs and follows them. A job is acknowledged once it is in the ledger, which survives the crash of any process; the
 * queue is told afterwards, and if it cannot be reached the job is queued when it can.
 */
export class JobClient<T extends JobTable = JobTable> {
  constructor(
    private readonly table: T,
    private readonly ledger: JobLedger,
    private readonly queues: Queues,
    private readonly events: JobEvents,
    private readonly options: JobClientOptions,
  ) {}

  /**
   * Adds a job. `data` may be a function that stores what the job needs and returns its ids: it runs in the transaction that
   * records the job, so neither is there without the other.
   * Throws `BAD_JOB_DATA`, `JOB_DATA_TOO_LARGE`, `TOO_MANY_JOBS`.
   */
  async add<K extends KindOf<T>>(
    kind: K,
    data: DataOf<T, K> | ((client: Queryable) => Promise<DataOf<T, K>>),
    options: AddOptions,
  ): Promise<Added> {
    const id = orderedId();
    let job: NewJob | undefined;
    const [known] = await this.ledger.database.transaction(async (client) => {
      job = this.record(id, kind, typeof data === 'function' ? await data(client) : data, options, null);
      return this.ledger.insert(client, [job], this.options.maxUnfinished);
    });
    if (known !== id) return { id: known!, deduplicated: true };
    await this.enqueue(() => this.queues.add(job!, options.delayMs));
    return { id, deduplicated: false };
  }

  /** Adds jobs of which each begins when its children have succeeded. Returns the ids, the root's first, in depth-first order. */
  async addFlow(root: FlowNode<T>, options: Omit<AddOptions, 'dedupKey'>): Promise<string[]> {
    const jobs: NewJob[] = [];
    const plan = (node: FlowNode<T>, parentId: string | null): EnqueuedFlow => {
      const job = this.record(orderedId(), node.kind, node.data, { ...options, dedupKey: null }, parentId);
      jobs.push(job);
      const children = (node.children ?? []).map((child) => plan(child, job.id));
      return { job, children, ...(options.delayMs && children.length === 0 ? { delayMs: options.delayMs } : {}) };
    };
    const flow = plan(root, null);
    await this.ledger.database.transaction((client) => this.ledger.insert(client, jobs, this.options.maxUnfinished));
    await this.enqueue(() => this.queues.addFlow(flow));
    return jobs.map(({ id }) => id);
  }

  /** The job as it is now. Throws `UNKNOWN_JOB`, also for a job of another owner. */
  status(owner: string, id: string): Promise<JobRecord> {
    return this.ledger.get(owner, id);
  }

  list(owner: string, options?: Parameters<JobLedger['list']>[1]): Promise<JobRecord[]> {
    return this.ledger.list(owner, options);
  }

  /** Cancels a job and what it waits for; returns the job as it is now. A job that runs ends when its worker has heard of it. */
  async cancel(owner: string, id: string, reason = 'cancelled on request'): Promise<JobRecord> {
    const stopped = await this.ledger.cancel(owner, id, reason);
    for (const job of stopped) {
      // Left in the queue it would be looked at once, and skipped.
      if (job.status === 'cancelled') await this.queues.remove(job.queue, job.id).catch(() => {});
    }
    return this.ledger.get(owner, id);
  }

  /**
   * The job once it has finished, or as it is after `timeoutMs`. Throws `UNKNOWN_JOB`, and the reason of `signal` when that
   * is aborted; the job goes on either way.
   */
  async wait(owner: string, id: string, options: { timeoutMs: number; signal?: AbortSignal }): Promise<JobRecord> {
    const end = Date.now() + options.timeoutMs;
    let last: JobRecord | undefined;
    for await (const job of this.watch(owner, id, { ...options, until: end, finalOnly: true })) last = job;
    return last ?? this.ledger.get(owner, id);
  }

  /**
   * The job now, and again after each change, until it has finished. A slow reader skips states and always gets the last.
   * Throws as `wait` does.
   */
  async *watch(
    owner: string,
    id: string,
    options: { signal?: AbortSignal; until?: number; finalOnly?: boolean } = {},
  ): AsyncGenerator<JobRecord> {
    let changed = true;
    let wake = () => {};
    const off = this.events.on(id, (change: JobChange | 'resync') => {
      if (options.finalOnly && change !== 'resync' && !isFinal(change.status)) return;
      changed = true;
      wake();
    });
    const aborted = () => wake();
    options.signal?.addEventListener('abort', aborted);
    try {
      for (let seen = ''; ; ) {
        options.signal?.throwIfAborted();
        changed = false;
        const job = await this.ledger.get(owner, id);
        const look = `${job.status} ${job.progress} ${job.note} ${job.attempts}`;
        if (look !== seen) yield job;
        seen = look;
        if (isFinal(job.status) || Date.now() >= (options.until ?? Number.POSITIVE_INFINITY)) return;
        if (changed) continue;
        const left = Math.min(LOOK_AGAIN_MS, (options.until ?? Number.POSITIVE_INFINITY) - Date.now());
        await new Promise<void>((done) => {
          const timer = setTimeout(done, Math.max(0, left));
          wake = () => {
            clearTimeout(timer);
            done();
          };
          if (changed || options.signal?.aborted) wake();
        });
        wake = () => {};
      }
    } finally {
      off();
      options.signal?.removeEventListener('abort', aborted);
    }
  }

  private record(id: string, kind: string, data: unknown, options: AddOptions, parentId: string | null): NewJob {
    const checked = checkData(this.table, kind, data);
    const settings = this.table.kinds[kind]!;
    const dedupKey =
      options.dedupKey === undefined ? (settings.dedupKey?.(checked as never) ?? null) : options.dedupKey;
    const priority = options.priority ?? settings.priority;
    if (!Number.isInteger(priority) || priority < 1 || priority > 2_000_000) {
      throw new AdderError({ code: 'BAD_PRIORITY', message: `a priority is a whole number from 1, not ${priority}` });
    }
    return {
      id,
      owner: options.owner,
      kind,
      queue: settings.queue,
      data: checked,
      priority,
      dedupKey,
      parentId,
      maxAttempts: settings.attempts,
      deadline: options.deadline ?? null,
    };
  }

  private async enqueue(add: () => Promise<void>): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, fail) => {
      timer = setTimeout(() => fail(new Error('the queue did not answer in time')), QUEUE_PATIENCE_MS);
    });
    const adding = add();
    // After the timeout nobody waits for it any more.
    adding.catch(() => {});
    try {
      await Promise.race([adding, late]);
    } catch (error) {
      this.options.onQueueError?.(error as Error);
    } finally {
      clearTimeout(timer);
    }
  }
}
