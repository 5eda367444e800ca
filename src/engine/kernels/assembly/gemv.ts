/**
 * Matrix products with few rows of a, where reading b is all the time: b is read once and never packed.
 *   gemvT  b stored [N, K]: dot products, four rows of b at a time; unit = four columns of out
 *   gemvN  b stored [K, N]: sums of scaled rows of b, 32 columns at a time; unit = 32 columns of out
 * Arguments of both: out, outStride, a, aStride, aTransposed, b, bStride, M, N, K, bias, residual, residualStride, flags.
 */
import { argInt, argPtr, loadPart, madd, sumLanes4 } from './common';
import { finish } from './gemm';

/** Rows of op(a), contiguous: a itself, or a copy in the scratch memory if a is transposed. Row stride is K·4 in that case. */
function gatherInput(cmd: usize, scratch: usize, M: i32, K: i32): usize {
  const a = argPtr(cmd, 2);
  const stride = argPtr(cmd, 3);
  for (let m = 0; m < M; m++) {
    for (let k = 0; k < K; k++) {
      store<f32>(scratch + (<usize>(m * K + k) << 2), load<f32>(a + <usize>k * stride + (<usize>m << 2)));
    }
  }
  return scratch;
}

/** Dot products of one row with four rows of b. */
export function dot4(x: usize, b0: usize, b1: usize, b2: usize, b3: usize, K: i32): v128 {
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  let s2 = f32x4.splat(0);
  let s3 = f32x4.splat(0);
  let t0 = f32x4.splat(0);
  let t1 = f32x4.splat(0);
  let t2 = f32x4.splat(0);
  let t3 = f32x4.splat(0);
  let k = K;
  for (; k >= 8; k -= 8, x += 32, b0 += 32, b1 += 32, b2 += 32, b3 += 32) {
    const u = v128.load(x);
    s0 = madd(u, v128.load(b0), s0);
    s1 = madd(u, v128.load(b1), s1);
    s2 = madd(u, v128.load(b2), s2);
    s3 = madd(u, v128.load(b3), s3);
    const v = v128.load(x, 16);
    t0 = madd(v, v128.load(b0, 16), t0);
    t1 = madd(v, v128.load(b1, 16), t1);
    t2 = madd(v, v128.load(b2, 16), t2);
    t3 = madd(v, v128.load(b3, 16), t3);
  }
  for (; k >= 4; k -= 4, x += 16, b0 += 16, b1 += 16, b2 += 16, b3 += 16) {
    const u = v128.load(x);
    s0 = madd(u, v128.load(b0), s0);
    s1 = madd(u, v128.load(b1), s1);
    s2 = madd(u, v128.load(b2), s2);
    s3 = madd(u, v128.load(b3), s3);
  }
  if (k) {
    const u = loadPart(x, k);
    s0 = madd(u, loadPart(b0, k), s0);
    s1 = madd(u, loadPart(b1, k), s1);
    s2 = madd(u, loadPart(b2, k), s2);
    s3 = madd(u, loadPart(b3, k), s3);
  }
  return sumLanes4(f32x4.add(s0, t0), f32x4.add(s1, t1), f32x4.add(s2, t2), f32x4.add(s3, t3));
}

export function gemvT(cmd: usize, from: i32, to: i32, scratch: usize): void {
  const outStride = argPtr(cmd, 1);
  const bStride = argPtr(cmd, 6);
  const M = argInt(cmd, 7);
  const N = argInt(cmd, 8);
  const K = argInt(cmd, 9);
  const bias = argPtr(cmd, 10);
  const residual = argPtr(cmd, 11);
  const residualStride = argPtr(cmd, 12);
  const flags = argInt(cmd, 13);
  const transposed = argInt(cmd, 4) != 0;
  const a = transposed ? gatherInput(cmd, scratch, M, K) : argPtr(cmd, 2);
  const aStride = transposed ? <usize>K << 2 : argPtr(cmd, 3);
  for (let unit = from; unit < to; unit++) {
    const first = unit * 4;
    const n = min(4, N - first);
    const at = <usize>first << 2;
    // Past the last row of b the last one is read again; `finish` stores n columns only.
    const b0 = argPtr(cmd, 5) + <usize>first * bStride;
    const b1 = n > 1 ? b0 + bStride : b0;
    const b2 = n > 2 ? b1 + bStride : b1;
    const b3 = n > 3 ? b2 + bStride : b2;
    for (let m: usize = 0; m < <usize>M; m++) {
      const sums = dot4(a + m * aStride, b0, b1, b2, b3, K);
      finish(
        sums,
        argPtr(cmd, 0) + m * outStride + at,
        bias ? bias + at : 0,
        residual ? residual + m * residualStride + at : 0,
        flags,
        n,
      );
    }
  }
}

