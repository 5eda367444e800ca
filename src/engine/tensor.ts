/**
 * Tensors: a shape over storage that a backend owns.
 *
 * Every tensor is row-major. The last dimension is contiguous; consecutive rows (all leading dimensions flattened)
 * lie `stride` elements apart, so a range of columns is a view without a copy: the slices z | x | B | C | dt of one
 * projection are read, and their gradients written, in place. A `stride` of 0 repeats one row for every row.
 */

/** `f32` is float64 on the reference backend, which is the oracle. `f16` exists on webgpu only. */
export type DType = 'f32' | 'f16' | 'i32';

export interface Tensor {
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** Elements from the start of the storage to element 0. */
  readonly offset: number;
  /** Elements from one row to the next; equals the number of columns when contiguous, 0 when one row repeats. */
  readonly stride: number;
  /** Owned by the backend that made the tensor. Views share it. */
  readonly storage: unknown;
}

/** Elements in the tensor, views included. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/** Length of the last dimension. */
export function columnsOf(t: Tensor): number {
  return t.shape[t.shape.length - 1];
}

/** Product of all dimensions but the last. */
export function rowsOf(t: Tensor): number {
  return sizeOf(t.shape.slice(0, -1));
}

export function isContiguous(t: Tensor): boolean {
  return t.stride === columnsOf(t) || rowsOf(t) === 1;
}

/** View of columns [from, to) of the last dimension. */
export function columns(t: Tensor, from: number, to: number): Tensor {
  if (!(from >= 0 && from <= to && to <= columnsOf(t))) {
    throw new RangeError(`columns ${from}..${to} of a tensor with ${columnsOf(t)} columns`);
  }
  return { ...t, shape: [...t.shape.slice(0, -1), to - from], offset: t.offset + from };
}

/** View of rows [from, to) of a two-dimensional reading (rows × columns) of the tensor. */
export function rows(t: Tensor, from: number, to: number): Tensor {
  if (!(from >= 0 && from <= to && to <= rowsOf(t))) {
    throw new RangeError(`rows ${from}..${to} of a tensor with ${rowsOf(t)} rows`);
  }
  return { ...t, shape: [to - from, columnsOf(t)], offset: t.offset + from * t.stride };
}

/** Same elements under another shape; the last dimension may only change when the tensor is contiguous. */
export function reshape(t: Tensor, shape: readonly number[]): Tensor {
  const last = shape[shape.length - 1];
  if (sizeOf(shape) !== sizeOf(t.shape) || (last !== columnsOf(t) && !isContiguous(t))) {
    throw new RangeError(`cannot view [${t.shape}] (stride ${t.stride}) as [${shape}]`);
  }
  return { ...t, shape, stride: last === columnsOf(t) ? t.stride : last };
}

/** One row [columns] read as `shape` = [..., columns]: every row the same storage (stride 0). Inputs only. */
export function repeatRow(t: Tensor, shape: readonly number[]): Tensor {
  if (rowsOf(t) !== 1 || shape[shape.length - 1] !== columnsOf(t)) {
    throw new RangeError(`cannot repeat [${t.shape}] as [${shape}]`);
  }
  return { ...t, shape, stride: 0 };
}
