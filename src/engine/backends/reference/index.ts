/**
 * The reference backend: plain TypeScript, float64, one obvious loop after another. It is the oracle every other
 * backend is compared with, so nothing here is clever.
 */
import type { Backend, NumericArray, Plan } from '../../backend.js';
import type { Kernels } from '../../kernels.js';
import { columnsOf, type DType, rowsOf, sizeOf, type Tensor } from '../../tensor.js';
import { at, fill } from './access.js';
import { attention, attentionBackward } from './attention.js';
import { conv, convBackward } from './conv.js';
import * as dense from './dense.js';
import * as losses from './losses.js';
import * as scans from './scan.js';

const implementation: Kernels = {
  ...dense,
  ...losses,
  ...scans,
  conv,
  convBackward,
  attention,
  attentionBackward,
  fill,
  checkpointShape: () => undefined,
};

type Storage = Float64Array | Int32Array;

interface Recording {
  commands: (() => void)[];
  /** Storage given back while recording, ready for later tensors of the same plan. */
  spare: Storage[];
  bytes: number;
}

class ReferenceBackend implements Backend {
  readonly name = 'reference';
  readonly description = 'plain TypeScript, float64';
  readonly trains = true;
  readonly kernels: Kernels;
  poison = false;
  private plan: Recording | undefined;
  private bytes = 0;
  private peak = 0;
  readonly memory: Backend['memory'];

  constructor() {
    const enqueued = Object.entries(implementation).map(([name, kernel]) => [
      name,
      name === 'checkpointShape'
        ? kernel
        : (...args: unknown[]) => this.enqueue(() => (kernel as (...a: unknown[]) => void)(...args)),
    ]);
    this.kernels = Object.fromEntries(enqueued) as Kernels;
    const backend = this;
    this.memory = {
      get bytes() {
        return backend.bytes;
      },
      get peak() {
        return backend.peak;
      },
      resetPeak: () => {
        this.peak = this.bytes;
      },
    };
  }

  get recording(): boolean {
    return this.plan !== undefined;
  }

  private enqueue(command: () => void): void {
    if (this.plan) this.plan.commands.push(command);
    else command();
  }

  alloc(shape: readonly number[], dtype: DType = 'f32'): Tensor {
    const size = sizeOf(shape);
    const spare = this.plan?.spare ?? [];
    const found = spare.findIndex((s) => s.length === size && s instanceof Int32Array === (dtype === 'i32'));
    const storage: Storage =
      found >= 0 ? spare.splice(found, 1)[0] : dtype === 'i32' ? new Int32Array(size) : new Float64Array(size);
    if (found < 0) {
      if (this.plan) this.plan.bytes += storage.byteLength;
      this.bytes += storage.byteLength;
      this.peak = Math.max(this.peak, this.bytes);
    }
    const tensor: Tensor = { shape: [...shape], dtype, offset: 0, stride: shape[shape.length - 1] ?? 1, storage };
    if (this.poison) this.enqueue(() => storage.fill(Number.NaN));
    return tensor;
  }

  free(t: Tensor): void {
    const storage = t.storage as Storage;
    // Whatever still reads a freed tensor must show: the oracle has no other way to notice.
    this.enqueue(() => storage.fill(Number.NaN));
    if (this.plan) this.plan.spare.push(storage);
    else this.bytes -= storage.byteLength;
  }

  write(t: Tensor, data: ArrayLike<number>): void {
    if (this.plan) throw new Error('write is not allowed while recording');
    const width = columnsOf(t);
    if (data.length !== sizeOf(t.shape))
      throw new RangeError(`${data.length} numbers for a tensor of shape [${t.shape}]`);
    for (let r = 0; r < rowsOf(t); r++) {
      for (let j = 0; j < width; j++) (t.storage as Storage)[at(t, r) + j] = data[r * width + j];
    }
  }

  async read(t: Tensor): Promise<NumericArray> {
    const width = columnsOf(t);
    const size = sizeOf(t.shape);
    const copy = t.dtype === 'i32' ? new Int32Array(size) : new Float64Array(size);
    for (let r = 0; r < rowsOf(t); r++) {
      for (let j = 0; j < width; j++) copy[r * width + j] = (t.storage as Storage)[at(t, r) + j];
    }
    return copy;
  }

  async sync(): Promise<void> {}

  record<T>(build: () => T): Plan<T> {
    if (this.plan) throw new Error('a plan is already being recorded');
    const recording: Recording = { commands: [], spare: [], bytes: 0 };
    this.plan = recording;
    try {
      const result = build();
      return {
        result,
        commands: recording.commands.length,
        bytes: recording.bytes,
        run: () => {
          for (const command of recording.commands) command();
        },
        dispose: () => {
          this.bytes -= recording.bytes;
          recording.bytes = 0;
          recording.commands = [];
        },
      };
    } finally {
      this.plan = undefined;
    }
  }

  async dispose(): Promise<void> {}
}

export function createReferenceBackend(): Backend {
  return new ReferenceBackend();
}
