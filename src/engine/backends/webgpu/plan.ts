/** A recorded sequence of launches: bind groups and uniforms are made once, a run only enqueues. */
import type { Plan } from '../../backend.js';
import { EngineError } from '../../errors.js';
import { type Command, type Encoded, encode, SLICE_BYTES, SLICE_WORDS } from './command.js';
import { flags, type GpuDevice } from './device.js';
import type { BufferPool, Storage } from './pool.js';

/** Time on the GPU by kernel, the most expensive first. */
export interface ProfileRow {
  readonly kernel: string;
  readonly launches: number;
  readonly ms: number;
}

/** What a plan needs from its backend. */
export interface PlanHost {
  readonly gpu: GpuDevice;
  enqueue(commands: readonly Encoded[]): void;
  /** Submit everything enqueued so far. */
  flush(): void;
  readBytes(buffer: GPUBuffer, offset: number, bytes: number): Promise<ArrayBuffer>;
}

/** Collects commands while `record` runs, and owns the memory allocated meanwhile. */
export class PlanBuilder {
  readonly commands: Command[] = [];
  private readonly owned = new Set<Storage>();
  private readonly idle = new Map<number, Storage[]>();
  /** Tensors from before the recording that were freed during it: the plan still uses them at every run. */
  private readonly deferred: Storage[] = [];
  bytes = 0;

  constructor(private readonly pool: BufferPool) {}

  /** Memory that an earlier tensor of this plan has given back, or new memory from the pool. */
  take(bytes: number, size: number): Storage {
    const kept = this.idle.get(size)?.pop();
    if (kept) {
      const storage: Storage = { ...kept, live: true };
      this.owned.delete(kept);
      this.owned.add(storage);
      return storage;
    }
    const storage = this.pool.take(bytes);
    this.owned.add(storage);
    this.bytes += storage.bytes;
    return storage;
  }

  free(storage: Storage): void {
    if (storage.planned) return;
    storage.live = false;
    if (!this.owned.has(storage)) {
      this.deferred.push(storage);
      return;
    }
    const list = this.idle.get(storage.bytes) ?? [];
    list.push(storage);
    this.idle.set(storage.bytes, list);
  }

  /** Ends the recording: from now on the memory lives and dies with the plan, whoever frees its tensors. */
  seal(): void {
    for (const storage of this.owned) storage.planned = true;
  }

  /** Hands all memory back. */
  release(): void {
    for (const storage of this.owned) this.pool.give(storage);
    for (const storage of this.deferred) this.pool.give(storage);
    this.owned.clear();
  }
}

export class RecordedPlan<T> implements Plan<T> {
  readonly commands: number;
  readonly bytes: number;
  private readonly encoded: Encoded[];
  private readonly labels: string[];
  private readonly arena: GPUBuffer;
  private disposed = false;

  constructor(
    readonly result: T,
    private readonly host: PlanHost,
    private readonly builder: PlanBuilder,
  ) {
    const { device } = host.gpu;
    const { commands } = builder;
    this.commands = commands.length;
    this.bytes = builder.bytes;
    this.labels = commands.map(({ label }) => label);
    const words = new Uint32Array(Math.max(1, commands.length) * SLICE_WORDS);
    commands.forEach((command, i) => {
      words.set(command.words, i * SLICE_WORDS);
    });
    const { UNIFORM, COPY_DST } = flags.GPUBufferUsage;
    this.arena = device.createBuffer({ size: words.byteLength, usage: UNIFORM | COPY_DST, label: 'plan' });
    device.queue.writeBuffer(this.arena, 0, words);
    this.encoded = commands.map((command, i) => encode(device, command, this.arena, i * SLICE_BYTES));
    // Sizes and names are all that is needed from here on.
    commands.length = 0;
  }

  run(): void {
    this.assertAlive();
    this.host.enqueue(this.encoded);
  }

  /**
   * Runs the plan once with a time stamp around every launch: milliseconds of each, in order. Launches are serialised, so
   * their total exceeds the time of `run` by the overlap a pass would allow.
   *
   * @throws EngineError `NO_TIMESTAMPS` where the adapter has none.
   */
  async timings(): Promise<{ kernel: string; ms: number }[]> {
    this.assertAlive();
    const { device, timestamps } = this.host.gpu;
    if (!timestamps) {
      throw new EngineError({
        code: 'NO_TIMESTAMPS',
        message: 'this adapter cannot time its work',
        fix: 'time whole runs',
      });
    }
    this.host.flush();
    const { QUERY_RESOLVE, COPY_SRC } = flags.GPUBufferUsage;
    const launches: { kernel: string; ms: number }[] = [];
    // A query set holds 4096 stamps.
    const most = 2048;
    for (let start = 0; start < this.encoded.length; start += most) {
      const part = this.encoded.slice(start, start + most);
      const querySet = device.createQuerySet({ type: 'timestamp', count: part.length * 2 });
      const buffer = device.createBuffer({ size: part.length * 16, usage: QUERY_RESOLVE | COPY_SRC });
      const encoder = device.createCommandEncoder();
      part.forEach(({ pipeline, group, x, y, z }, i) => {
        const timestampWrites = { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 };
        const pass = encoder.beginComputePass({ timestampWrites });
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(x, y, z);
        pass.end();
      });
      encoder.resolveQuerySet(querySet, 0, part.length * 2, buffer, 0);
      device.queue.submit([encoder.finish()]);
      const times = new BigUint64Array(await this.host.readBytes(buffer, 0, part.length * 16));
      buffer.destroy();
      querySet.destroy();
      for (let i = 0; i < part.length; i++) {
        launches.push({ kernel: this.labels[start + i], ms: Number(times[2 * i + 1] - times[2 * i]) / 1e6 });
      }
    }
    return launches;
  }

  /** The sums of `timings` by kernel, the most expensive first. */
  async profile(): Promise<ProfileRow[]> {
    const rows = new Map<string, { launches: number; ms: number }>();
    for (const { kernel, ms } of await this.timings()) {
      const row = rows.get(kernel) ?? { launches: 0, ms: 0 };
      row.launches++;
      row.ms += ms;
      rows.set(kernel, row);
    }
    return [...rows].map(([kernel, row]) => ({ kernel, ...row })).sort((a, b) => b.ms - a.ms);
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    // Runs that are enqueued but not submitted still name these buffers.
    this.host.flush();
    this.arena.destroy();
    this.builder.release();
  }

  private assertAlive(): void {
    if (this.disposed) {
      throw new EngineError({ code: 'PLAN_DISPOSED', message: 'the plan was disposed of', fix: 'record it again' });
    }
  }
}
