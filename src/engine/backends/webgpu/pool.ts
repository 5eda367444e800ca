/**
 * Device memory. Buffers are rounded up to size classes (quarter powers of two), kept when given back, and handed out
 * again: commands run in the order they are enqueued, so a buffer may be reused while its last reader is still queued.
 */
import { EngineError } from '../../errors.js';
import { firstLine, flags, type GpuDevice } from './device.js';

/** What `Tensor.storage` is on this backend. */
export interface Storage {
  readonly id: number;
  readonly buffer: GPUBuffer;
  /** Size of the buffer, a size class. */
  readonly bytes: number;
  /** False after `free`; using a freed tensor is an error. */
  live: boolean;
  /** Whether it belongs to a recorded plan, which alone gives it back. */
  planned: boolean;
}

/** Bytes of idle buffers to keep for later. */
const IDLE_LIMIT = 2 ** 30;

/** The smallest size class that holds `bytes`. */
export function sizeClass(bytes: number): number {
  if (bytes <= 256) return 256;
  const step = 2 ** (Math.ceil(Math.log2(bytes)) - 3);
  return Math.ceil(bytes / step) * step;
}

export class BufferPool {
  private readonly idle = new Map<number, Storage[]>();
  private idleBytes = 0;
  private nextId = 1;
  private readonly checks = new Set<Promise<void>>();
  private readonly dummies: Storage[] = [];
  /** Bytes of buffers in use. */
  bytes = 0;
  peak = 0;

  constructor(private readonly gpu: GpuDevice) {}

  /** A buffer of at least `bytes`; contents undefined. */
  take(bytes: number): Storage {
    const size = sizeClass(bytes);
    const { maxBufferSize, maxStorageBufferBindingSize } = this.gpu.limits;
    if (size > maxStorageBufferBindingSize || size > maxBufferSize) {
      const limit = Math.min(maxStorageBufferBindingSize, maxBufferSize);
      throw new EngineError({
        code: 'TENSOR_TOO_LARGE',
        message: `a tensor of ${bytes} bytes exceeds the ${limit} bytes that ${this.gpu.description} can bind`,
        fix: 'use a smaller batch or a shorter length',
      });
    }
    const list = this.idle.get(size);
    const kept = list?.pop();
    if (kept) this.idleBytes -= size;
    const storage: Storage = kept ? { ...kept, id: this.nextId++, live: true, planned: false } : this.create(size);
    this.bytes += size;
    this.peak = Math.max(this.peak, this.bytes);
    return storage;
  }

  /** Takes a buffer back. The caller makes sure that no unsubmitted command uses it when it may be destroyed. */
  give(storage: Storage): void {
    storage.live = false;
    this.bytes -= storage.bytes;
    if (this.idleBytes + storage.bytes > IDLE_LIMIT) {
      storage.buffer.destroy();
      return;
    }
    const list = this.idle.get(storage.bytes) ?? [];
    list.push(storage);
    this.idle.set(storage.bytes, list);
    this.idleBytes += storage.bytes;
  }

  /** Whether `give` would destroy the buffer at once. */
  isFull(storage: Storage): boolean {
    return this.idleBytes + storage.bytes > IDLE_LIMIT;
  }

  /** Stands in for the optional tensor that is absent at a binding; one per binding, because two may not share. */
  dummy(binding: number): Storage {
    while (this.dummies.length <= binding) this.dummies.push(this.create(256));
    return this.dummies[binding];
  }

  /** Resolves when every allocation so far is known to have succeeded or failed; failures are noted on the device. */
  async checked(): Promise<void> {
    while (this.checks.size > 0) await Promise.all(this.checks);
  }

  dispose(): void {
    for (const list of this.idle.values()) for (const storage of list) storage.buffer.destroy();
    for (const storage of this.dummies) storage.buffer.destroy();
    this.idle.clear();
    this.idleBytes = 0;
  }

  private create(size: number): Storage {
    const { device } = this.gpu;
    const { STORAGE, COPY_SRC, COPY_DST } = flags.GPUBufferUsage;
    device.pushErrorScope('out-of-memory');
    const buffer = device.createBuffer({ size, usage: STORAGE | COPY_SRC | COPY_DST });
    const check = device.popErrorScope().then(
      (error) => {
        if (!error) return;
        this.gpu.fail(
          new EngineError({
            code: 'GPU_OUT_OF_MEMORY',
            message: `the GPU has no memory left for ${size} bytes (${this.bytes} in use): ${firstLine(error.message)}`,
            fix: 'use a smaller batch or a shorter length',
          }),
          true,
        );
      },
      () => undefined,
    );
    this.checks.add(check);
    check.finally(() => this.checks.delete(check));
    return { id: this.nextId++, buffer, bytes: size, live: true, planned: false };
  }
}
