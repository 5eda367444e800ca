import { AdderError } from '../platform/errors.js';
import { orderedId } from '../platform/ids.js';
import type { Queryable } from '../store/database.js';
import { checkData, type DataOf, type JobTable, type KindOf } from './define.js';
import type { JobChange, JobEvents } from './events.js';
import { isFinal, type JobLedger, type JobOutcome, type JobRecord, type NewJob } from './ledger.js';
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
  /** Bytes that the job works on, up to a few MiB; more belongs in the object store. */
  payload?: Uint8Array;
}

export interface CallOptions {
  owner: string;
  /** The job is given up, and cancelled, after this. */
  timeoutMs: number;
  priority?: number;
  payload?: Uint8Array;
  signal?: AbortSignal;
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

/** Whether a job has finished, however. */
export const isDone = isFinal;

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
    const [known] = await this.ledger.database.transaction(
      async (client) => {
        job = this.record(id, kind, typeof data === 'function' ? await data(client) : data, options, null);
        return this.ledger.insert(client, [job], this.options.maxUnfinished);
      },
      { durable: this.table.kinds[kind]?.durable ?? true },
    );
    if (known !== id) return { id: known!, deduplicated: true };
    await this.enqueue(() => this.queues.add(job!, options.delayMs));
    return { id, deduplicated: false };
  }

  /**
   * Runs a job for a caller that waits, and forgets it. Throws the job's error as an AdderError; `TIMEOUT` after `timeoutMs`,
   * `QUEUE_UNREACHABLE`, `JOB_LOST` when the database crashed meanwhile, and the reason of `signal`. The job is cancelled when
   * nobody waits for it any more.
   */
  async call<K extends KindOf<T>>(kind: K, data: DataOf<T, K>, options: CallOptions): Promise<JobOutcome> {
    const { owner, signal } = options;
    signal?.throwIfAborted();
    const id = orderedId();
    const deadline = new Date(Date.now() + options.timeoutMs);
    let finished = false;
    let wake = () => {};
    const off = this.events.on(id, (change) => {
      if (change !== 'resync' && !isFinal(change.status)) return;
      finished = true;
      wake();
    });
    const aborted = () => wake();
    signal?.addEventListener('abort', aborted);
    try {
      const job = this.record(id, kind, data, { ...options, deadline, dedupKey: null }, null);
      await this.ledger.database.transaction(
        (client) => this.ledger.insert(client, [job], this.options.maxUnfinished),
        { durable: this.table.kinds[kind]?.durable ?? true },
      );
      const failure = await this.enqueue(() => this.queues.add(job));
      if (failure) {
        await this.ledger.cancel(owner, id, 'the queue did not take it');
        throw new AdderError({
          code: 'QUEUE_UNREACHABLE',
          message: `the queue does not take jobs: ${failure.message}`,
          fix: 'try again shortly; the health route says when the service is ready',
          cause: failure,
        });
      }
      for (;;) {
        signal?.throwIfAborted();
        const left = deadline.getTime() - Date.now();
        if (left <= 0) throw timeout(options.timeoutMs);
        if (!finished) {
          await new Promise<void>((done) => {
            const timer = setTimeout(done, Math.min(LOOK_AGAIN_MS, left));
            wake = () => {
              clearTimeout(timer);
              done();
            };
            if (finished || signal?.aborted) wake();
          });
        }
        finished = false;
        const outcome = await this.taken(owner, id);
        if (outcome?.status === 'succeeded') return outcome;
        if (outcome?.error?.code === 'DEADLINE_EXCEEDED') throw timeout(options.timeoutMs);
        if (outcome) throw new AdderError(outcome.error ?? { code: 'INTERNAL', message: 'the job failed' });
      }
    } catch (error) {
      // Without effect on a job that has ended.
      void this.ledger.cancel(owner, id, 'nobody waits for it any more').catch(() => {});
      throw error;
    } finally {
      off();
      signal?.removeEventListener('abort', aborted);
    }
  }

  private async taken(owner: string, id: string): Promise<JobOutcome | undefined> {
    try {
      return await this.ledger.take(owner, id);
    } catch (error) {
      if (!(error instanceof AdderError && error.code === 'UNKNOWN_JOB')) throw error;
      throw new AdderError({
        code: 'JOB_LOST',
        message: 'the job was lost in a crash of the database',
        fix: 'try again',
      });
    }
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
      payload: options.payload ?? null,
    };
  }

  /** Tells the queue; returns why it could not be told. */
  private async enqueue(add: () => Promise<void>): Promise<Error | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, fail) => {
      timer = setTimeout(() => fail(new Error('the queue did not answer in time')), QUEUE_PATIENCE_MS);
    });
    const adding = add();
    // After the timeout nobody waits for it any more.
    adding.catch(() => {});
    try {
      await Promise.race([adding, late]);
      return undefined;
    } catch (error) {
      this.options.onQueueError?.(error as Error);
      return error as Error;
    } finally {
      clearTimeout(timer);
    }
  }
}

const timeout = (ms: number) =>
  new AdderError({
    code: 'TIMEOUT',
    message: `this took longer than ${ms / 1000} s`,
    fix: 'send less at once, try again when there is less to do, or use a job',
  });
