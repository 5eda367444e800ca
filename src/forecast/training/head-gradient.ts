/**
 * The forecaster's head and its gradient on the host, for backends that only infer: hidden values come from the backend,
 * the matrix products are its own `matmul`, everything between them is a few loops.
 *
 *   n = rmsNorm(u)·w;  z = n·W₄ᵀ + b₄;  h = silu(z);  raw = h·W₅ᵀ + b₅;  loss as in the `quantileMixture` kernel
 */
import type { Backend, NumericArray } from '../../engine/backend.js';
import type { ForecasterConfig } from '../model/config.js';

/** Names of the parameters that the head consists of. */
export const HEAD_PARAMETERS = [
  'norm.weight',
  'head.hidden.weight',
  'head.hidden.bias',
  'head.out.weight',
  'head.out.bias',
] as const;

export type HeadValues = Record<(typeof HEAD_PARAMETERS)[number], NumericArray>;

/** T tokens that the head is judged on. */
export interface HeadBatch {
  /** [T, dModel] */
  hidden: NumericArray;
  /** [T, patch · candidates] */
  candidates: ArrayLike<number>;
  /** [T, patch] in units of the token. */
  target: ArrayLike<number>;
  /** [T, patch]; their sum is what the loss is a mean over. */
  weights: ArrayLike<number>;
}

/** Loss of a batch, and its gradients where they are wanted. */
export interface HeadLoss {
  loss: number;
  gradients?: Record<(typeof HEAD_PARAMETERS)[number], Float64Array>;
}

/** Mean loss Σ weights·pinball / Σ weights of a head. */
export async function headLoss(
  backend: Backend,
  config: ForecasterConfig,
  values: HeadValues,
  batch: HeadBatch,
  wantGradients: boolean,
): Promise<HeadLoss> {
  const { dModel, hidden: width, normEps, patch, levels } = config;
  const T = batch.hidden.length / dModel;
  const outputs = values['head.out.bias'].length;
  const { normed, inverse } = normalise(batch.hidden, values['norm.weight'], dModel, normEps);
  const z = await product(backend, [T, dModel], normed, [width, dModel], values['head.hidden.weight'], 'b');
  addRow(z, values['head.hidden.bias']);
  const h = z.map((v) => v / (1 + Math.exp(-v)));
  const raw = await product(backend, [T, width], h, [outputs, width], values['head.out.weight'], 'b');
  addRow(raw, values['head.out.bias']);
  const dRaw = wantGradients ? new Float64Array(raw.length) : undefined;
  const loss = mixtureLoss(raw, batch, levels, patch, outputs, dRaw);
  if (!dRaw) return { loss };

  const dOut = await product(backend, [T, outputs], dRaw, [T, width], h, 'a');
  const dH = await product(backend, [T, outputs], dRaw, [outputs, width], values['head.out.weight'], 'none');
  const dZ = dH.map((d, i) => {
    const s = 1 / (1 + Math.exp(-z[i]!));
    return d * s * (1 + z[i]! * (1 - s));
  });
  const dHidden = await product(backend, [T, width], dZ, [T, dModel], normed, 'a');
  const dNormed = await product(backend, [T, width], dZ, [width, dModel], values['head.hidden.weight'], 'none');
  const dNorm = new Float64Array(dModel);
  for (let t = 0; t < T; t++) {
    for (let j = 0; j < dModel; j++) {
      dNorm[j]! += dNormed[t * dModel + j]! * batch.hidden[t * dModel + j]! * inverse[t]!;
    }
  }
  const gradients = {
    'norm.weight': dNorm,
    'head.hidden.weight': Float64Array.from(dHidden),
    'head.hidden.bias': columnSums(dZ, width),
    'head.out.weight': Float64Array.from(dOut),
    'head.out.bias': columnSums(dRaw, outputs),
  };
  return { loss, gradients };
}

function normalise(x: NumericArray, weight: NumericArray, columns: number, eps: number) {
  const T = x.length / columns;
  const normed = new Float64Array(x.length);
  const inverse = new Float64Array(T);
  for (let t = 0; t < T; t++) {
    let squares = 0;
    for (let j = 0; j < columns; j++) squares += x[t * columns + j]! ** 2;
    inverse[t] = 1 / Math.sqrt(squares / columns + eps);
    for (let j = 0; j < columns; j++) normed[t * columns + j] = x[t * columns + j]! * inverse[t]! * weight[j]!;
  }
  return { normed, inverse };
}

