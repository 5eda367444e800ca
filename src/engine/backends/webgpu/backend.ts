/**
 * The WebGPU backend. Launches outside a plan are collected and submitted together, at the latest when a result is
 * waited for; plans enqueue their prepared launches into the same queue, so everything runs in the order it was asked for.
 */
import type { Backend, NumericArray } from '../../backend.js';
import { EngineError } from '../../errors.js';
import type { Kernels } from '../../kernels.js';
import { columnsOf, type DType, isContiguous, rowsOf, sizeOf, type Tensor } from '../../tensor.js';
import { type Dispatch, type Encoded, encode, resolve, SLICE_BYTES, SLICE_WORDS, storageOf } from './command.js';
import { flags, type GpuDevice } from './device.js';
import { createKernels } from './kernels.js';
import { PlanBuilder, RecordedPlan } from './plan.js';
import { BufferPool, sizeClass } from './pool.js';
import { Programs } from './program.js';
import type { Recorder } from './recorder.js';
import { Staging } from './staging.js';

export interface WebgpuBackendOptions {
  /** Longest wait for the GPU in milliseconds, after which it counts as hung. */
  timeoutMs?: number;
  /** Launches in one submission: fewer let the GPU begin earlier, more cost less time on the CPU. */
  launchesPerSubmit?: number;
}

/** Uniform slices for launches outside plans; when they are used up, what is enqueued is submitted. */
const EAGER_SLICES = 512;

/** Bytes from which on a write goes through staging memory that is kept. */
const LARGE_WRITE = 2 ** 20;

const BYTES: Record<DType, number> = { f32: 4, f16: 2, i32: 4 };

export class WebgpuBackend implements Backend, Recorder {
  readonly name = 'webgpu';
  readonly description: string;
  readonly trains = true;
  readonly kernels: Kernels;
  poison = false;
  readonly memory: { readonly bytes: number; readonly peak: number; resetPeak(): void };

  private readonly programs: Programs;
  private readonly pool: BufferPool;
  private readonly staging: Staging;
  private readonly eagerArena: GPUBuffer;
  private readonly eagerWords = new Uint32Array(EAGER_SLICES * SLICE_WORDS);
  private eagerUsed = 0;
  private pending: (readonly Encoded[])[] = [];
  private pendingLaunches = 0;
  private builder: PlanBuilder | undefined;
  private readonly timeoutMs: number;
  private readonly launchesPerSubmit: number;
  private disposed = false;

  constructor(
    readonly gpu: GpuDevice,
    private readonly release: () => void,
    options: WebgpuBackendOptions = {},
  ) {
    this.timeoutMs = options.timeoutMs ?? (gpu.software ? 600_000 : 120_000);
    this.launchesPerSubmit = options.launchesPerSubmit ?? 128;
    const abilities = [
      gpu.subgroupMatrix ? 'f16 matrices' : gpu.f16 ? 'f16' : 'f32 only',
      gpu.software ? 'software' : undefined,
    ];
    this.description = `${gpu.description} (${abilities.filter(Boolean).join(', ')})`;
    this.programs = new Programs(gpu);
    const pool = new BufferPool(gpu);
    this.pool = pool;
    this.staging = new Staging(gpu.device);
    const { UNIFORM, COPY_DST } = flags.GPUBufferUsage;
    this.eagerArena = gpu.device.createBuffer({ size: EAGER_SLICES * SLICE_BYTES, usage: UNIFORM | COPY_DST });
    this.memory = {
      get bytes() {
        return pool.bytes;
      },
      get peak() {
        return pool.peak;
      },
      resetPeak() {
        pool.peak = pool.bytes;
      },
    };
    this.kernels = createKernels(this);
  }

  get recording(): boolean {
    return this.builder !== undefined;
  }

  alloc(shape: readonly number[], dtype: DType = 'f32'): Tensor {
    this.assertUsable();
    if (dtype === 'f16' && !this.gpu.f16) {
      throw new EngineError({ code: 'NO_F16', message: `${this.gpu.description} has no f16`, fix: 'use f32' });
    }
    const bytes = sizeOf(shape) * BYTES[dtype];
    const storage = this.builder ? this.builder.take(bytes, sizeClass(bytes)) : this.pool.take(bytes);
    const tensor: Tensor = { shape: [...shape], dtype, offset: 0, stride: shape[shape.length - 1] ?? 1, storage };
    if (this.poison) {
      const words = storage.bytes / 4;
      const workgroups = Math.min(Math.ceil(words / 256), 4096);
      this.dispatch({ kernel: 'poison', bindings: { data: tensor }, params: { words }, workgroups });
    }
    return tensor;
  }

