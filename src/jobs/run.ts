import type { JobTable } from './define.js';
import type { JobEvents } from './events.js';
import {
  cancelledError,
  deadlineError,
  isTransient,
  type JobError,
  JobStopped,
  type StopReason,
  toJobError,
} from './failures.js';
import type { JobLedger, JobRecord } from './ledger.js';
import { JobBytes, type JobContext, type Processor } from './processor.js';

/** How a run ended, for the queue, the log and the metrics. */
export type RunOutcome =
  | { status: 'succeeded' | 'skipped' }
  /** For good; the queue shall not try again. */
  | { status: 'failed' | 'cancelled'; error: JobError; cause?: unknown }
  /** The queue shall try again after its back-off. */
  | { status: 'retry'; error: JobError; cause: unknown };

/** Progress is told at most this often. */
const PROGRESS_MS = 200;

/** How long a processor that was told to stop may take before its run is given up. */
const STOP_GRACE_MS = 5000;

const SHUTDOWN = 'the worker is shutting down';

/** One run of one job, which others may stop. */
export class JobRun {
  private readonly abort = new AbortController();

  constructor(
    readonly job: JobRecord,
    private readonly timeoutMs: number,
  ) {}

  get signal(): AbortSignal {
    return this.abort.signal;
  }

  /** Tells the processor to stop; the first reason counts. */
  stop(reason: StopReason, message: string): void {
    if (!this.abort.signal.aborted) this.abort.abort(new JobStopped(reason, message));
  }

  /**
   * Runs the processor and waits for it, or for its being told to stop and not stopping. Throws what it throws, or the
   * JobStopped that told it.
   */
  async run(process: Processor, context: Omit<JobContext, 'signal'>): Promise<Awaited<ReturnType<Processor>>> {
    const { deadline } = this.job;
    const timers = [
      setTimeout(() => this.stop('timeout', `the run took longer than ${this.timeoutMs} ms`), this.timeoutMs),
    ];
    // Timers hold 2^31 ms at most; a later deadline is enforced by housekeeping.
    const left = deadline ? deadline.getTime() - Date.now() : Number.POSITIVE_INFINITY;
    if (left < 2 ** 31)
      timers.push(setTimeout(() => this.stop('deadline', 'the deadline has passed'), Math.max(0, left)));
    const givenUp = new Promise<never>((_, fail) => {
      this.signal.addEventListener('abort', () => {
        timers.push(setTimeout(() => fail(this.signal.reason), STOP_GRACE_MS));
      });
    });
    // It is only waited for while the processor runs.
    givenUp.catch(() => {});
    try {
      const work = Promise.resolve().then(() => process({ ...context, signal: this.signal }));
      const output = await Promise.race([work, givenUp]);
      // A processor that returns in spite of being stopped has finished, unless nobody wants its result any more.
      const reason = this.signal.aborted ? (this.signal.reason as JobStopped).reason : undefined;
      if (reason === 'cancelled' || reason === 'deadline' || reason === 'lost') throw this.signal.reason;
      return output;
    } catch (error) {
      // Whatever a stopped processor throws, the reason is the stop.
      throw this.signal.aborted ? this.signal.reason : error;
    } finally {
      for (const timer of timers) clearTimeout(timer);
    }
  }
}

/** Runs jobs of a table: from the ledger through the processor back into the ledger. */
export class JobRunner {
  /** Runs at this moment. */
  readonly active = new Map<string, JobRun>();
  private shuttingDown = false;
  private readonly off: () => void;

  constructor(
    private readonly table: JobTable,
    private readonly ledger: JobLedger,
    events: JobEvents,
    private readonly processors: ReadonlyMap<string, Processor>,
  ) {
    this.off = events.on(undefined, (change) => {
      if (change !== 'resync' && change.cancel) this.active.get(change.id)?.stop('cancelled', 'cancelled on request');
    });
  }

