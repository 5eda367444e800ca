/** Matrix product, embedding, normalisations and element-wise kernels in float64. */
import type {
  BinaryArgs,
  EmbeddingArgs,
  EmbeddingBackwardArgs,
  GatedRmsNormArgs,
  GatedRmsNormBackwardArgs,
  MatmulArgs,
  RmsNormArgs,
  RmsNormBackwardArgs,
  SwigluArgs,
  SwigluBackwardArgs,
  UnaryArgs,
  UnaryBackwardArgs,
  UnaryFunction,
} from '../../kernels.js';
import { columnsOf, rowsOf, type Tensor } from '../../tensor.js';
import { at, fill, floats, ints, sigmoid, silu, siluDerivative, softplus } from './access.js';

export function matmul({
  out,
  a,
  b,
  transposeA,
  transposeB,
  bias,
  activation,
  residual,
  accumulate,
}: MatmulArgs): void {
  const [m, n] = [rowsOf(out), columnsOf(out)];
  const k = transposeA ? rowsOf(a) : columnsOf(a);
  const [O, A, B] = [floats(out), floats(a), floats(b)];
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let l = 0; l < k; l++) {
        sum += A[transposeA ? at(a, l) + i : at(a, i) + l] * B[transposeB ? at(b, j) + l : at(b, l) + j];
      }
      if (bias) sum += floats(bias)[bias.offset + j];
      if (activation === 'silu') sum = silu(sum);
      if (residual) sum += floats(residual)[at(residual, i) + j];
      O[at(out, i) + j] = accumulate ? O[at(out, i) + j] + sum : sum;
    }
  }
}

export function embedding({ out, ids, table }: EmbeddingArgs): void {
  const [nRows, width, vocabulary] = [rowsOf(out), columnsOf(out), rowsOf(table)];
  for (let t = 0; t < nRows; t++) {
    const id = ints(ids)[ids.offset + t];
    for (let j = 0; j < width; j++) {
      floats(out)[at(out, t) + j] = id >= 0 && id < vocabulary ? floats(table)[at(table, id) + j] : Number.NaN;
    }
  }
}

export function embeddingBackward({ dTable, dOut, ids, accumulate }: EmbeddingBackwardArgs): void {
  if (!accumulate) fill(dTable, 0);
  for (let t = 0; t < rowsOf(dOut); t++) {
    const id = ints(ids)[ids.offset + t];
    if (id < 0 || id >= rowsOf(dTable)) continue;
    for (let j = 0; j < columnsOf(dOut); j++) floats(dTable)[at(dTable, id) + j] += floats(dOut)[at(dOut, t) + j];
  }
}

export function rmsNorm({ out, x, weight, eps }: RmsNormArgs): void {
  const width = columnsOf(x);
  for (let t = 0; t < rowsOf(x); t++) {
    let squares = 0;
    for (let j = 0; j < width; j++) squares += floats(x)[at(x, t) + j] ** 2;
    const scale = 1 / Math.sqrt(squares / width + eps);
    for (let j = 0; j < width; j++) {
      floats(out)[at(out, t) + j] = floats(x)[at(x, t) + j] * scale * floats(weight)[weight.offset + j];
    }
  }
}

/**
 * Gradient of y = g·s·w with s = (mean(g²) + eps)^−½ over one group of columns, given values g and upstream d:
 * dg = s·(d·w − g·s²·mean(d·w·g)). Returns dg; adds d·g·s to dWeight.
 */
function normGroupBackward(
  g: Float64Array,
  d: Float64Array,
  w: Float64Array,
  eps: number,
  dWeight: Float64Array,
): Float64Array {
  const width = g.length;
  let squares = 0;
  for (const value of g) squares += value * value;
  const scale = 1 / Math.sqrt(squares / width + eps);
  let dot = 0;
  for (let j = 0; j < width; j++) dot += d[j] * w[j] * g[j];
  const result = new Float64Array(width);
  for (let j = 0; j < width; j++) {
    result[j] = scale * (d[j] * w[j] - (g[j] * scale * scale * dot) / width);
    dWeight[j] += d[j] * g[j] * scale;
  }
  return result;
}

function readRow(t: Tensor, row: number, from: number, count: number): Float64Array {
  const start = at(t, row) + from;
  return floats(t).slice(start, start + count);
}

export function rmsNormBackward({ dX, dWeight, dOut, x, weight, eps, accumulate }: RmsNormBackwardArgs): void {
  const width = columnsOf(x);
  const w = readRow(weight, 0, 0, width);
  const sums = new Float64Array(width);
  for (let t = 0; t < rowsOf(x); t++) {
    const dg = normGroupBackward(readRow(x, t, 0, width), readRow(dOut, t, 0, width), w, eps, sums);
    for (let j = 0; j < width; j++) {
      const i = at(dX, t) + j;
      floats(dX)[i] = accumulate ? floats(dX)[i] + dg[j] : dg[j];
    }
  }
  if (dWeight) floats(dWeight).set(sums, dWeight.offset);
}

