/** Plain-array access to tensors of the reference backend, and the scalar functions the oracle is made of. */
import type { Tensor } from '../../tensor.js';

/** Storage of a float tensor. */
export function floats(t: Tensor): Float64Array {
  return t.storage as Float64Array;
}

/** Storage of an i32 tensor. */
export function ints(t: Tensor): Int32Array {
  return t.storage as Int32Array;
}

/** Index of column 0 of a row. */
export function at(t: Tensor, row: number): number {
  return t.offset + row * t.stride;
}

export function sigmoid(x: number): number {
  return x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
}

export function silu(x: number): number {
  return x === Number.NEGATIVE_INFINITY ? 0 : x * sigmoid(x);
}

export function siluDerivative(x: number): number {
  const s = sigmoid(x);
  return s * (1 + x * (1 - s));
}

/** log(1 + exp(x)) without overflow. */
export function softplus(x: number): number {
  return x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x));
}

/** Real tokens of sequence b. */
export function lengthOf(lengths: Tensor | undefined, b: number, length: number): number {
  return lengths ? Math.min(Math.max(ints(lengths)[lengths.offset + b], 0), length) : length;
}

/** Set every element to a value, whatever the stride. */
export function fill(out: Tensor, value: number): void {
  const cols = out.shape[out.shape.length - 1];
  const nRows = cols === 0 ? 0 : out.shape.reduce((p, e) => p * e, 1) / cols;
  const data = out.storage as Float64Array | Int32Array;
  for (let r = 0; r < nRows; r++) data.fill(value, at(out, r), at(out, r) + cols);
}