export function gemvN(cmd: usize, from: i32, to: i32, scratch: usize): void {
  const outStride = argPtr(cmd, 1);
  const bStride = argPtr(cmd, 6);
  const M = argInt(cmd, 7);
  const N = argInt(cmd, 8);
  const K = argInt(cmd, 9);
  const bias = argPtr(cmd, 10);
  const residual = argPtr(cmd, 11);
  const residualStride = argPtr(cmd, 12);
  const flags = argInt(cmd, 13);
  const transposed = argInt(cmd, 4) != 0;
  const a = transposed ? gatherInput(cmd, scratch, M, K) : argPtr(cmd, 2);
  const aStride = transposed ? <usize>K << 2 : argPtr(cmd, 3);
  for (let unit = from; unit < to; unit++) {
    for (let m: usize = 0; m < <usize>M; m++) {
      const x = a + m * aStride;
      const out = argPtr(cmd, 0) + m * outStride;
      const added = residual ? residual + m * residualStride : 0;
      if (N - unit * 32 >= 32) {
        rows32(x, argPtr(cmd, 5), bStride, K, unit * 32, out, bias, added, flags);
      } else {
        for (let c = unit * 32; c < N; c += 4) {
          rowsPart(x, argPtr(cmd, 5), bStride, K, c, min(4, N - c), out, bias, added, flags);
        }
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function finishAt(v: v128, c: i32, n: i32, out: usize, bias: usize, residual: usize, flags: i32): void {
  const at = <usize>c << 2;
  finish(v, out + at, bias ? bias + at : 0, residual ? residual + at : 0, flags, n);
}

function rows32(
  x: usize,
  b: usize,
  stride: usize,
  K: i32,
  column: i32,
  out: usize,
  bias: usize,
  residual: usize,
  flags: i32,
): void {
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  let s2 = f32x4.splat(0);
  let s3 = f32x4.splat(0);
  let s4 = f32x4.splat(0);
  let s5 = f32x4.splat(0);
  let s6 = f32x4.splat(0);
  let s7 = f32x4.splat(0);
  let p = b + (<usize>column << 2);
  const end = x + (<usize>K << 2);
  for (; x < end; x += 4, p += stride) {
    const u = v128.load32_splat(x);
    s0 = madd(u, v128.load(p), s0);
    s1 = madd(u, v128.load(p, 16), s1);
    s2 = madd(u, v128.load(p, 32), s2);
    s3 = madd(u, v128.load(p, 48), s3);
    s4 = madd(u, v128.load(p, 64), s4);
    s5 = madd(u, v128.load(p, 80), s5);
    s6 = madd(u, v128.load(p, 96), s6);
    s7 = madd(u, v128.load(p, 112), s7);
  }
  finishAt(s0, column, 4, out, bias, residual, flags);
  finishAt(s1, column + 4, 4, out, bias, residual, flags);
  finishAt(s2, column + 8, 4, out, bias, residual, flags);
  finishAt(s3, column + 12, 4, out, bias, residual, flags);
  finishAt(s4, column + 16, 4, out, bias, residual, flags);
  finishAt(s5, column + 20, 4, out, bias, residual, flags);
  finishAt(s6, column + 24, 4, out, bias, residual, flags);
  finishAt(s7, column + 28, 4, out, bias, residual, flags);
}

function rowsPart(
  x: usize,
  b: usize,
  stride: usize,
  K: i32,
  column: i32,
  n: i32,
  out: usize,
  bias: usize,
  residual: usize,
  flags: i32,
): void {
  let s = f32x4.splat(0);
  let p = b + (<usize>column << 2);
  const end = x + (<usize>K << 2);
  for (; x < end; x += 4, p += stride) {
    s = madd(v128.load32_splat(x), n == 4 ? v128.load(p) : loadPart(p, n), s);
  }
  finishAt(s, column, n, out, bias, residual, flags);
}
