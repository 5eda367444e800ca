/** Options that the scans share, as kernels see them. */
import { EngineError } from '../../../errors.js';
import type { SelectiveScanArgs } from '../../../kernels.js';
import { columnsOf, isContiguous, type Tensor } from '../../../tensor.js';

/** Largest finite float: shaders may assume that infinities do not happen. */
const LARGEST = 3.402823e38;

/** Bounds of the step size as params. */
export function dtBounds(dtLimit: readonly [number, number] | undefined): { dtLow: number; dtHigh: number } {
  const [low, high] = dtLimit ?? [0, LARGEST];
  return { dtLow: low, dtHigh: Math.min(high, LARGEST) };
}

/** Which of a scan's options are used: constants that every kernel of the family has. */
export function optionsOf(args: Pick<SelectiveScanArgs, 'skip' | 'dtBias' | 'z' | 'lengths' | 'discretisation'>) {
  return {
    HAS_Z: args.z !== undefined,
    HAS_SKIP: args.skip !== undefined,
    HAS_BIAS: args.dtBias !== undefined,
    HAS_LENGTHS: args.lengths !== undefined,
    ZOH: args.discretisation === 'zoh',
  };
}

/** The kernels read parameters and states as dense arrays of f32. */
export function assertDense(tensors: Record<string, Tensor | undefined>): void {
  for (const [name, tensor] of Object.entries(tensors)) {
    if (tensor && !isContiguous(tensor)) {
      throw new EngineError({
        code: 'KERNEL_CALL',
        message: `${name} of a scan has stride ${tensor.stride} with ${columnsOf(tensor)} columns; it must be contiguous`,
        fix: 'copy it into a contiguous tensor first',
      });
    }
  }
}
