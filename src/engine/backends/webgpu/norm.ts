/** RMS norms, plain and gated. */
import type { GatedRmsNormArgs, GatedRmsNormBackwardArgs, RmsNormArgs, RmsNormBackwardArgs } from '../../kernels.js';
import { columnsOf, rowsOf, type Tensor } from '../../tensor.js';
import type { Recorder } from './recorder.js';
import { columnSum } from './reduce.js';

/** Invocations a row, and elements each of them keeps in registers. */
function shape(width: number): { THREADS: number; PER: number } {
  const THREADS = width <= 128 ? 32 : width <= 512 ? 64 : 256;
  return { THREADS, PER: Math.ceil(width / THREADS) };
}

function forward(recorder: Recorder, args: RmsNormArgs, z: Tensor | undefined, groupSize: number): void {
  const { out, x, weight, eps } = args;
  const nGroups = columnsOf(x) / groupSize;
  recorder.dispatch({
    kernel: 'rms-norm',
    label: z ? 'gated-rms-norm' : 'rms-norm',
    constants: { ...shape(groupSize), GATED: z !== undefined },
    bindings: { out, input: x, gate: z, weight },
    params: { rows: rowsOf(x), width: groupSize, nGroups, eps },
    workgroups: rowsOf(x) * nGroups,
  });
}

export function rmsNorm(recorder: Recorder, args: RmsNormArgs): void {
  forward(recorder, args, undefined, columnsOf(args.x));
}

export function gatedRmsNorm(recorder: Recorder, args: GatedRmsNormArgs): void {
  forward(recorder, args, args.z, args.groupSize);
}

type Backward = Omit<RmsNormBackwardArgs, 'accumulate'> & { accumulate?: boolean; z?: Tensor; dZ?: Tensor };

function backward(recorder: Recorder, args: Backward, groupSize: number): void {
  const { dX, dZ, dWeight, dOut, x, z, weight, eps, accumulate = false } = args;
  const [rows, totalWidth] = [rowsOf(x), columnsOf(x)];
  const nGroups = totalWidth / groupSize;
  // A few rows each: partials stay small beside the activations, and a large GPU is full.
  const parts = Math.max(1, Math.min(rows, 1056));
  const part = Math.max(1, Math.ceil(rows / parts));
  const used = Math.max(1, Math.ceil(rows / part));
  const partial = recorder.alloc([used, totalWidth]);
  recorder.dispatch({
    kernel: 'rms-norm-backward',
    label: z ? 'gated-rms-norm-backward' : 'rms-norm-backward',
    constants: { ...shape(groupSize), GATED: z !== undefined, ACCUMULATE: accumulate },
    bindings: { upstream: dOut, input: x, gate: z, weight, dInput: dX, dGate: dZ, partial },
    params: { rows, width: groupSize, part, totalWidth, eps },
    workgroups: [used, nGroups, 1],
  });
  if (dWeight) columnSum(recorder, dWeight, partial);
  recorder.free(partial);
}

export function rmsNormBackward(recorder: Recorder, args: RmsNormBackwardArgs): void {
  backward(recorder, args, columnsOf(args.x));
}

export function gatedRmsNormBackward(recorder: Recorder, args: GatedRmsNormBackwardArgs): void {
  backward(recorder, args, args.groupSize);
}
