/**
 * Matrix product with few rows of a, where reading b is all the time: the panels of `gemm` are read once, forward, four
 * at a time (nine loads for eight products; a machine with 128-bit registers runs out of loads first). Every sum runs
 * over K in the order of `gemm`, so a row gives the same bits alone and in a batch.
 *
 * Arguments: out, outStride, a, aStride, aTransposed, panels, M, N, K, bias, residual, residualStride, flags.
 * Unit = four panels (32 columns of out).
 */
import { argInt, argPtr, madd } from './common';
import { B_STEP, NR, finish } from './gemm';

const PANELS: i32 = 4;
/** Bytes of scratch memory for the sums of a unit; the gathered rows of a transposed a follow. */
const SUMS: usize = 128;

export function gemv(cmd: usize, from: i32, to: i32, scratch: usize): void {
  const M = argInt(cmd, 6);
  const N = argInt(cmd, 7);
  const K = argInt(cmd, 8);
  const bias = argPtr(cmd, 9);
  const residual = argPtr(cmd, 10);
  const flags = argInt(cmd, 12);
  const transposed = argInt(cmd, 4) != 0;
  const panelBytes = <usize>K * B_STEP;
  if (transposed) gatherRows(scratch + SUMS, argPtr(cmd, 2), argPtr(cmd, 3), M, K);
  for (let unit = from; unit < to; unit++) {
    const first = unit * PANELS * NR;
    const last = min(N, first + PANELS * NR);
    const b = argPtr(cmd, 5) + <usize>(unit * PANELS) * panelBytes;
    for (let m: usize = 0; m < <usize>M; m++) {
      const x = transposed ? scratch + SUMS + m * (<usize>K << 2) : argPtr(cmd, 2) + m * argPtr(cmd, 3);
      if (last - first > (PANELS - 1) * NR) {
        fourPanels(x, b, panelBytes, K, scratch);
      } else {
        for (let j = 0; first + j * NR < last; j++) {
          onePanel(x, b + <usize>j * panelBytes, K, scratch + <usize>j * B_STEP);
        }
      }
      for (let c = first; c < last; c += 4) {
        const at = <usize>c << 2;
        finish(
          v128.load(scratch + (<usize>(c - first) << 2)),
          argPtr(cmd, 0) + m * argPtr(cmd, 1) + at,
          bias ? bias + at : 0,
          residual ? residual + m * argPtr(cmd, 11) + at : 0,
          flags,
          min(4, last - c),
        );
      }
    }
  }
}

/** Rows of op(a) one after another, from a stored [K, M]. */
function gatherRows(dst: usize, a: usize, stride: usize, M: i32, K: i32): void {
  for (let m = 0; m < M; m++) {
    for (let k = 0; k < K; k++, dst += 4) store<f32>(dst, load<f32>(a + <usize>k * stride + (<usize>m << 2)));
  }
}

/** sums[32] = x · four panels. One index for all of them keeps the addresses in registers. */
export function fourPanels(x: usize, b0: usize, panelBytes: usize, K: i32, sums: usize): void {
  const b1 = b0 + panelBytes;
  const b2 = b1 + panelBytes;
  const b3 = b2 + panelBytes;
  let s00 = f32x4.splat(0);
  let s01 = f32x4.splat(0);
  let s10 = f32x4.splat(0);
  let s11 = f32x4.splat(0);
  let s20 = f32x4.splat(0);
  let s21 = f32x4.splat(0);
  let s30 = f32x4.splat(0);
  let s31 = f32x4.splat(0);
  const end = <usize>K * B_STEP;
  for (let i: usize = 0; i < end; i += B_STEP, x += 4) {
    const u = v128.load32_splat(x);
    s00 = madd(u, v128.load(b0 + i), s00);
    s01 = madd(u, v128.load(b0 + i, 16), s01);
    s10 = madd(u, v128.load(b1 + i), s10);
    s11 = madd(u, v128.load(b1 + i, 16), s11);
    s20 = madd(u, v128.load(b2 + i), s20);
    s21 = madd(u, v128.load(b2 + i, 16), s21);
    s30 = madd(u, v128.load(b3 + i), s30);
    s31 = madd(u, v128.load(b3 + i, 16), s31);
  }
  v128.store(sums, s00);
  v128.store(sums, s01, 16);
  v128.store(sums, s10, 32);
  v128.store(sums, s11, 48);
  v128.store(sums, s20, 64);
  v128.store(sums, s21, 80);
  v128.store(sums, s30, 96);
  v128.store(sums, s31, 112);
}

function onePanel(x: usize, b: usize, K: i32, sums: usize): void {
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  const end = b + <usize>K * B_STEP;
  for (; b < end; b += B_STEP, x += 4) {
    const u = v128.load32_splat(x);
    s0 = madd(u, v128.load(b), s0);
    s1 = madd(u, v128.load(b, 16), s1);
  }
  v128.store(sums, s0);
  v128.store(sums, s1, 16);
}
