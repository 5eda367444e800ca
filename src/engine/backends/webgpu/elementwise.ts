/** Kernels that work element by element. */
import type { BinaryArgs, SwigluArgs, SwigluBackwardArgs, UnaryArgs, UnaryBackwardArgs } from '../../kernels.js';
import { columnsOf, sizeOf, type Tensor } from '../../tensor.js';
import type { Recorder } from './recorder.js';

/** The OP_… of elementwise.wgsl. The slope of a function is its own number plus 10. */
const OPS = { copy: 0, fill: 1, add: 2, mul: 3, silu: 10, softplus: 11, exp: 12, asinh: 13, sigmoid: 14 } as const;
const SLOPE = 10;

function launch(recorder: Recorder, op: number, label: string, out: Tensor, a?: Tensor, b?: Tensor, value = 0): void {
  const size = sizeOf(out.shape);
  recorder.dispatch({
    kernel: 'elementwise',
    label,
    constants: { OP: op, OUT: out.dtype, A: a?.dtype ?? out.dtype, B: b?.dtype ?? out.dtype },
    bindings: { out, a, b },
    params: { size, columns: columnsOf(out), value },
    workgroups: Math.ceil(size / 256),
  });
}

export function unary(recorder: Recorder, { out, x, fn }: UnaryArgs): void {
  launch(recorder, OPS[fn], fn, out, x);
}

export function unaryBackward(recorder: Recorder, { dX, dOut, x, fn }: UnaryBackwardArgs): void {
  launch(recorder, OPS[fn] + SLOPE, `${fn} backward`, dX, dOut, x);
}

export function binary(recorder: Recorder, { out, a, b, fn }: BinaryArgs): void {
  launch(recorder, OPS[fn], fn, out, a, b);
}

export function fill(recorder: Recorder, out: Tensor, value: number): void {
  launch(recorder, OPS.fill, 'fill', out, undefined, undefined, value);
}

export function copy(recorder: Recorder, out: Tensor, x: Tensor): void {
  launch(recorder, OPS.copy, 'copy', out, x);
}

export function swiglu(recorder: Recorder, { out, x }: SwigluArgs): void {
  const size = sizeOf(out.shape);
  recorder.dispatch({
    kernel: 'swiglu',
    constants: { BACKWARD: false },
    bindings: { out, dOut: undefined, x },
    params: { size, columns: columnsOf(out) },
    workgroups: Math.ceil(size / 256),
  });
}

export function swigluBackward(recorder: Recorder, { dX, dOut, x }: SwigluBackwardArgs): void {
  const size = sizeOf(dOut.shape);
  recorder.dispatch({
    kernel: 'swiglu',
    label: 'swiglu backward',
    constants: { BACKWARD: true },
    bindings: { out: dX, dOut, x },
    params: { size, columns: columnsOf(dOut) },
    workgroups: Math.ceil(size / 256),
  });
}