  free(t: Tensor): void {
    const storage = storageOf(t);
    if (!storage.live) throw new EngineError({ code: 'DOUBLE_FREE', message: 'the tensor was freed before' });
    if (this.builder) this.builder.free(storage);
    else if (!storage.planned) {
      if (this.pool.isFull(storage)) this.flush();
      this.pool.give(storage);
    }
  }

  write(t: Tensor, data: ArrayLike<number>): void {
    this.assertUsable();
    this.assertNotRecording('write');
    const size = sizeOf(t.shape);
    if (data.length !== size) throw new RangeError(`${data.length} numbers for a tensor [${t.shape}]`);
    if (size === 0) return;
    if (t.stride === 0 && rowsOf(t) > 1) throw new RangeError('cannot write a tensor with stride 0');
    if (!storageOf(t).live) throw new EngineError({ code: 'KERNEL_CALL', message: 'write: the tensor was freed' });
    if (t.dtype !== 'f16' && isContiguous(t)) {
      const words = t.dtype === 'i32' ? asInt32(data) : asFloat32(data);
      // The queue runs a write before anything that is submitted after it, so what came first has to go first.
      this.flush();
      if (words.byteLength >= LARGE_WRITE) this.staging.write(storageOf(t).buffer, t.offset * 4, words);
      else this.gpu.device.queue.writeBuffer(storageOf(t).buffer, t.offset * 4, unshared(words));
      return;
    }
    const staged = this.alloc(t.shape, t.dtype === 'i32' ? 'i32' : 'f32');
    this.write(staged, data);
    this.kernels.copy(t, staged);
    this.free(staged);
  }

  async read(t: Tensor): Promise<NumericArray> {
    this.assertUsable();
    this.assertNotRecording('read');
    const size = sizeOf(t.shape);
    const make = (buffer: ArrayBuffer) => (t.dtype === 'i32' ? new Int32Array(buffer) : new Float32Array(buffer));
    if (size === 0) {
      await this.sync();
      return make(new ArrayBuffer(0));
    }
    if (!storageOf(t).live) throw new EngineError({ code: 'KERNEL_CALL', message: 'read: the tensor was freed' });
    if (t.dtype !== 'f16' && (isContiguous(t) || columnsOf(t) === size)) {
      return make(await this.readBytes(storageOf(t).buffer, t.offset * 4, size * 4));
    }
    const packed = this.alloc(t.shape, t.dtype === 'i32' ? 'i32' : 'f32');
    this.kernels.copy(packed, t);
    const result = this.readBytes(storageOf(packed).buffer, 0, size * 4);
    this.free(packed);
    return make(await result);
  }

  async sync(): Promise<void> {
    this.assertUsable();
    this.flush();
    await this.wait(this.gpu.device.queue.onSubmittedWorkDone());
  }

  record<T>(build: () => T): RecordedPlan<T> {
    this.assertUsable();
    this.assertNotRecording('record');
    const builder = new PlanBuilder(this.pool);
    this.builder = builder;
    try {
      const result = build();
      builder.seal();
      return new RecordedPlan(result, this, builder);
    } catch (error) {
      builder.release();
      throw error;
    } finally {
      this.builder = undefined;
    }
  }

  dispatch(call: Dispatch): void {
    this.assertUsable();
    const command = resolve(call, this.programs, this.pool);
    if (!command) return;
    if (this.builder) {
      this.builder.commands.push(command);
      return;
    }
    if (this.eagerUsed === EAGER_SLICES) this.flush();
    const slice = this.eagerUsed++;
    this.eagerWords.set(command.words, slice * SLICE_WORDS);
    this.enqueue([encode(this.gpu.device, command, this.eagerArena, slice * SLICE_BYTES)]);
  }

  enqueue(commands: readonly Encoded[]): void {
    this.pending.push(commands);
    this.pendingLaunches += commands.length;
    if (this.pendingLaunches >= this.launchesPerSubmit) this.flush();
  }

