/**
 * The wasm backend: inference on the CPU with AssemblyScript kernels in SIMD (or relaxed SIMD, where the runtime takes
 * it) and worker threads. Kernel calls run at once on the calling thread, helped by the workers; `read` and `sync` never
 * wait. Results do not depend on the number of threads.
 */
import { availableParallelism } from 'node:os';
import type { Backend, NumericArray, Plan } from '../../backend.js';
import { EngineError } from '../../errors.js';
import type { Kernels } from '../../kernels.js';
import { columnsOf, type DType, isContiguous, rowsOf, sizeOf, type Tensor } from '../../tensor.js';
import { blockOf } from './block.js';
import { COMMAND_BYTES } from './commands.js';
import * as elementwise from './elementwise.js';
import { Executor, markStale } from './executor.js';
import { matmul } from './matmul.js';
import { type Build, type CompiledModule, loadModule } from './module.js';
import { classOf, Pool } from './pool.js';
import * as rowKernels from './rows.js';
import * as sequence from './sequence.js';
import { Threads } from './threads.js';
import { trainingKernels } from './unsupported.js';

export interface WasmOptions {
  /** Threads that compute, the calling one included. Default: ADDER_THREADS, else the cores this process may use. */
  threads?: number;
  /** Default: relaxed where the runtime takes it. */
  build?: Build;
}

export async function createWasmBackend(options: WasmOptions = {}): Promise<Backend> {
  const threads = threadCount(options.threads);
  return new WasmBackend(await loadModule(options.build), threads);
}

function threadCount(wanted: number | undefined): number {
  const text = process.env.ADDER_THREADS;
  const count = wanted ?? (text ? Number(text) : availableParallelism());
  if (!Number.isInteger(count) || count < 1 || count > 256) {
    throw new EngineError({
      code: 'BAD_OPTION',
      message: `${wanted ?? text} is no number of threads`,
      where: { field: wanted === undefined ? 'ADDER_THREADS' : 'threads' },
      fix: 'give a whole number from 1 to 256',
    });
  }
  return count;
}

class WasmBackend implements Backend {
  readonly name = 'wasm';
  readonly description: string;
  readonly trains = false;
  readonly kernels: Kernels;
  readonly memory: Backend['memory'];
  private readonly executor: Executor;
  private readonly threads: Threads;
  private disposed = false;

  constructor({ build, module }: CompiledModule, threads: number) {
    const pool = new Pool();
    this.threads = new Threads(threads, module, pool.memory);
    this.executor = new Executor(pool, this.threads, module);
    this.description = `WebAssembly ${build === 'relaxed' ? 'relaxed SIMD' : 'SIMD'}, ${threads} thread${threads > 1 ? 's' : ''}`;
    this.kernels = kernelsOf(this.executor);
    const { executor } = this;
    this.memory = {
      get bytes() {
        return executor.bytes;
      },
      get peak() {
        return executor.peak;
      },
      resetPeak() {
        executor.peak = executor.bytes;
      },
    };
  }

  get recording(): boolean {
    return this.executor.recording !== undefined;
  }
  get poison(): boolean {
    return this.executor.poison;
  }
  set poison(on: boolean) {
    this.executor.poison = on;
  }

  alloc(shape: readonly number[], dtype: DType = 'f32'): Tensor {
    return this.executor.alloc(shape, dtype);
  }

  free(t: Tensor): void {
    this.executor.free(t);
  }

  write(t: Tensor, data: ArrayLike<number>): void {
    if (this.recording) {
      throw new EngineError({
        code: 'RECORDING',
        message: 'write is not allowed while recording',
        fix: 'write before or after',
      });
    }
    const block = blockOf(t, this.executor.pool, 'write');
    const width = columnsOf(t);
    if (data.length !== sizeOf(t.shape) || (t.stride < width && rowsOf(t) > 1)) {
      throw new EngineError({
        code: 'BAD_SHAPE',
        message: `${data.length} numbers for a tensor of shape [${t.shape}] and stride ${t.stride}`,
        where: { field: 'write' },
      });
    }
    markStale(block);
    const view = t.dtype === 'i32' ? this.executor.pool.i32 : this.executor.pool.f32;
    const first = block.at / 4 + t.offset;
    if (isContiguous(t)) {
      view.set(data, first);
      return;
    }
    for (let r = 0; r < rowsOf(t); r++) {
      const row = first + r * t.stride;
      for (let c = 0; c < width; c++) view[row + c] = data[r * width + c];
    }
  }