/** op(a)·op(b) of contiguous matrices on the backend; `transposed` says which of them is. */
async function product(
  backend: Backend,
  shapeA: readonly [number, number],
  valuesA: ArrayLike<number>,
  shapeB: readonly [number, number],
  valuesB: ArrayLike<number>,
  transposed: 'a' | 'b' | 'none',
): Promise<NumericArray> {
  const a = backend.alloc(shapeA);
  const b = backend.alloc(shapeB);
  const out = backend.alloc([shapeA[transposed === 'a' ? 1 : 0], shapeB[transposed === 'b' ? 0 : 1]]);
  try {
    backend.write(a, valuesA);
    backend.write(b, valuesB);
    backend.kernels.matmul({ out, a, b, transposeA: transposed === 'a', transposeB: transposed === 'b' });
    return await backend.read(out);
  } finally {
    for (const t of [a, b, out]) backend.free(t);
  }
}

function addRow(x: NumericArray, row: NumericArray): void {
  for (let i = 0; i < x.length; i++) x[i]! += row[i % row.length]!;
}

function columnSums(x: NumericArray, columns: number): Float64Array {
  const sums = new Float64Array(columns);
  for (let i = 0; i < x.length; i++) sums[i % columns]! += x[i]!;
  return sums;
}

/**
 * Mean of 2·pinball(asinh y, asinh q)/levels over the targets, with the mixture and the bounds of the `quantileMixture`
 * kernel; the gradient with respect to `raw` goes to `dRaw`.
 */
function mixtureLoss(
  raw: NumericArray,
  { candidates, target, weights }: HeadBatch,
  levels: readonly number[],
  patch: number,
  outputs: number,
  dRaw: Float64Array | undefined,
): number {
  const Q = levels.length;
  const C = (outputs - 1) / patch - Q;
  const T = raw.length / outputs;
  const shares = new Float64Array(C);
  let total = 0;
  for (let i = 0; i < weights.length; i++) total += weights[i]!;
  const perWeight = total > 0 ? 2 / (Q * total) : 0;
  let sum = 0;
  for (let t = 0; t < T; t++) {
    const row = t * outputs;
    const scaleAt = row + outputs - 1;
    const scale = Math.exp(Math.min(Math.max(raw[scaleAt]!, -4), 4));
    let dScale = 0;
    for (let p = 0; p < patch; p++) {
      const weight = weights[t * patch + p]! * perWeight;
      if (weight === 0) continue;
      const mixAt = row + patch * Q + p * C;
      const optionsAt = (t * patch + p) * C;
      const base = mix(raw, mixAt, candidates, optionsAt, shares);
      const y = Math.asinh(target[t * patch + p]!);
      let dBase = 0;
      for (let j = 0; j < Q; j++) {
        const offset = raw[row + p * Q + j]!;
        const q = base + scale * offset;
        const error = y - Math.asinh(q);
        sum += weight * Math.max(levels[j]! * error, (levels[j]! - 1) * error);
        const slope = error > 0 ? -levels[j]! : error < 0 ? 1 - levels[j]! : 0;
        const dQ = (weight * slope) / Math.sqrt(q * q + 1);
        dBase += dQ;
        dScale += dQ * scale * offset;
        if (dRaw) dRaw[row + p * Q + j] = dQ * scale;
      }
      if (!dRaw) continue;
      for (let c = 0; c < C; c++) dRaw[mixAt + c] = dBase * shares[c]! * (candidates[optionsAt + c]! - base);
    }
    if (dRaw && Math.abs(raw[scaleAt]!) < 4) dRaw[scaleAt] = dScale;
  }
  return sum;
}

/** Softmax-weighted mean of the candidates; the weights go to `shares`. */
function mix(raw: NumericArray, at: number, options: ArrayLike<number>, from: number, shares: Float64Array): number {
  let top = Number.NEGATIVE_INFINITY;
  for (let c = 0; c < shares.length; c++) top = Math.max(top, raw[at + c]!);
  let total = 0;
  for (let c = 0; c < shares.length; c++) {
    shares[c] = Math.exp(raw[at + c]! - top);
    total += shares[c]!;
  }
  let base = 0;
  for (let c = 0; c < shares.length; c++) {
    shares[c]! /= total;
    base += shares[c]! * options[from + c]!;
  }
  return base;
}