  flush(): void {
    if (this.pending.length === 0) return;
    const { device } = this.gpu;
    if (this.eagerUsed > 0) {
      device.queue.writeBuffer(this.eagerArena, 0, this.eagerWords, 0, this.eagerUsed * SLICE_WORDS);
      this.eagerUsed = 0;
    }
    const lists = this.pending;
    this.pending = [];
    this.pendingLaunches = 0;
    let encoder = device.createCommandEncoder();
    let pass = encoder.beginComputePass();
    let pipeline: GPUComputePipeline | undefined;
    let launches = 0;
    for (const list of lists) {
      for (const command of list) {
        if (launches === this.launchesPerSubmit) {
          pass.end();
          device.queue.submit([encoder.finish()]);
          encoder = device.createCommandEncoder();
          pass = encoder.beginComputePass();
          pipeline = undefined;
          launches = 0;
        }
        if (command.pipeline !== pipeline) {
          pipeline = command.pipeline;
          pass.setPipeline(pipeline);
        }
        pass.setBindGroup(0, command.group);
        pass.dispatchWorkgroups(command.x, command.y, command.z);
        launches++;
      }
    }
    pass.end();
    device.queue.submit([encoder.finish()]);
  }

  async readBytes(buffer: GPUBuffer, offset: number, bytes: number): Promise<ArrayBuffer> {
    this.flush();
    const { device } = this.gpu;
    const { MAP_READ, COPY_DST } = flags.GPUBufferUsage;
    const staging = device.createBuffer({ size: bytes, usage: MAP_READ | COPY_DST });
    try {
      const encoder = device.createCommandEncoder();
      encoder.copyBufferToBuffer(buffer, offset, staging, 0, bytes);
      device.queue.submit([encoder.finish()]);
      await this.wait(staging.mapAsync(flags.GPUMapMode.READ));
      return staging.getMappedRange().slice(0);
    } finally {
      staging.destroy();
    }
  }

  async dispose(): Promise<void> {
    if (this.disposed) return;
    if (!this.gpu.lost) {
      this.flush();
      await within(
        this.gpu.device.queue.onSubmittedWorkDone().catch(() => undefined),
        this.timeoutMs,
      );
    }
    this.disposed = true;
    this.pool.dispose();
    this.staging.dispose();
    this.eagerArena.destroy();
    this.release();
  }

  /** Waits for `work`, then for every verdict on what was compiled and allocated, and throws the first error there was. */
  private async wait(work: Promise<unknown>): Promise<void> {
    let rejected: unknown;
    const settled = work.then(
      () => undefined,
      (error: unknown) => {
        rejected = error;
      },
    );
    if ((await within(settled, this.timeoutMs)) === TIMED_OUT) {
      throw new EngineError({
        code: 'GPU_TIMEOUT',
        message: `the GPU has not finished within ${this.timeoutMs} ms`,
        fix: 'restart the process that owns the GPU; use smaller batches if it happens again',
      });
    }
    await this.programs.checked();
    await this.pool.checked();
    // Errors are events: those of work that is done are delivered before the next turn of the loop.
    if (rejected) await new Promise((resolve) => setImmediate(resolve));
    const failure = this.gpu.failure();
    if (failure) {
      this.gpu.clearFailure();
      throw failure;
    }
    if (rejected) {
      throw new EngineError({
        code: 'GPU_ERROR',
        message: `waiting for the GPU failed: ${(rejected as Error).message}`,
        fix: 'create the backend again',
        cause: rejected,
      });
    }
  }

  private assertUsable(): void {
    if (this.disposed) throw new EngineError({ code: 'BACKEND_DISPOSED', message: 'the backend was disposed of' });
  }

  private assertNotRecording(what: string): void {
    if (this.builder) {
      throw new EngineError({
        code: 'RECORDING',
        message: `${what} is not allowed while a plan is recorded`,
        fix: 'do it before or after record()',
      });
    }
  }
}

function asFloat32(data: ArrayLike<number>): Float32Array {
  return data instanceof Float32Array ? data : Float32Array.from(data);
}

function asInt32(data: ArrayLike<number>): Int32Array {
  return data instanceof Int32Array ? data : Int32Array.from(data);
}

/** The device reads no shared memory. */
function unshared(words: Float32Array | Int32Array): Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> {
  return (words.buffer instanceof ArrayBuffer ? words : words.slice()) as Float32Array<ArrayBuffer>;
}

const TIMED_OUT = Symbol('timed out');

/** What `work` gives, or TIMED_OUT after `ms`. */
async function within<T>(work: Promise<T>, ms: number): Promise<T | typeof TIMED_OUT> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<typeof TIMED_OUT>((resolve) => {
    timer = setTimeout(() => resolve(TIMED_OUT), ms);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
