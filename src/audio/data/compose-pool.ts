import { Worker } from 'node:worker_threads';
import { type ComposeOptions, Composer } from './compose.js';
import type { WorkerSetup } from './compose-worker.js';
import { type Example, toExample } from './example.js';
import type { Library } from './pack.js';
import type { TurnStatistics } from './turns.js';

/**
 * Worker threads that keep a queue of examples filled, in order of their index: whatever the number of threads, the
 * same indices give the same examples. The library's samples are shared, not copied.
 */
export class ComposerPool {
  private readonly workers: Worker[] = [];
  private readonly waiting = new Map<number, { resolve: (e: Example) => void; reject: (e: Error) => void }>();
  private readonly ready = new Map<number, Promise<Example>>();
  private asked: number;
  private given: number;
  private failed: Error | undefined;
  /** Without threads, makes each example when it is asked for. */
  private readonly here: Composer | undefined;

  /**
   * @param threads worker threads; 0 for none, then `loadResampler` must have been awaited
   * @param ahead examples that are made before they are asked for
   * @param first index of the first example, for resuming a run
   */
  constructor(
    library: Library,
    turns: TurnStatistics,
    options: ComposeOptions,
    { threads = 2, ahead = 16, first = 0 } = {},
  ) {
    if (threads === 0) this.here = new Composer(library, turns, options);
    const workerData: WorkerSetup = { library, turns, options };
    for (let i = 0; i < threads; i++) {
      const worker = new Worker(new URL('./compose-worker.js', import.meta.url), { workerData });
      worker.on('message', (message: 'ready' | { index: number; example: Example }) => {
        if (message === 'ready') return;
        this.waiting.get(message.index)?.resolve(message.example);
        this.waiting.delete(message.index);
      });
      worker.on('error', (error) => this.fail(error as Error));
      this.workers.push(worker);
    }
    this.asked = first;
    this.given = first;
    if (!this.here) for (let i = 0; i < ahead; i++) this.ask();
  }

  /** The next example. */
  next(): Promise<Example> {
    if (this.here) {
      const index = this.given++;
      return Promise.resolve(toExample(this.here.compose(index), index));
    }
    const example = this.ready.get(this.given)!;
    this.ready.delete(this.given);
    this.given++;
    this.ask();
    return example;
  }

  /** Index of the example that `next` will give. */
  get position(): number {
    return this.given;
  }

  async close(): Promise<void> {
    await Promise.all(this.workers.map((w) => w.terminate()));
  }

  private ask(): void {
    const index = this.asked++;
    const promise = new Promise<Example>((resolve, reject) => {
      if (this.failed) reject(this.failed);
      else this.waiting.set(index, { resolve, reject });
    });
    // A failure is reported by `next`, not as an unhandled rejection of an example nobody has asked for yet.
    promise.catch(() => {});
    this.ready.set(index, promise);
    this.workers[index % this.workers.length].postMessage(index);
  }

  private fail(error: Error): void {
    this.failed = error;
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }
}