export function gatedRmsNorm({ out, x, z, weight, eps, groupSize }: GatedRmsNormArgs): void {
  const width = columnsOf(x);
  for (let t = 0; t < rowsOf(x); t++) {
    for (let from = 0; from < width; from += groupSize) {
      const g = readRow(x, t, from, groupSize).map((v, j) => v * silu(floats(z)[at(z, t) + from + j]));
      let squares = 0;
      for (const value of g) squares += value * value;
      const scale = 1 / Math.sqrt(squares / groupSize + eps);
      for (let j = 0; j < groupSize; j++) {
        floats(out)[at(out, t) + from + j] = g[j] * scale * floats(weight)[weight.offset + from + j];
      }
    }
  }
}

export function gatedRmsNormBackward(args: GatedRmsNormBackwardArgs): void {
  const { dX, dZ, dWeight, dOut, x, z, weight, eps, groupSize } = args;
  const width = columnsOf(x);
  const sums = new Float64Array(width);
  for (let t = 0; t < rowsOf(x); t++) {
    for (let from = 0; from < width; from += groupSize) {
      const xs = readRow(x, t, from, groupSize);
      const zs = readRow(z, t, from, groupSize);
      const dg = normGroupBackward(
        xs.map((v, j) => v * silu(zs[j])),
        readRow(dOut, t, from, groupSize),
        readRow(weight, 0, from, groupSize),
        eps,
        sums.subarray(from, from + groupSize),
      );
      for (let j = 0; j < groupSize; j++) {
        floats(dX)[at(dX, t) + from + j] = dg[j] * silu(zs[j]);
        floats(dZ)[at(dZ, t) + from + j] = dg[j] * xs[j] * siluDerivative(zs[j]);
      }
    }
  }
  if (dWeight) floats(dWeight).set(sums, dWeight.offset);
}

export function swiglu({ out, x }: SwigluArgs): void {
  const width = columnsOf(out);
  for (let t = 0; t < rowsOf(out); t++) {
    for (let j = 0; j < width; j++) {
      floats(out)[at(out, t) + j] = silu(floats(x)[at(x, t) + j]) * floats(x)[at(x, t) + width + j];
    }
  }
}

export function swigluBackward({ dX, dOut, x }: SwigluBackwardArgs): void {
  const width = columnsOf(dOut);
  for (let t = 0; t < rowsOf(dOut); t++) {
    for (let j = 0; j < width; j++) {
      const a = floats(x)[at(x, t) + j];
      const b = floats(x)[at(x, t) + width + j];
      const d = floats(dOut)[at(dOut, t) + j];
      floats(dX)[at(dX, t) + j] = d * b * siluDerivative(a);
      floats(dX)[at(dX, t) + width + j] = d * silu(a);
    }
  }
}

const functions: Record<UnaryFunction, (x: number) => number> = {
  silu,
  softplus,
  exp: Math.exp,
  asinh: Math.asinh,
  sigmoid,
};
const derivatives: Record<UnaryFunction, (x: number) => number> = {
  silu: siluDerivative,
  softplus: sigmoid,
  exp: Math.exp,
  asinh: (x) => 1 / Math.sqrt(x * x + 1),
  sigmoid: (x) => sigmoid(x) * (1 - sigmoid(x)),
};

export function unary({ out, x, fn }: UnaryArgs): void {
  for (let t = 0; t < rowsOf(out); t++) {
    for (let j = 0; j < columnsOf(out); j++) floats(out)[at(out, t) + j] = functions[fn](floats(x)[at(x, t) + j]);
  }
}

export function unaryBackward({ dX, dOut, x, fn }: UnaryBackwardArgs): void {
  for (let t = 0; t < rowsOf(dX); t++) {
    for (let j = 0; j < columnsOf(dX); j++) {
      floats(dX)[at(dX, t) + j] = floats(dOut)[at(dOut, t) + j] * derivatives[fn](floats(x)[at(x, t) + j]);
    }
  }
}

export function binary({ out, a, b, fn }: BinaryArgs): void {
  for (let t = 0; t < rowsOf(out); t++) {
    for (let j = 0; j < columnsOf(out); j++) {
      const [p, q] = [floats(a)[at(a, t) + j], floats(b)[at(b, t) + j]];
      floats(out)[at(out, t) + j] = fn === 'add' ? p + q : p * q;
    }
  }
}

export function copy(out: Tensor, x: Tensor): void {
  for (let t = 0; t < rowsOf(out); t++) {
    for (let j = 0; j < columnsOf(out); j++) floats(out)[at(out, t) + j] = floats(x)[at(x, t) + j];
  }
}

export function columnSum(out: Tensor, x: Tensor, accumulate = false): void {
  for (let j = 0; j < columnsOf(x); j++) {
    let sum = accumulate ? floats(out)[out.offset + j] : 0;
    for (let t = 0; t < rowsOf(x); t++) sum += floats(x)[at(x, t) + j];
    floats(out)[out.offset + j] = sum;
  }
}

export function sumSquares(out: Tensor, x: Tensor): void {
  let sum = 0;
  for (let t = 0; t < rowsOf(x); t++) {
    for (let j = 0; j < columnsOf(x); j++) sum += floats(x)[at(x, t) + j] ** 2;
  }
  floats(out)[out.offset] = sum;
}
