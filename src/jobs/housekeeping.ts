import type { ModelStore } from '../store/models.js';
import type { ObjectStore } from '../store/objects.js';
import type { SeriesStore } from '../store/series.js';
import type { JobTable } from './define.js';
import type { JobLedger } from './ledger.js';
import type { Queues } from './queues.js';

export interface HousekeepingOptions {
  /** A job without a sign of life for this long may have been lost by the queue, milliseconds. */
  silentMs: number;
  /** How long finished jobs and their results are kept, milliseconds. */
  retentionMs: number;
  onError?: (error: Error) => void;
  /** Told how many jobs were put back into the queue. */
  onRestored?: (count: number) => void;
}

/** Deadlines are looked at this often. */
const DEADLINE_MS = 1000;

/** Models that were fine-tuned on the way to a forecast are kept so long, for the same request again. */
const PASSING_MS = 24 * 3_600_000;

/** Everything that is only removed is looked at this often. */
const SWEEP_MS = 60_000;

/**
 * What some worker does now and then, and any number may do at once: fails jobs past their deadline, puts back into the queue
 * what the queue has lost, forgets old jobs and expired objects, finishes deletes that were cut short.
 */
export class Housekeeping {
  private readonly timers: NodeJS.Timeout[] = [];
  private readonly running = new Set<Promise<void>>();

  constructor(
    private readonly table: JobTable,
    private readonly ledger: JobLedger,
    private readonly queues: Queues,
    private readonly stores: { objects: ObjectStore; series: SeriesStore; models: ModelStore },
    private readonly options: HousekeepingOptions,
  ) {}

  start(): void {
    this.every(DEADLINE_MS, () => this.ledger.expire());
    this.every(Math.max(500, this.options.silentMs / 2), () => this.restore());
    this.every(SWEEP_MS, () => this.sweep());
  }

  /** Puts jobs back that the ledger holds and the queue does not know; returns how many. */
  async restore(): Promise<number> {
    let restored = 0;
    for (const job of await this.ledger.silent(this.options.silentMs)) {
      if (await this.queues.restore(job)) restored++;
    }
    if (restored > 0) this.options.onRestored?.(restored);
    return restored;
  }

  /** Removes what is no longer wanted. */
  async sweep(): Promise<void> {
    for (const [kind, { keepMs }] of Object.entries(this.table.kinds)) {
      if (keepMs !== undefined) await this.ledger.forget(keepMs, kind);
    }
    await this.ledger.forget(this.options.retentionMs);
    await this.stores.objects.sweep();
    await this.stores.series.sweep();
    await this.stores.models.sweep(PASSING_MS);
  }

  private every(ms: number, work: () => Promise<unknown>): void {
    let busy = false;
    const timer = setInterval(() => {
      if (busy) return;
      busy = true;
      const done: Promise<void> = work()
        .then(
          () => {},
          (error: Error) => this.options.onError?.(error),
        )
        .finally(() => {
          busy = false;
          this.running.delete(done);
        });
      this.running.add(done);
    }, ms);
    timer.unref();
    this.timers.push(timer);
  }

  /** Begins nothing more and waits for what runs. */
  async close(): Promise<void> {
    for (const timer of this.timers) clearInterval(timer);
    await Promise.all(this.running);
  }
}
