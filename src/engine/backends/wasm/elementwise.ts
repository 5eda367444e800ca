/** Element-wise kernels. Contiguous tensors are read as longer rows, so that narrow ones do not pay for their shape. */
import { Op, UnaryOp } from '../../kernels/assembly/opcodes.js';
import type { BinaryArgs, SwigluArgs, UnaryArgs, UnaryFunction } from '../../kernels.js';
import { columnsOf, isContiguous, rowsOf, type Tensor } from '../../tensor.js';
import { expectMatrix, expectOutput, fail } from './check.js';
import type { Executor } from './executor.js';

const FUNCTIONS: Record<UnaryFunction, UnaryOp> = {
  silu: UnaryOp.Silu,
  softplus: UnaryOp.Softplus,
  exp: UnaryOp.Exp,
  asinh: UnaryOp.Asinh,
  sigmoid: UnaryOp.Sigmoid,
};
/** About the vector instructions of a transcendental function, and of a load and a store. */
const WORK_FUNCTION = 30;
const WORK_MOVE = 3;
/** Columns of the rows that contiguous tensors are cut into. */
const FLAT = 1024;

/** Calls `emit` once or twice so that together the calls cover all elements; `skip` elements lie before its first row. */
function flatten(tensors: Tensor[], emit: (rows: number, columns: number, skip: number, flat: boolean) => void): void {
  const [rows, columns] = [rowsOf(tensors[0]), columnsOf(tensors[0])];
  const total = rows * columns;
  if (total === 0) return;
  if (!tensors.every(isContiguous)) {
    emit(rows, columns, 0, false);
    return;
  }
  const whole = Math.floor(total / FLAT);
  if (whole > 0) emit(whole, FLAT, 0, true);
  if (total > whole * FLAT) emit(1, total - whole * FLAT, whole * FLAT, true);
}

export function unary(executor: Executor, { out, x, fn }: UnaryArgs): void {
  expectMatrix('unary', 'x', x, rowsOf(x), columnsOf(x));
  expectOutput('unary', 'out', out, rowsOf(x), columnsOf(x));
  flatten([out, x], (rows, columns, skip, flat) => {
    executor.writer
      .begin(Op.Unary, rows, (columns / 4) * WORK_FUNCTION)
      .pointer(executor.output(out, 'out') + skip * 4)
      .pointer((flat ? columns : out.stride) * 4)
      .pointer(executor.input(x, 'x') + skip * 4)
      .pointer((flat ? columns : x.stride) * 4)
      .int(columns)
      .int(FUNCTIONS[fn]);
    executor.emit();
  });
}

export function binary(executor: Executor, { out, a, b, fn }: BinaryArgs): void {
  const [rowCount, columnCount] = [rowsOf(a), columnsOf(a)];
  expectMatrix('binary', 'a', a, rowCount, columnCount);
  expectMatrix('binary', 'b', b, rowCount, columnCount);
  expectOutput('binary', 'out', out, rowCount, columnCount);
  flatten([out, a, b], (rows, columns, skip, flat) => {
    executor.writer
      .begin(Op.Binary, rows, (columns / 4) * WORK_MOVE)
      .pointer(executor.output(out, 'out') + skip * 4)
      .pointer((flat ? columns : out.stride) * 4)
      .pointer(executor.input(a, 'a') + skip * 4)
      .pointer((flat ? columns : a.stride) * 4)
      .pointer(executor.input(b, 'b') + skip * 4)
      .pointer((flat ? columns : b.stride) * 4)
      .int(columns)
      .int(fn === 'mul' ? 1 : 0);
    executor.emit();
  });
}

export function fill(executor: Executor, out: Tensor, value: number): void {
  if (out.dtype === 'f16') fail('fill', 'out', 'out is f16');
  const bits = out.dtype === 'i32' ? value : new Int32Array(new Float32Array([value]).buffer)[0];
  flatten([out], (rows, columns, skip, flat) => {
    executor.writer
      .begin(Op.Fill, rows, (columns / 4) * WORK_MOVE)
      .pointer(executor.output(out, 'out') + skip * 4)
      .pointer((flat ? columns : out.stride) * 4)
      .int(columns)
      .int(bits);
    executor.emit();
  });
}

export function copy(executor: Executor, out: Tensor, x: Tensor): void {
  if (out.dtype !== x.dtype || rowsOf(out) !== rowsOf(x) || columnsOf(out) !== columnsOf(x)) {
    fail('copy', 'out', `out is ${out.dtype} [${out.shape}], x is ${x.dtype} [${x.shape}]`);
  }
  flatten([out, x], (rows, columns, skip, flat) => {
    executor.writer
      .begin(Op.Copy, rows, (columns / 4) * WORK_MOVE)
      .pointer(executor.output(out, 'out') + skip * 4)
      .pointer((flat ? columns : out.stride) * 4)
      .pointer(executor.input(x, 'x') + skip * 4)
      .pointer((flat ? columns : x.stride) * 4)
      .int(columns);
    executor.emit();
  });
}

export function swiglu(executor: Executor, { out, x }: SwigluArgs): void {
  const [rowCount, columnCount] = [rowsOf(out), columnsOf(out)];
  expectMatrix('swiglu', 'x', x, rowCount, 2 * columnCount);
  expectOutput('swiglu', 'out', out, rowCount, columnCount);
  executor.writer
    .begin(Op.Swiglu, rowCount, (columnCount / 4) * WORK_FUNCTION)
    .pointer(executor.output(out, 'out'))
    .pointer(out.stride * 4)
    .pointer(executor.input(x, 'x'))
    .pointer(x.stride * 4)
    .int(columnCount);
  executor.emit();
}
