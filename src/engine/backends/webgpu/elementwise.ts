/** Kernels that work element by element. */
import type { BinaryArgs, UnaryArgs } from '../../kernels.js';
import { columnsOf, sizeOf, type Tensor } from '../../tensor.js';
import type { Recorder } from './recorder.js';

/** Numbers of include/ops in elementwise.wgsl. */
const OPS = { copy: 0, fill: 1, add: 2, mul: 3, silu: 10, softplus: 11, exp: 12, asinh: 13, sigmoid: 14 } as const;

function launch(recorder: Recorder, op: keyof typeof OPS, out: Tensor, a?: Tensor, b?: Tensor, value = 0): void {
  const size = sizeOf(out.shape);
  recorder.dispatch({
    kernel: 'elementwise',
    label: op,
    constants: { OP: OPS[op], OUT: out.dtype, A: a?.dtype ?? 'f32', B: b?.dtype ?? 'f32' },
    bindings: { out, a, b },
    params: { size, columns: columnsOf(out), value },
    workgroups: Math.ceil(size / 256),
  });
}

export function unary(recorder: Recorder, { out, x, fn }: UnaryArgs): void {
  launch(recorder, fn, out, x);
}

export function binary(recorder: Recorder, { out, a, b, fn }: BinaryArgs): void {
  launch(recorder, fn, out, a, b);
}

export function fill(recorder: Recorder, out: Tensor, value: number): void {
  launch(recorder, 'fill', out, undefined, undefined, value);
}

export function copy(recorder: Recorder, out: Tensor, x: Tensor): void {
  launch(recorder, 'copy', out, x);
}
