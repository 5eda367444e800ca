/**
 * Causal depthwise convolution: out[t,c] = act(bias[c] + Σ_k weight[c,k]·x[t − (K−1) + k, c]).
 *   x, out [batch·length, C] with byte strides; weight [C, K] with a byte stride; state [batch, K−1, C], oldest first.
 *
 *   conv       out, outStride, x, xStride, weight, weightStride, bias, state, lengths, length, C, K, silu, tokensPerUnit;
 *              unit = (sequence, block of tokens). Reads the state, does not change it.
 *   convState  x, xStride, state, lengths, length, C, K; unit = one sequence. Runs after conv.
 *   convStep   as conv, length 1 and K 4, reads and shifts the state in one pass; tokensPerUnit is channels per unit;
 *              unit = (sequence, block of channels)
 */
import { argInt, argPtr, loadPart, madd, realLength, storePart, zeroFloats } from './common';
import { vsilu } from './math';

export function conv(cmd: usize, from: i32, to: i32, scratch: usize): void {
  const outStride = argPtr(cmd, 1);
  const xStride = argPtr(cmd, 3);
  const state = argPtr(cmd, 7);
  const length = argInt(cmd, 9);
  const C = argInt(cmd, 10);
  const K = argInt(cmd, 11);
  const tokens = argInt(cmd, 13);
  const blocks = (length + tokens - 1) / tokens;
  const rowBytes = (<usize>C) << 2;
  // Scratch: a row of zeros, the weights tap by tap [K, C], the addresses of the K input rows.
  const zeros = scratch;
  const taps = zeros + rowBytes;
  const rows = taps + rowBytes * <usize>K;
  zeroFloats(zeros, C);
  for (let c = 0; c < C; c++) {
    for (let k = 0; k < K; k++) {
      store<f32>(
        taps + <usize>k * rowBytes + ((<usize>c) << 2),
        load<f32>(argPtr(cmd, 4) + <usize>c * argPtr(cmd, 5) + ((<usize>k) << 2)),
      );
    }
  }
  for (let unit = from; unit < to; unit++) {
    const b = unit / blocks;
    const first = (unit - b * blocks) * tokens;
    const last = min(length, first + tokens);
    const real = realLength(argPtr(cmd, 8), b, length);
    const x = argPtr(cmd, 2) + <usize>(b * length) * xStride;
    const past = state ? state + <usize>(b * (K - 1)) * rowBytes : 0;
    for (let t = first; t < last; t++) {
      const out = argPtr(cmd, 0) + <usize>(b * length + t) * outStride;
      if (t >= real) {
        zeroFloats(out, C);
        continue;
      }
      for (let k = 0; k < K; k++) {
        const at = t - (K - 1) + k;
        let row = zeros;
        if (at >= 0) row = x + <usize>at * xStride;
        else if (past) row = past + <usize>(K - 1 + at) * rowBytes;
        store<usize>(rows + ((<usize>k) << 2), row);
      }
      if (K == 4) convRow4(out, rows, taps, argPtr(cmd, 6), C, argInt(cmd, 12));
      else convRow(out, rows, taps, argPtr(cmd, 6), C, K, argInt(cmd, 12));
    }
  }
}

function convRow4(out: usize, rows: usize, taps: usize, bias: usize, C: i32, silu: i32): void {
  let x0 = load<usize>(rows);
  let x1 = load<usize>(rows, 4);
  let x2 = load<usize>(rows, 8);
  let x3 = load<usize>(rows, 12);
  const rowBytes = (<usize>C) << 2;
  let w = taps;
  let c = C;
  for (; c >= 4; c -= 4) {
    let s = bias ? v128.load(bias) : f32x4.splat(0);
    s = madd(v128.load(w), v128.load(x0), s);
    s = madd(v128.load(w + rowBytes), v128.load(x1), s);
    s = madd(v128.load(w + rowBytes * 2), v128.load(x2), s);
    s = madd(v128.load(w + rowBytes * 3), v128.load(x3), s);
    v128.store(out, silu ? vsilu(s) : s);
    out += 16;
    w += 16;
    x0 += 16;
    x1 += 16;
    x2 += 16;
    x3 += 16;
    bias = bias ? bias + 16 : 0;
  }
  if (c) {
    let s = bias ? loadPart(bias, c) : f32x4.splat(0);
    s = madd(loadPart(w, c), loadPart(x0, c), s);
    s = madd(loadPart(w + rowBytes, c), loadPart(x1, c), s);
    s = madd(loadPart(w + rowBytes * 2, c), loadPart(x2, c), s);
    s = madd(loadPart(w + rowBytes * 3, c), loadPart(x3, c), s);
    storePart(out, silu ? vsilu(s) : s, c);
  }
}

