/**
 * Causal attention over the last `window` tokens: logit(d) = q·k(t − d)/√headDim + bias[head, d], softmax over the
 * distances d that exist, weighted sum of v. Tokens before the first are read from a cache, newest last.
 *   q, out [batch·length, H·E]; k, v [batch·length, KV·E]; bias [H, window]; cacheK, cacheV [batch, window−1, KV·E];
 *   cacheCount [batch].
 *
 *   attention       out, outStride, q, qStride, k, kStride, v, vStride, bias, biasStride, cacheK, cacheV, cacheCount,
 *                   lengths, length, H, KV, E, window, tokensPerUnit; unit = (sequence, head, block of tokens)
 *   attentionCache  x, xStride, cache, cacheCount, lengths, length, columns, window−1; unit = one sequence. For k, then v.
 *   attentionCount  cacheCount, lengths, length, window−1, batch; one unit, after both caches
 */
import { argInt, argPtr, loadPart, madd, realLength, storePart, sumLanes, sumLanes4, zeroFloats } from './common';
import { vexp } from './math';

export function attention(cmd: usize, from: i32, to: i32, scratch: usize): void {
  const kStride = argPtr(cmd, 5);
  const vStride = argPtr(cmd, 7);
  const length = argInt(cmd, 14);
  const H = argInt(cmd, 15);
  const KV = argInt(cmd, 16);
  const E = argInt(cmd, 17);
  const window = argInt(cmd, 18);
  const tokens = argInt(cmd, 19);
  const blocks = (length + tokens - 1) / tokens;
  const cacheRow = <usize>(KV * E) << 2;
  const scale: f32 = 1 / sqrt<f32>(<f32>E);
  for (let unit = from; unit < to; unit++) {
    const head = (unit / blocks) % H;
    const b = unit / blocks / H;
    const first = (unit % blocks) * tokens;
    const real = realLength(argPtr(cmd, 13), b, length);
    const cached = argPtr(cmd, 12) ? load<i32>(argPtr(cmd, 12) + (<usize>b << 2)) : 0;
    const kvColumn = <usize>((head / (H / KV)) * E) << 2;
    const k = argPtr(cmd, 4) + <usize>(b * length) * kStride + kvColumn;
    const v = argPtr(cmd, 6) + <usize>(b * length) * vStride + kvColumn;
    // Where the token of time 0 would lie in the cache, so that time −1 is its last row.
    const endOfCache = <usize>((b + 1) * (window - 1)) * cacheRow + kvColumn;
    const bias = argPtr(cmd, 8) + <usize>head * argPtr(cmd, 9);
    for (let t = first; t < min(length, first + tokens); t++) {
      const row = <usize>(b * length + t);
      const out = argPtr(cmd, 0) + row * argPtr(cmd, 1) + (<usize>(head * E) << 2);
      if (t >= real) {
        zeroFloats(out, E);
        continue;
      }
      const fresh = min(window, t + 1);
      const old = min(window - fresh, cached);
      const q = argPtr(cmd, 2) + row * argPtr(cmd, 3) + (<usize>(head * E) << 2);
      products(scratch, q, k + <usize>t * kStride, kStride, fresh, E);
      products(scratch + (<usize>fresh << 2), q, argPtr(cmd, 10) + endOfCache - cacheRow, cacheRow, old, E);
      const total = softmaxInPlace(scratch, bias, fresh + old, scale);
      const share = f32x4.splat(1 / total);
      for (let e = 0; e < E; e += 4) {
        const at = <usize>e << 2;
        const n = min(4, E - e);
        let s = weightedSum(f32x4.splat(0), scratch, v + <usize>t * vStride + at, vStride, fresh, n);
        const past = argPtr(cmd, 11) + endOfCache - cacheRow + at;
        s = weightedSum(s, scratch + (<usize>fresh << 2), past, cacheRow, old, n);
        s = f32x4.mul(s, share);
        if (n == 4) v128.store(out + at, s);
        else storePart(out + at, s, n);
      }
    }
  }
}

