/** What the tests of this folder share. */
import { setFlagsFromString } from 'node:v8';
import type { Backend } from '../../backend.js';
import { columnsOf, rowsOf, sizeOf, type Tensor } from '../../tensor.js';
import type { Build } from './module.js';

// Node 20 has relaxed SIMD behind a flag, later releases have it without and know no such flag: both builds are tested.
if (Number(process.versions.node.split('.')[0]) < 22) setFlagsFromString('--experimental-wasm-relaxed-simd');
export const BUILDS: readonly Build[] = ['simd', 'relaxed'];

/** Numbers in [−1, 1) from a linear congruential generator. */
export function numbers(count: number, seed = 1): Float32Array {
  let x = (seed * 2654435761) >>> 0;
  return Float32Array.from({ length: count }, () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return x / 2 ** 31 - 1;
  });
}

export function tensor(backend: Backend, shape: readonly number[], data: ArrayLike<number> | number = 1): Tensor {
  const t = backend.alloc(shape);
  backend.write(t, typeof data === 'number' ? numbers(sizeOf(shape), data) : data);
  return t;
}

/** a·b in float64 with a [M, K] and b [K, N]. */
export function product(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  M: number,
  N: number,
  K: number,
): { sum: Float64Array; magnitude: Float64Array } {
  const sum = new Float64Array(M * N);
  const magnitude = new Float64Array(M * N);
  for (let i = 0; i < M; i++) {
    for (let k = 0; k < K; k++) {
      for (let j = 0; j < N; j++) {
        const term = a[i * K + k] * b[k * N + j];
        sum[i * N + j] += term;
        magnitude[i * N + j] += Math.abs(term);
      }
    }
  }
  return { sum, magnitude };
}

/** The matrix of a tensor's numbers, transposed. */
export function transpose(data: ArrayLike<number>, t: Pick<Tensor, 'shape'>): Float32Array {
  const [rows, columns] = [rowsOf(t as Tensor), columnsOf(t as Tensor)];
  const out = new Float32Array(rows * columns);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[c * rows + r] = data[r * columns + c];
  return out;
}
