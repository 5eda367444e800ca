/** Shape checks of kernel arguments: a wrong shape must be an error here, not a stray read of the shared memory. */
import { EngineError } from '../../errors.js';
import { columnsOf, type DType, isContiguous, rowsOf, type Tensor } from '../../tensor.js';

export function fail(kernel: string, field: string, message: string): never {
  throw new EngineError({
    code: 'BAD_SHAPE',
    message: `${kernel}: ${message}`,
    where: { field },
    fix: 'see the shapes in src/engine/kernels.ts',
  });
}

/** The tensor has `rows` rows of `columns` columns of the type. */
export function expectMatrix(
  kernel: string,
  field: string,
  t: Tensor,
  rows: number,
  columns: number,
  dtype: DType = 'f32',
): void {
  if (t.dtype !== dtype) fail(kernel, field, `${field} is ${t.dtype}, expected ${dtype}`);
  if (rowsOf(t) !== rows || columnsOf(t) !== columns) {
    fail(kernel, field, `${field} is [${t.shape}], expected ${rows} rows of ${columns}`);
  }
}

/** As `expectMatrix`, for a tensor that is written: its rows must be distinct. */
export function expectOutput(kernel: string, field: string, t: Tensor, rows: number, columns: number): void {
  expectMatrix(kernel, field, t, rows, columns);
  if (t.stride < columns && rows > 1) fail(kernel, field, `rows of the output ${field} overlap (stride ${t.stride})`);
}

/** `count` numbers side by side, whatever the shape. */
export function expectVector(kernel: string, field: string, t: Tensor, count: number, dtype: DType = 'f32'): void {
  if (t.dtype !== dtype) fail(kernel, field, `${field} is ${t.dtype}, expected ${dtype}`);
  const size = rowsOf(t) * columnsOf(t);
  if (size !== count || !isContiguous(t)) {
    fail(kernel, field, `${field} is [${t.shape}] (stride ${t.stride}), expected ${count} contiguous numbers`);
  }
}

/** Batch and length of a sequence tensor [batch, length, channels]. */
export function sequenceOf(kernel: string, field: string, t: Tensor): [batch: number, length: number] {
  if (t.shape.length !== 3) fail(kernel, field, `${field} is [${t.shape}], expected [batch, length, channels]`);
  return [t.shape[0], t.shape[1]];
}

/** a / b, which must be a whole number. */
export function divide(kernel: string, field: string, a: number, b: number): number {
  if (!Number.isInteger(a / b)) fail(kernel, field, `${a} is no multiple of ${field} = ${b}`);
  return a / b;
}