  /** Runs the job of this id if there is something to do. Throws only when the ledger cannot be reached. */
  async run(id: string, queueSignal?: AbortSignal): Promise<RunOutcome> {
    const started = await this.ledger.start(id);
    if (started === 'succeeded' || started === 'missing') return { status: 'skipped' };
    if (typeof started === 'string') {
      const status = started === 'cancelled' ? 'cancelled' : 'failed';
      return { status, error: (await this.ledger.find(id))?.error ?? cancelledError('finished before') };
    }
    const run = new JobRun(started, this.table.kinds[started.kind]?.timeoutMs ?? 60_000);
    const lost = () => run.stop('lost', 'the queue has given the job to another worker');
    queueSignal?.addEventListener('abort', lost);
    this.active.set(id, run);
    if (this.shuttingDown) this.giveBack(run);
    const progress = this.progress(started);
    try {
      const process = this.processors.get(started.kind);
      // Another version of Adder may have added it.
      if (!process) throw new Error(`this worker has no processor for ${started.kind}`);
      const output = await run.run(process, {
        id,
        owner: started.owner,
        data: started.data,
        attempt: started.attempts,
        priority: started.priority,
        payload: started.payload,
        deadline: started.deadline,
        progress: progress.tell,
        children: () => this.ledger.children(id),
      });
      await progress.settle();
      const kept = await this.ledger.finish(
        started,
        {
          status: 'succeeded',
          write: async (client) => {
            if (output instanceof JobBytes) return { result: output.result, output: output.bytes };
            return { result: typeof output === 'function' ? await output(client) : (output ?? {}), output: null };
          },
        },
        this.table.kinds[started.kind]?.durable,
      );
      return { status: kept ? 'succeeded' : 'skipped' };
    } catch (error) {
      await progress.settle();
      return await this.failed(started, error);
    } finally {
      if (this.active.get(id) === run) this.active.delete(id);
      queueSignal?.removeEventListener('abort', lost);
    }
  }

  /** Begins a shutdown: runs whose kind says so are given back to the queue now, and later ones as soon as they come. */
  beginShutdown(): void {
    this.shuttingDown = true;
    for (const run of this.active.values()) this.giveBack(run);
  }

  /** Gives every run back to the queue. */
  endShutdown(): void {
    for (const run of this.active.values()) run.stop('shutdown', SHUTDOWN);
  }

  private giveBack(run: JobRun): void {
    if (this.table.kinds[run.job.kind]?.givesBack) run.stop('shutdown', SHUTDOWN);
  }

  /** Shows that our runs are alive, and stops those that are no longer ours. */
  async touch(): Promise<void> {
    const runs = [...this.active.values()];
    const gone = await this.ledger.touch(runs.map(({ job }) => job));
    for (const run of runs) {
      if (!gone.has(run.job.id) || this.active.get(run.job.id) !== run) continue;
      const now = await this.ledger.find(run.job.id);
      if (now?.cancelRequestedAt) run.stop('cancelled', 'cancelled on request');
      else run.stop('lost', 'the job was ended or given to another worker');
    }
  }

  close(): void {
    this.off();
  }

  private async failed(job: JobRecord, thrown: unknown): Promise<RunOutcome> {
    const stopped = thrown instanceof JobStopped ? thrown.reason : undefined;
    if (stopped === 'lost') return { status: 'skipped' };
    if (stopped === 'shutdown') {
      await this.ledger.release(job, null, true);
      return { status: 'retry', error: { code: 'SHUTDOWN', message: SHUTDOWN }, cause: thrown };
    }
    if (stopped === 'cancelled' || stopped === 'deadline') {
      const status = stopped === 'cancelled' ? 'cancelled' : 'failed';
      const error = stopped === 'cancelled' ? cancelledError('cancelled on request') : deadlineError();
      const kept = await this.ledger.finish(job, { status, error });
      return kept ? { status, error, cause: thrown } : { status: 'skipped' };
    }
    const error =
      stopped === 'timeout'
        ? { code: 'ATTEMPT_TIMEOUT', message: (thrown as Error).message, fix: 'send less at once' }
        : toJobError(thrown);
    if ((stopped === 'timeout' || isTransient(thrown)) && job.attempts < job.maxAttempts) {
      const released = await this.ledger.release(job, error);
      return released ? { status: 'retry', error, cause: thrown } : { status: 'skipped' };
    }
    const kept = await this.ledger.finish(job, { status: 'failed', error });
    return kept ? { status: 'failed', error, cause: thrown } : { status: 'skipped' };
  }

  /** Merges progress that comes faster than people can read. A failure to tell it is no failure of the job. */
  private progress(job: JobRecord) {
    let next: { fraction: number; note: string | null } | undefined;
    let timer: NodeJS.Timeout | undefined;
    let last = 0;
    let sending: Promise<void> = Promise.resolve();
    const send = () => {
      timer = undefined;
      if (!next) return;
      const { fraction, note } = next;
      next = undefined;
      last = Date.now();
      sending = sending.then(() => this.ledger.progress(job, fraction, note)).catch(() => {});
    };
    return {
      tell: (fraction: number, note?: string) => {
        if (!Number.isFinite(fraction)) return;
        next = { fraction, note: note?.slice(0, 500) ?? null };
        timer ??= setTimeout(send, Math.max(0, last + PROGRESS_MS - Date.now()));
      },
      settle: async () => {
        clearTimeout(timer);
        send();
        await sending;
      },
    };
  }
}
