/**
 * Worker threads of the backend. They share its memory and its module, wait in WebAssembly for commands and help with
 * them (kernels/assembly/threads.ts has the protocol); no message is ever sent to them.
 */
import { Worker } from 'node:worker_threads';

/** Control words, as indices of 32-bit words. The same places as in kernels/assembly/threads.ts. */
const GATE = 64 / 4;
const SIGNAL = GATE + 16;
const QUIT = GATE + 18;
const SCRATCH = GATE + 19;
const SCRATCH_STRIDE = GATE + 20;
const FAILED = GATE + 21;
const HELPED = GATE + 22;
const OPEN = 1 << 16;

/**
 * A string, so that it runs alike from TypeScript sources, from dist and under Jest. A kernel can only trap inside the
 * gate; the worker then leaves it, so that the caller does not wait for ever, and reports the failure.
 */
const WORKER_CODE = `
const { workerData } = require('node:worker_threads');
const { module, memory, thread, gate, failed, quit } = workerData;
const { serve } = new WebAssembly.Instance(module, { env: { memory } }).exports;
const control = new Int32Array(memory.buffer, 0, 1024);
while (!Atomics.load(control, quit)) {
  try {
    serve(thread);
  } catch {
    Atomics.store(control, failed, 1);
    Atomics.sub(control, gate, 1);
  }
}
`;

export class Threads {
  private workers: Worker[] = [];
  /** Workers that were started and have not ended. */
  alive = 0;
  private readonly control: Int32Array;

  constructor(
    readonly count: number,
    private readonly module: WebAssembly.Module,
    private readonly memory: WebAssembly.Memory,
  ) {
    this.control = new Int32Array(memory.buffer, 0, 1024);
  }

  setScratch(at: number, stride: number): void {
    this.control[SCRATCH] = at;
    this.control[SCRATCH_STRIDE] = stride;
  }

  /** Start the workers if they are not there. They take part from when they are ready; nothing waits for them. */
  start(): void {
    if (this.workers.length > 0) return;
    for (let thread = 1; thread < this.count; thread++) {
      const worker = new Worker(WORKER_CODE, {
        eval: true,
        execArgv: [],
        name: `adder-wasm-${thread}`,
        workerData: { module: this.module, memory: this.memory, thread, gate: GATE, failed: FAILED, quit: QUIT },
      });
      worker.unref();
      this.alive++;
      worker.once('exit', () => {
        this.alive--;
      });
      // A worker that cannot start (no memory, say) leaves its share to the others.
      worker.on('error', () => undefined);
      this.workers.push(worker);
    }
  }

  /** How often a worker has helped with a command so far (modulo 2^32). */
  get helped(): number {
    return Atomics.load(this.control, HELPED);
  }

  /** Whether a worker's kernel trapped since the last look. */
  failed(): boolean {
    return this.control[FAILED] !== 0 && Atomics.exchange(this.control, FAILED, 0) !== 0;
  }

  /** After a trap of the caller itself: shut the gate and wait until the workers are outside. */
  abandon(): void {
    Atomics.and(this.control, GATE, ~OPEN);
    for (let gate = Atomics.load(this.control, GATE); gate !== 0; gate = Atomics.load(this.control, GATE)) {
      Atomics.wait(this.control, GATE, gate, 1);
    }
  }

  async dispose(): Promise<void> {
    Atomics.store(this.control, QUIT, 1);
    Atomics.add(this.control, SIGNAL, 1);
    Atomics.notify(this.control, SIGNAL);
    const ended = this.workers.map((worker) => worker.terminate());
    this.workers = [];
    await Promise.all(ended);
  }
}