function convRow(out: usize, rows: usize, taps: usize, bias: usize, C: i32, K: i32, silu: i32): void {
  const rowBytes = (<usize>C) << 2;
  for (let c = 0; c < C; c += 4) {
    const at = (<usize>c) << 2;
    const n = min(4, C - c);
    let s = f32x4.splat(0);
    if (bias) s = n == 4 ? v128.load(bias + at) : loadPart(bias + at, n);
    for (let k: usize = 0; k < <usize>K; k++) {
      const row = load<usize>(rows + (k << 2)) + at;
      const w = taps + k * rowBytes + at;
      if (n == 4) s = madd(v128.load(w), v128.load(row), s);
      else s = madd(loadPart(w, n), loadPart(row, n), s);
    }
    if (silu) s = vsilu(s);
    if (n == 4) v128.store(out + at, s);
    else storePart(out + at, s, n);
  }
}

export function convState(cmd: usize, from: i32, to: i32): void {
  const xStride = argPtr(cmd, 1);
  const length = argInt(cmd, 4);
  const rowBytes = argPtr(cmd, 5) << 2;
  const kept = argInt(cmd, 6) - 1;
  for (let b = from; b < to; b++) {
    const real = realLength(argPtr(cmd, 3), b, length);
    const state = argPtr(cmd, 2) + <usize>(b * kept) * rowBytes;
    const x = argPtr(cmd, 0) + <usize>(b * length) * xStride;
    // Oldest first, so a row is read before it is overwritten.
    for (let i = 0; i < kept; i++) {
      const at = real - kept + i;
      const source = at >= 0 ? x + <usize>at * xStride : state + <usize>(i + real) * rowBytes;
      const target = state + <usize>i * rowBytes;
      if (source != target) memory.copy(target, source, rowBytes);
    }
  }
}

export function convStep(cmd: usize, from: i32, to: i32): void {
  const C = argInt(cmd, 10);
  const silu = argInt(cmd, 12);
  const channels = argInt(cmd, 13);
  const blocks = (C + channels - 1) / channels;
  const rowBytes = (<usize>C) << 2;
  const weightStride = argPtr(cmd, 5);
  for (let unit = from; unit < to; unit++) {
    const b = unit / blocks;
    const first = (unit - b * blocks) * channels;
    const last = min(C, first + channels);
    const bytes = (<usize>first) << 2;
    let out = argPtr(cmd, 0) + <usize>b * argPtr(cmd, 1) + bytes;
    if (!realLength(argPtr(cmd, 8), b, 1)) {
      zeroFloats(out, last - first);
      continue;
    }
    let x = argPtr(cmd, 2) + <usize>b * argPtr(cmd, 3) + bytes;
    let s = argPtr(cmd, 7) + <usize>b * rowBytes * 3 + bytes;
    let w = argPtr(cmd, 4) + <usize>first * weightStride;
    let bias = argPtr(cmd, 6) ? argPtr(cmd, 6) + bytes : 0;
    let c = first;
    for (; c + 4 <= last; c += 4, out += 16, x += 16, s += 16, w += weightStride * 4, bias = bias ? bias + 16 : 0) {
      const w0 = v128.load(w);
      const w1 = v128.load(w + weightStride);
      const w2 = v128.load(w + weightStride * 2);
      const w3 = v128.load(w + weightStride * 3);
      const low01 = v128.shuffle<f32>(w0, w1, 0, 4, 1, 5);
      const low23 = v128.shuffle<f32>(w2, w3, 0, 4, 1, 5);
      const high01 = v128.shuffle<f32>(w0, w1, 2, 6, 3, 7);
      const high23 = v128.shuffle<f32>(w2, w3, 2, 6, 3, 7);
      const s1 = v128.load(s + rowBytes);
      const s2 = v128.load(s + rowBytes * 2);
      const now = v128.load(x);
      let y = bias ? v128.load(bias) : f32x4.splat(0);
      y = madd(v128.shuffle<f32>(low01, low23, 0, 1, 4, 5), v128.load(s), y);
      y = madd(v128.shuffle<f32>(low01, low23, 2, 3, 6, 7), s1, y);
      y = madd(v128.shuffle<f32>(high01, high23, 0, 1, 4, 5), s2, y);
      y = madd(v128.shuffle<f32>(high01, high23, 2, 3, 6, 7), now, y);
      v128.store(s, s1);
      v128.store(s + rowBytes, s2);
      v128.store(s + rowBytes * 2, now);
      v128.store(out, silu ? vsilu(y) : y);
    }
    for (; c < last; c++, out += 4, x += 4, s += 4, w += weightStride, bias = bias ? bias + 4 : 0) {
      const s1 = load<f32>(s + rowBytes);
      const s2 = load<f32>(s + rowBytes * 2);
      const now = load<f32>(x);
      let y: f32 = bias ? load<f32>(bias) : 0;
      y += load<f32>(w) * load<f32>(s) + load<f32>(w, 4) * s1 + load<f32>(w, 8) * s2 + load<f32>(w, 12) * now;
      store<f32>(s, s1);
      store<f32>(s + rowBytes, s2);
      store<f32>(s + rowBytes * 2, now);
      const v = f32x4.splat(y);
      storePart(out, silu ? vsilu(v) : v, 1);
    }
  }
}
