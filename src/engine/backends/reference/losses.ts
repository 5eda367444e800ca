/** Losses with their gradients, and AdamW, in float64. */
import type { AdamWArgs, CrossEntropyArgs, MseArgs, PinballArgs, QuantileMixtureArgs } from '../../kernels.js';
import { columnsOf, rowsOf, sizeOf, type Tensor } from '../../tensor.js';
import { at, floats, ints } from './access.js';

/** Column `column` of a possibly strided tensor's row, as a number. */
function get(t: Tensor, row: number, column = 0): number {
  return floats(t)[at(t, row) + column];
}

/** Element i of a contiguous tensor. */
function flat(t: Tensor, i: number): number {
  return floats(t)[t.offset + i];
}

export function crossEntropy({ loss, dLogits, logits, targets, weights }: CrossEntropyArgs): void {
  const vocabulary = columnsOf(logits);
  let sum = 0;
  for (let t = 0; t < rowsOf(logits); t++) {
    const weight = flat(weights, t);
    const row = Array.from({ length: vocabulary }, (_, j) => get(logits, t, j));
    const top = row.reduce((m, l) => Math.max(m, l), Number.NEGATIVE_INFINITY);
    const total = row.reduce((s, l) => s + Math.exp(l - top), 0);
    const target = ints(targets)[targets.offset + t];
    if (weight !== 0) sum += weight * (top + Math.log(total) - row[target]);
    if (dLogits) {
      for (let j = 0; j < vocabulary; j++) {
        floats(dLogits)[at(dLogits, t) + j] =
          weight === 0 ? 0 : weight * (Math.exp(row[j] - top) / total - (j === target ? 1 : 0));
      }
    }
  }
  floats(loss)[loss.offset] = sum;
}

export function mse({ loss, dPrediction, prediction, target, weights }: MseArgs): void {
  const width = columnsOf(prediction);
  let sum = 0;
  for (let t = 0; t < rowsOf(prediction); t++) {
    for (let j = 0; j < width; j++) {
      const weight = flat(weights, t) / width;
      const error = weight === 0 ? 0 : get(prediction, t, j) - get(target, t, j);
      sum += weight * error * error;
      if (dPrediction) floats(dPrediction)[at(dPrediction, t) + j] = 2 * weight * error;
    }
  }
  floats(loss)[loss.offset] = sum;
}

export function pinball({ loss, dPrediction, prediction, target, weights, levels }: PinballArgs): void {
  const count = columnsOf(prediction);
  let sum = 0;
  for (let t = 0; t < rowsOf(prediction); t++) {
    const weight = (flat(weights, t) * 2) / count;
    for (let j = 0; j < count; j++) {
      const level = flat(levels, j);
      const error = weight === 0 ? 0 : flat(target, t) - get(prediction, t, j);
      sum += weight * Math.max(level * error, (level - 1) * error);
      if (dPrediction)
        floats(dPrediction)[at(dPrediction, t) + j] = weight * (error > 0 ? -level : error < 0 ? 1 - level : 0);
    }
  }
  floats(loss)[loss.offset] = sum;
}

export function quantileMixture(args: QuantileMixtureArgs): void {
  const { raw, candidates, levels, patch, nCandidates, quantiles, target, weights, loss, dRaw } = args;
  const count = sizeOf(levels.shape);
  const mixFrom = patch * count;
  const scaleAt = mixFrom + patch * nCandidates;
  let sum = 0;
  for (let t = 0; t < rowsOf(raw); t++) {
    const rawScale = get(raw, t, scaleAt);
    const scale = Math.exp(Math.min(Math.max(rawScale, -4), 4));
    let dScale = 0;
    for (let p = 0; p < patch; p++) {
      const mix = Array.from({ length: nCandidates }, (_, c) => get(raw, t, mixFrom + p * nCandidates + c));
      const top = Math.max(...mix);
      const total = mix.reduce((s, m) => s + Math.exp(m - top), 0);
      const shares = mix.map((m) => Math.exp(m - top) / total);
      const options = shares.map((_, c) => get(candidates, t, p * nCandidates + c));
      const base = shares.reduce((s, share, c) => s + share * options[c], 0);
      let dBase = 0;
      for (let j = 0; j < count; j++) {
        const offset = get(raw, t, p * count + j);
        const y = base + scale * offset;
        if (quantiles) floats(quantiles)[at(quantiles, t) + p * count + j] = y;
        if (!target || !weights) continue;
        const weight = (get(weights, t, p) * 2) / count;
        const level = flat(levels, j);
        const error = weight === 0 ? 0 : Math.asinh(get(target, t, p)) - Math.asinh(y);
        sum += weight * Math.max(level * error, (level - 1) * error);
        const dY = (weight * (error > 0 ? -level : error < 0 ? 1 - level : 0)) / Math.sqrt(y * y + 1);
        dBase += dY;
        dScale += dY * scale * offset;
        if (dRaw) floats(dRaw)[at(dRaw, t) + p * count + j] = dY * scale;
      }
      if (dRaw) {
        for (let c = 0; c < nCandidates; c++) {
          floats(dRaw)[at(dRaw, t) + mixFrom + p * nCandidates + c] = dBase * shares[c] * (options[c] - base);
        }
      }
    }
    if (dRaw) floats(dRaw)[at(dRaw, t) + scaleAt] = Math.abs(rawScale) < 4 ? dScale : 0;
  }
  if (loss) floats(loss)[loss.offset] = sum;
}

export function adamW(args: AdamWArgs): void {
  const { parameters, gradients, m, v, decayEnd, hyper, gradScale, sumSquares, average, averageRate } = args;
  const [rate, beta1, beta2, eps, decay, correction1, correction2, clip] = Array.from({ length: 8 }, (_, i) =>
    flat(hyper, i),
  );
  const squares = flat(sumSquares, 0);
  if (!Number.isFinite(squares)) return;
  const norm = Math.sqrt(squares) / flat(gradScale, 0);
  const scale = (clip > 0 && norm > clip ? clip / norm : 1) / flat(gradScale, 0);
  const size = sizeOf(parameters.shape);
  const [P, M, V] = [floats(parameters), floats(m), floats(v)];
  for (let i = 0; i < size; i++) {
    const gradient = flat(gradients, i) * scale;
    const [p, mi, vi] = [parameters.offset + i, m.offset + i, v.offset + i];
    M[mi] = beta1 * M[mi] + (1 - beta1) * gradient;
    V[vi] = beta2 * V[vi] + (1 - beta2) * gradient * gradient;
    if (i < decayEnd) P[p] *= 1 - rate * decay;
    P[p] -= (rate * (M[mi] / correction1)) / (Math.sqrt(V[vi] / correction2) + eps);
    if (average && averageRate) floats(average)[average.offset + i] += flat(averageRate, 0) * (P[p] - flat(average, i));
  }
}