/** dst[d] = q · (row d back from `newest`), for d < count. */
function products(dst: usize, q: usize, newest: usize, stride: usize, count: i32, E: i32): void {
  let d = 0;
  for (; d + 4 <= count; d += 4, dst += 16, newest -= stride * 4) {
    let s0 = f32x4.splat(0);
    let s1 = f32x4.splat(0);
    let s2 = f32x4.splat(0);
    let s3 = f32x4.splat(0);
    for (let e = 0; e < E; e += 4) {
      const at = <usize>e << 2;
      const n = E - e;
      const r0 = newest + at;
      const r1 = r0 - stride;
      const r2 = r1 - stride;
      const r3 = r2 - stride;
      if (n >= 4) {
        const u = v128.load(q + at);
        s0 = madd(u, v128.load(r0), s0);
        s1 = madd(u, v128.load(r1), s1);
        s2 = madd(u, v128.load(r2), s2);
        s3 = madd(u, v128.load(r3), s3);
      } else {
        const u = loadPart(q + at, n);
        s0 = madd(u, loadPart(r0, n), s0);
        s1 = madd(u, loadPart(r1, n), s1);
        s2 = madd(u, loadPart(r2, n), s2);
        s3 = madd(u, loadPart(r3, n), s3);
      }
    }
    v128.store(dst, sumLanes4(s0, s1, s2, s3));
  }
  for (; d < count; d++, dst += 4, newest -= stride) {
    let s = f32x4.splat(0);
    for (let e = 0; e < E; e += 4) {
      const at = <usize>e << 2;
      const n = E - e;
      if (n >= 4) s = madd(v128.load(q + at), v128.load(newest + at), s);
      else s = madd(loadPart(q + at, n), loadPart(newest + at, n), s);
    }
    store<f32>(dst, sumLanes(s));
  }
}

/** logits ← exp(logit·scale + bias − max); the result is their sum. */
function softmaxInPlace(logits: usize, bias: usize, count: i32, scale: f32): f32 {
  let top: f32 = -Infinity;
  for (let d: usize = 0; d < <usize>count; d++) {
    const logit = load<f32>(logits + (d << 2)) * scale + load<f32>(bias + (d << 2));
    store<f32>(logits + (d << 2), logit);
    top = max<f32>(top, logit);
  }
  const shift = f32x4.splat(top);
  let total = f32x4.splat(0);
  let d = count;
  for (; d >= 4; d -= 4, logits += 16) {
    const e = vexp(f32x4.sub(v128.load(logits), shift));
    total = f32x4.add(total, e);
    v128.store(logits, e);
  }
  let sum = sumLanes(total);
  for (; d > 0; d--, logits += 4) {
    const e = f32x4.extract_lane(vexp(f32x4.sub(v128.load32_splat(logits), shift)), 0);
    sum += e;
    store<f32>(logits, e);
  }
  return sum;
}

// @ts-ignore: decorator
@inline
function weightedSum(s: v128, weights: usize, newest: usize, stride: usize, count: i32, n: i32): v128 {
  if (n == 4) {
    for (let d = 0; d < count; d++, weights += 4, newest -= stride) {
      s = madd(v128.load32_splat(weights), v128.load(newest), s);
    }
  } else {
    for (let d = 0; d < count; d++, weights += 4, newest -= stride) {
      s = madd(v128.load32_splat(weights), loadPart(newest, n), s);
    }
  }
  return s;
}

export function attentionCache(cmd: usize, from: i32, to: i32): void {
  const length = argInt(cmd, 5);
  const rowBytes = argPtr(cmd, 6) << 2;
  const kept = argInt(cmd, 7);
  for (let b = from; b < to; b++) {
    const real = realLength(argPtr(cmd, 4), b, length);
    const x = argPtr(cmd, 0) + <usize>(b * length) * argPtr(cmd, 1);
    const cache = argPtr(cmd, 2) + <usize>(b * kept) * rowBytes;
    const count = min(kept, load<i32>(argPtr(cmd, 3) + (<usize>b << 2)) + real);
    for (let i = 0; i < kept; i++) {
      const target = cache + <usize>i * rowBytes;
      const at = real - kept + i;
      const source = at >= 0 ? x + <usize>at * argPtr(cmd, 1) : cache + <usize>(i + real) * rowBytes;
      // Rows that were never filled are kept at zero: a state is a value and is compared as one.
      if (i < kept - count) memory.fill(target, 0, rowBytes);
      else if (source != target) memory.copy(target, source, rowBytes);
    }
  }
}

export function attentionCount(cmd: usize): void {
  const length = argInt(cmd, 2);
  for (let b = 0; b < argInt(cmd, 4); b++) {
    const at = argPtr(cmd, 0) + (<usize>b << 2);
    store<i32>(at, min(argInt(cmd, 3), load<i32>(at) + realLength(argPtr(cmd, 1), b, length)));
  }
}
