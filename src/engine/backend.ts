/**
 * What a device must offer. Three implementations: `reference` (float64, slow, the oracle), `wasm` (SIMD, inference),
 * `webgpu` (WGSL, inference and training). One conformance suite runs over all of them.
 *
 * Outside `record`, a kernel call is enqueued at once and calls run in order. Inside `record`, calls are kept in a flat
 * plan instead and run when the plan runs: shapes, buffers and bindings are then fixed, only the data changes. That
 * is how everything repeated (a decode step, a training step, a batch of one length class) is run.
 */
import type { Kernels } from './kernels.js';
import type { DType, Tensor } from './tensor.js';

export type BackendName = 'reference' | 'wasm' | 'webgpu';
export type NumericArray = Float32Array | Float64Array | Int32Array | Uint16Array;

/** A recorded sequence of kernel calls. Tensors allocated while recording live until `dispose`. */
export interface Plan<T> {
  /** What the recorded function returned. Its tensors are overwritten by every run. */
  readonly result: T;
  /** Kernel launches in the plan, for logs and benchmarks. */
  readonly commands: number;
  /** Bytes of device memory the plan's own tensors occupy at their peak. */
  readonly bytes: number;
  /** Enqueue every call once more. Writes made before are seen; read a result to wait for it. */
  run(): void;
  dispose(): void;
}

export interface Backend {
  readonly name: BackendName;
  /** What runs it: the adapter and driver, or the WASM build and its threads. */
  readonly description: string;
  /** Whether backward kernels, losses and the optimiser are there. */
  readonly trains: boolean;
  readonly kernels: Kernels;

  /** New contiguous tensor, contents undefined (NaN while `poison` is on: tests use it to catch unwritten outputs). */
  alloc(shape: readonly number[], dtype?: DType): Tensor;
  /** Give the storage back. Later calls may reuse it, which is safe because calls run in order. Views: free the base only. */
  free(t: Tensor): void;
  /** Copy host numbers into the tensor (any stride but 0). Not allowed while recording. */
  write(t: Tensor, data: ArrayLike<number>): void;
  /** Wait for all enqueued work and copy the tensor out, contiguous. Float64Array on reference, else the dtype's array (f16 widened). */
  read(t: Tensor): Promise<NumericArray>;
  /**
   * The numbers of a contiguous tensor where they lie, on devices that compute in the host's memory: to fill or to read
   * without a copy. Good until the next `alloc`; not allowed while recording.
   */
  view?(t: Tensor): Float32Array | Int32Array;
  /** Wait until enqueued work is done. Rejects with the device's error if there was one. */
  sync(): Promise<void>;

  record<T>(build: () => T): Plan<T>;
  readonly recording: boolean;

  /** Fill new allocations with NaN. */
  poison: boolean;
  /** Bytes now allocated and the most ever allocated since `resetPeak`. */
  readonly memory: { readonly bytes: number; readonly peak: number; resetPeak(): void };
  dispose(): Promise<void>;
}
