/** Windowed causal attention in float64. */
import type { AttentionArgs, AttentionBackwardArgs } from '../../kernels.js';
import { columnsOf, type Tensor } from '../../tensor.js';
import { at, fill, floats, ints, lengthOf } from './access.js';

export function attention(args: AttentionArgs): void {
  const { out, q, k, v, bias, nHeads, kvHeads, window, cacheK, cacheV, cacheCount, lengths } = args;
  const [batch, length] = q.shape;
  const headDim = columnsOf(q) / nHeads;
  const kvWidth = kvHeads * headDim;
  const past = window - 1;
  for (let b = 0; b < batch; b++) {
    const real = lengthOf(lengths, b, length);
    const cached = cacheCount ? ints(cacheCount)[cacheCount.offset + b] : 0;
    // Element j of the key or value at time t; t < 0 reads the cache, whose newest entry is last.
    const read = (source: Tensor, cache: Tensor | undefined, t: number, j: number): number =>
      t >= 0
        ? floats(source)[at(source, b * length + t) + j]
        : floats(cache as Tensor)[(cache as Tensor).offset + (b * past + past + t) * kvWidth + j];
    for (let t = 0; t < length; t++) {
      for (let head = 0; head < nHeads; head++) {
        const from = head * headDim;
        if (t >= real) {
          for (let j = 0; j < headDim; j++) floats(out)[at(out, b * length + t) + from + j] = 0;
          continue;
        }
        const kv = Math.floor(head / (nHeads / kvHeads)) * headDim;
        const reach = Math.min(window, t + 1 + cached);
        const logits = Array.from({ length: reach }, (_, d) => {
          let dot = 0;
          for (let j = 0; j < headDim; j++)
            dot += floats(q)[at(q, b * length + t) + from + j] * read(k, cacheK, t - d, kv + j);
          return dot / Math.sqrt(headDim) + floats(bias)[at(bias, head) + d];
        });
        const top = Math.max(...logits);
        const weights = logits.map((l) => Math.exp(l - top));
        const total = weights.reduce((s, w) => s + w, 0);
        for (let j = 0; j < headDim; j++) {
          let sum = 0;
          for (let d = 0; d < reach; d++) sum += (weights[d] / total) * read(v, cacheV, t - d, kv + j);
          floats(out)[at(out, b * length + t) + from + j] = sum;
        }
      }
    }
    if (cacheK && cacheV && cacheCount) {
      const count = Math.min(past, cached + real);
      for (const [cache, source] of [
        [cacheK, k],
        [cacheV, v],
      ] as const) {
        const kept = new Float64Array(past * kvWidth);
        for (let s = past - count; s < past; s++) {
          for (let j = 0; j < kvWidth; j++) kept[s * kvWidth + j] = read(source, cache, real - past + s, j);
        }
        floats(cache).set(kept, cache.offset + b * past * kvWidth);
      }
      ints(cacheCount)[cacheCount.offset + b] = count;
    }
  }
}

export function attentionBackward(args: AttentionBackwardArgs): void {
  const { dOut, dQ, dK, dV, dBias, q, k, v, bias, nHeads, kvHeads, window, lengths } = args;
  const [batch, length] = q.shape;
  const headDim = columnsOf(q) / nHeads;
  const scale = 1 / Math.sqrt(headDim);
  for (const gradient of [dQ, dK, dV, dBias]) fill(gradient, 0);
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < lengthOf(lengths, b, length); t++) {
      const row = b * length + t;
      for (let head = 0; head < nHeads; head++) {
        const from = head * headDim;
        const kv = Math.floor(head / (nHeads / kvHeads)) * headDim;
        const reach = Math.min(window, t + 1);
        const logits = Array.from({ length: reach }, (_, d) => {
          let dot = 0;
          for (let j = 0; j < headDim; j++)
            dot += floats(q)[at(q, row) + from + j] * floats(k)[at(k, row - d) + kv + j];
          return dot * scale + floats(bias)[at(bias, head) + d];
        });
        const top = Math.max(...logits);
        const unnormalised = logits.map((l) => Math.exp(l - top));
        const total = unnormalised.reduce((s, w) => s + w, 0);
        const weights = unnormalised.map((w) => w / total);
        const dWeights = weights.map((_, d) => {
          let dot = 0;
          for (let j = 0; j < headDim; j++)
            dot += floats(dOut)[at(dOut, row) + from + j] * floats(v)[at(v, row - d) + kv + j];
          return dot;
        });
        const mean = weights.reduce((s, w, d) => s + w * dWeights[d], 0);
        for (let d = 0; d < reach; d++) {
          const dLogit = weights[d] * (dWeights[d] - mean);
          floats(dBias)[at(dBias, head) + d] += dLogit;
          for (let j = 0; j < headDim; j++) {
            floats(dQ)[at(dQ, row) + from + j] += dLogit * scale * floats(k)[at(k, row - d) + kv + j];
            floats(dK)[at(dK, row - d) + kv + j] += dLogit * scale * floats(q)[at(q, row) + from + j];
            floats(dV)[at(dV, row - d) + kv + j] += weights[d] * floats(dOut)[at(dOut, row) + from + j];
          }
        }
      }
    }
  }
}
