/**
 * Batches made ahead of time by worker threads.
 *
 * Work is a list of tasks, one a shard, in the order (step, part, shard); threads take the next number from a shared
 * counter, fill the shard in shared memory and wait where they are `slots` steps ahead of the consumer. What a batch
 * holds depends on (seed, step) alone, so any number of threads, or none, gives the same batches.
 */
import { Worker } from 'node:worker_threads';
import { AdderError } from '../../platform/errors.js';
import { allocatePart, BatchFiller, type BatchOptions, type PartBuffers, shardsOf } from './batch.js';
import type { Corpus } from './corpus.js';

/** Words of the shared control block; counters of done shards follow, one a slot. */
export const NEXT_TASK = 0;
/** Steps the consumer has given back. */
export const RELEASED = 1;
export const STOP = 2;
export const DONE = 3;

/** What a thread is started with. */
export interface BatchWorkerData {
  corpus: Corpus;
  options: BatchOptions;
  /** Buffers of every slot and part. */
  slots: PartBuffers[][];
  control: Int32Array;
  firstStep: number;
}

/** A thread says which step became complete; anything else it throws. */
export interface BatchReady {
  ready: number;
}

export interface Batch {
  step: number;
  /** Valid until `release`. */
  parts: PartBuffers[];
}

export interface BatchPoolOptions {
  /** Threads; 0 fills batches on the calling thread when they are asked for. */
  workers: number;
  /** Steps in memory, at least 2. */
  slots?: number;
  /** For tests: where the compiled worker lies. */
  workerUrl?: URL;
}

export class BatchPool {
  private readonly slots: PartBuffers[][];
  private readonly control: Int32Array;
  private readonly workers: Worker[] = [];
  private readonly filler: BatchFiller | undefined;
  private readonly ready = new Set<number>();
  private waiting: { resolve(): void; reject(error: Error): void } | undefined;
  private failure: Error | undefined;
  private step: number;
  private outstanding = false;

  /** Batches of steps `firstStep`, `firstStep` + 1, … */
  constructor(
    corpus: Corpus,
    private readonly options: BatchOptions,
    private readonly firstStep: number,
    { workers, slots = 3, workerUrl = new URL('./batch-worker.js', import.meta.url) }: BatchPoolOptions,
  ) {
    this.step = firstStep;
    const count = workers > 0 ? Math.max(2, slots) : 1;
    this.slots = Array.from({ length: count }, () => options.parts.map(allocatePart));
    this.control = new Int32Array(new SharedArrayBuffer(4 * (DONE + count)));
    if (workers === 0) {
      this.filler = new BatchFiller(corpus, options);
      return;
    }
    const workerData: BatchWorkerData = { corpus, options, slots: this.slots, control: this.control, firstStep };
    for (let i = 0; i < workers; i++) {
      const worker = new Worker(workerUrl, { workerData });
      worker.on('message', ({ ready }: BatchReady) => {
        this.ready.add(ready);
        if (ready === this.step) this.waiting?.resolve();
      });
      worker.on('error', (cause) => {
        this.failure = new AdderError({
          code: 'BATCH_WORKER',
          message: `a thread that makes batches failed: ${cause.message}`,
          fix: 'this is a defect of Adder; run again with --workers 0 for the stack',
          cause,
        });
        this.waiting?.reject(this.failure);
      });
      this.workers.push(worker);
    }
  }

  /** The next batch; give it back with `release` before asking for another. */
  async next(): Promise<Batch> {
    if (this.outstanding) throw new Error('release the last batch first');
    const slot = (this.step - this.firstStep) % this.slots.length;
    const parts = this.slots[slot]!;
    if (this.filler) {
      // Without threads nothing else lets the event loop turn, and signals would wait for the end of the run.
      await new Promise((resolve) => setImmediate(resolve));
      this.options.parts.forEach((part, p) => {
        for (let shard = 0; shard < shardsOf(part).shards; shard++) {
          this.filler!.fill(parts[p]!, this.step, p, shard);
        }
      });
    } else {
      if (this.failure) throw this.failure;
      if (!this.ready.has(this.step)) {
        await new Promise<void>((resolve, reject) => {
          this.waiting = { resolve, reject };
        });
        this.waiting = undefined;
      }
      this.ready.delete(this.step);
    }
    this.outstanding = true;
    return { step: this.step, parts };
  }

  release(): void {
    const slot = (this.step - this.firstStep) % this.slots.length;
    Atomics.store(this.control, DONE + slot, 0);
    this.step++;
    this.outstanding = false;
    Atomics.store(this.control, RELEASED, this.step - this.firstStep);
    Atomics.notify(this.control, RELEASED);
  }

  async close(): Promise<void> {
    Atomics.store(this.control, STOP, 1);
    Atomics.notify(this.control, RELEASED);
    await Promise.all(this.workers.map((worker) => worker.terminate()));
  }
}
