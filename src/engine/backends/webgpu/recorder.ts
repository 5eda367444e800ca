/** What kernel functions see of the backend: memory, launches, and what the device can do. */
import type { DType, Tensor } from '../../tensor.js';
import type { Dispatch } from './command.js';
import type { GpuDevice } from './device.js';

export interface Recorder {
  readonly gpu: GpuDevice;
  /** Launch a kernel now, or keep it in the plan being recorded. */
  dispatch(call: Dispatch): void;
  /** Scratch memory; `free` it after the last dispatch that uses it has been made. */
  alloc(shape: readonly number[], dtype?: DType): Tensor;
  free(t: Tensor): void;
}