  view(t: Tensor): Float32Array | Int32Array {
    const { executor } = this;
    const block = blockOf(t, executor.pool, 'view');
    if (this.recording || !isContiguous(t)) {
      throw new EngineError({
        code: this.recording ? 'RECORDING' : 'BAD_SHAPE',
        message: this.recording ? 'view is not allowed while recording' : `no view of a tensor of stride ${t.stride}`,
        fix: this.recording ? 'view before or after' : 'read and write it instead',
      });
    }
    markStale(block);
    const first = block.at / 4 + t.offset;
    const all = t.dtype === 'i32' ? executor.pool.i32 : executor.pool.f32;
    return all.subarray(first, first + sizeOf(t.shape));
  }

  async read(t: Tensor): Promise<NumericArray> {
    const block = blockOf(t, this.executor.pool, 'read');
    const view = t.dtype === 'i32' ? this.executor.pool.i32 : this.executor.pool.f32;
    const [width, count] = [columnsOf(t), rowsOf(t)];
    const first = block.at / 4 + t.offset;
    if (isContiguous(t)) return view.slice(first, first + width * count);
    const copy = t.dtype === 'i32' ? new Int32Array(width * count) : new Float32Array(width * count);
    for (let r = 0; r < count; r++) {
      const row = first + r * t.stride;
      copy.set(view.subarray(row, row + width), r * width);
    }
    return copy;
  }

  async sync(): Promise<void> {}

  record<T>(build: () => T): Plan<T> {
    const { executor, threads } = this;
    const { result, recording, list, count } = executor.record(build);
    const { packs, writes } = recording;
    const parallel = recording.commands.some((words) => words[3] !== 0);
    let alive = true;
    return {
      result,
      commands: count,
      bytes: recording.bytes,
      run() {
        if (!alive) throw new EngineError({ code: 'DISPOSED', message: 'this plan was disposed' });
        if (executor.recording) {
          throw new EngineError({ code: 'RECORDING', message: 'a plan cannot run while another is recorded' });
        }
        if (parallel) threads.start();
        executor.refresh(packs);
        executor.run(list, count);
        for (const block of writes) markStale(block);
      },
      dispose() {
        if (!alive) return;
        alive = false;
        executor.release(recording);
        executor.giveBytes(list, classOf(Math.max(1, count) * COMMAND_BYTES));
      },
    };
  }

  async dispose(): Promise<void> {
    if (this.disposed) return;
    this.disposed = true;
    await this.threads.dispose();
  }
}

function kernelsOf(executor: Executor): Kernels {
  return {
    ...trainingKernels,
    matmul: (args) => matmul(executor, args),
    embedding: (args) => rowKernels.embedding(executor, args),
    rmsNorm: (args) => rowKernels.rmsNorm(executor, args),
    gatedRmsNorm: (args) => rowKernels.gatedRmsNorm(executor, args),
    quantileMixture: (args) => rowKernels.quantileMixture(executor, args),
    columnSum: (out, x, accumulate) => rowKernels.columnSum(executor, out, x, accumulate),
    sumSquares: (out, x) => rowKernels.sumSquares(executor, out, x),
    conv: (args) => sequence.conv(executor, args),
    selectiveScan: (args) => sequence.selectiveScan(executor, args),
    ssd: (args) => sequence.ssd(executor, args),
    attention: (args) => sequence.attention(executor, args),
    swiglu: (args) => elementwise.swiglu(executor, args),
    unary: (args) => elementwise.unary(executor, args),
    binary: (args) => elementwise.binary(executor, args),
    fill: (out, value) => elementwise.fill(executor, out, value),
    copy: (out, x) => elementwise.copy(executor, out, x),
    // Nothing is kept for backward passes, which are not here.
    checkpointShape: () => undefined,
  };
}
