import { Worker } from 'node:worker_threads';
import { siblingModule } from '../../platform/sibling-module.js';
import type { BodyAnswer, BodyTask } from './body-worker.js';
import { badCompression, badJson, tooLarge } from './limits.js';

/** Heap of one thread: a parsed body may take many times its bytes, and a hostile one shall only end its thread. */
const HEAP_MB = 3072;

interface Thread {
  worker: Worker;
  waiting: Map<number, { task: BodyTask; resolve(value: unknown): void; reject(error: Error): void }>;
}

/** A few threads for the bodies that would block the event loop; started when first needed. */
export class BodyThreads {
  private threads: Thread[] = [];
  private next = 0;

  constructor(private readonly count = 2) {}

  /** Throws RequestErrors: `BODY_TOO_LARGE`, `BAD_COMPRESSION`, `BAD_JSON`. */
  decode(bytes: Uint8Array, options: { zstd: boolean; json: boolean; limit: number }): Promise<unknown> {
    const task: BodyTask = { id: this.next++, bytes, ...options };
    const thread = this.pick();
    return new Promise((resolve, reject) => {
      thread.waiting.set(task.id, { task, resolve, reject });
      thread.worker.ref();
      thread.worker.postMessage(task);
    });
  }

  /** The idlest thread, or a new one while there may be more. */
  private pick(): Thread {
    const idlest = this.threads.reduce<Thread | undefined>(
      (best, thread) => (best && best.waiting.size <= thread.waiting.size ? best : thread),
      undefined,
    );
    if (idlest && (idlest.waiting.size === 0 || this.threads.length >= this.count)) return idlest;
    return this.start();
  }

  private start(): Thread {
    const { url, execArgv } = siblingModule(import.meta.url, './body-worker.js');
    const worker = new Worker(url, { execArgv, resourceLimits: { maxOldGenerationSizeMb: HEAP_MB } });
    const thread: Thread = { worker, waiting: new Map() };
    worker.unref();
    worker.on('message', (answer: BodyAnswer) => {
      const entry = thread.waiting.get(answer.id);
      thread.waiting.delete(answer.id);
      if (thread.waiting.size === 0) worker.unref();
      if (!entry) return;
      if (answer.ok) entry.resolve(answer.value);
      else if (answer.reason === 'too-large') entry.reject(tooLarge(entry.task.limit));
      else if (answer.reason === 'bad-compression') entry.reject(badCompression('zstd', new Error(answer.message)));
      else entry.reject(badJson(answer.message));
    });
    const end = (error?: Error) => {
      this.threads = this.threads.filter((other) => other !== thread);
      // Out of memory is the one thing a thread dies of: which of its bodies did it cannot be told.
      for (const { task, reject } of thread.waiting.values()) reject(tooLarge(task.limit, error));
      thread.waiting.clear();
    };
    worker.on('error', end);
    worker.on('exit', () => end());
    this.threads.push(thread);
    return thread;
  }

  async close(): Promise<void> {
    await Promise.all(this.threads.map(({ worker }) => worker.terminate()));
  }
}
