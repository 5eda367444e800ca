/**
 * Matrix product by packed panels: out[M,N] = act(op(a)·op(b) + bias) + residual (+ out).
 *
 * b is packed once into panels [ceil(N/NR)][K][NR], a block of rows of a at a time into [ceil(rows/MR)][K][MR], both
 * zero-padded, so that the inner loop reads two streams forward: per step of K it loads two vectors of b and MR
 * splatted values of a into MR·2 accumulators. MR = 5 leaves room for the product of the plain build in the 15 vector
 * registers that V8 allocates on x64; with 6 it spills. There is no blocking of K: four lanes a register need so little
 * bandwidth that panels of any K stream from L2, and one serial sum per element keeps results independent of the split.
 *
 *   packWeights  dst, src, srcStride, K, N, transposed; unit = one panel; transposed means b is stored [N, K]
 *   gemm         out, outStride, a, aStride, aTransposed, panels, M, N, K, rowsPerUnit, panelsPerUnit, bias, residual,
 *                residualStride, flags; unit = rowsPerUnit × panelsPerUnit·NR of out, row blocks outermost
 */
import { argInt, argPtr, loadPart, madd, storePart } from './common';
import { vsilu } from './math';

export const MR: i32 = 5;
export const NR: i32 = 8;
export const A_STEP: usize = 20;
export const B_STEP: usize = 32;

export const FLAG_SILU: i32 = 1;
export const FLAG_ACCUMULATE: i32 = 2;

/** act(v + bias) + residual (+ out) for n (1…4) columns; bias and residual may be 0 (absent). */
// @ts-ignore: decorator
@inline
export function finish(v: v128, out: usize, bias: usize, residual: usize, flags: i32, n: i32): void {
  if (n >= 4) {
    if (bias) v = f32x4.add(v, v128.load(bias));
    if (flags & FLAG_SILU) v = vsilu(v);
    if (residual) v = f32x4.add(v, v128.load(residual));
    if (flags & FLAG_ACCUMULATE) v = f32x4.add(v, v128.load(out));
    v128.store(out, v);
  } else {
    if (bias) v = f32x4.add(v, loadPart(bias, n));
    if (flags & FLAG_SILU) v = vsilu(v);
    if (residual) v = f32x4.add(v, loadPart(residual, n));
    if (flags & FLAG_ACCUMULATE) v = f32x4.add(v, loadPart(out, n));
    storePart(out, v, n);
  }
}

export function packWeights(cmd: usize, from: i32, to: i32): void {
  const src = argPtr(cmd, 1);
  const stride = argPtr(cmd, 2);
  const K = argInt(cmd, 3);
  const N = argInt(cmd, 4);
  for (let panel = from; panel < to; panel++) {
    const dst = argPtr(cmd, 0) + <usize>panel * <usize>K * B_STEP;
    const first = panel * NR;
    const cols = min(NR, N - first);
    if (argInt(cmd, 5)) packTransposed(dst, src + <usize>first * stride, stride, K, cols);
    else packRows(dst, src + (<usize>first << 2), stride, K, cols);
  }
}

function packRows(dst: usize, src: usize, stride: usize, K: i32, cols: i32): void {
  for (let k = 0; k < K; k++, dst += B_STEP, src += stride) {
    if (cols == NR) {
      v128.store(dst, v128.load(src));
      v128.store(dst, v128.load(src, 16), 16);
    } else {
      for (let c = 0; c < NR; c++) {
        store<f32>(dst + (<usize>c << 2), c < cols ? load<f32>(src + (<usize>c << 2)) : 0);
      }
    }
  }
}

export function packTransposed(dst: usize, src: usize, stride: usize, K: i32, cols: i32): void {
  for (let c = 0; c < NR; c += 4) {
    const to = dst + (<usize>c << 2);
    const row = src + <usize>c * stride;
    if (cols >= c + 4) {
      transpose4(to, B_STEP, row, stride, K);
    } else {
      for (let i = 0; i < 4; i++) {
        const lane = to + (<usize>i << 2);
        if (c + i < cols) gatherLane(lane, B_STEP, row + <usize>i * stride, 4, K);
        else zeroLane(lane, B_STEP, K);
      }
    }
  }
}

/** dst[k·step + i·4] = src[i·stride + k·4] for i < 4. */
function transpose4(dst: usize, step: usize, src: usize, stride: usize, K: i32): void {
  let k = K;
  for (; k >= 4; k -= 4, dst += step << 2, src += 16) {
    const r0 = v128.load(src);
    const r1 = v128.load(src + stride);
    const r2 = v128.load(src + stride * 2);
    const r3 = v128.load(src + stride * 3);
    const low01 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
    const low23 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
    const high01 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
    const high23 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
    v128.store(dst, v128.shuffle<f32>(low01, low23, 0, 1, 4, 5));
    v128.store(dst + step, v128.shuffle<f32>(low01, low23, 2, 3, 6, 7));
    v128.store(dst + step * 2, v128.shuffle<f32>(high01, high23, 0, 1, 4, 5));
    v128.store(dst + step * 3, v128.shuffle<f32>(high01, high23, 2, 3, 6, 7));
  }
  for (; k > 0; k--, dst += step, src += 4) {
    for (let i: usize = 0; i < 4; i++) store<f32>(dst + (i << 2), load<f32>(src + i * stride));
  }
}

/** dst[k·step] = src[k·stride]. */
function gatherLane(dst: usize, step: usize, src: usize, stride: usize, K: i32): void {
  for (let k = 0; k < K; k++, dst += step, src += stride) store<f32>(dst, load<f32>(src));
}
function zeroLane(dst: usize, step: usize, K: i32): void {
  for (let k = 0; k < K; k++, dst += step) store<f32>(dst, 0);
}

/** One panel [K][MR] of op(a): rows (1…MR) rows from `src` on. */
export function packInput(dst: usize, src: usize, stride: usize, transposed: bool, rows: i32, K: i32): void {
  if (transposed) {
    for (let k = 0; k < K; k++, dst += A_STEP, src += stride) {
      for (let i = 0; i < MR; i++) {
        store<f32>(dst + (<usize>i << 2), i < rows ? load<f32>(src + (<usize>i << 2)) : 0);
      }
    }
    return;
  }
  let i = 0;
  if (rows >= 4) {
    transpose4(dst, A_STEP, src, stride, K);
    i = 4;
  }
  for (; i < MR; i++) {
    const lane = dst + (<usize>i << 2);
    if (i < rows) gatherLane(lane, A_STEP, src + <usize>i * stride, 4, K);
    else zeroLane(lane, A_STEP, K);
  }
}

/** tile[MR][NR] = panel a [K][MR] · panel b [K][NR]. */
export function multiplyPanels(a: usize, b: usize, K: i32, tile: usize): void {
  let c00 = f32x4.splat(0);
  let c01 = f32x4.splat(0);
  let c10 = f32x4.splat(0);
  let c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0);
  let c21 = f32x4.splat(0);
  let c30 = f32x4.splat(0);
  let c31 = f32x4.splat(0);
  let c40 = f32x4.splat(0);
  let c41 = f32x4.splat(0);
  const end = b + <usize>K * B_STEP;
  while (b < end) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    const a0 = v128.load32_splat(a);
    c00 = madd(a0, b0, c00);
    c01 = madd(a0, b1, c01);
    const a1 = v128.load32_splat(a, 4);
    c10 = madd(a1, b0, c10);
    c11 = madd(a1, b1, c11);
    const a2 = v128.load32_splat(a, 8);
    c20 = madd(a2, b0, c20);
    c21 = madd(a2, b1, c21);
    const a3 = v128.load32_splat(a, 12);
    c30 = madd(a3, b0, c30);
    c31 = madd(a3, b1, c31);
    const a4 = v128.load32_splat(a, 16);
    c40 = madd(a4, b0, c40);
    c41 = madd(a4, b1, c41);
    a += A_STEP;
    b += B_STEP;
  }
  v128.store(tile, c00);
  v128.store(tile, c01, 16);
  v128.store(tile, c10, 32);
  v128.store(tile, c11, 48);
  v128.store(tile, c20, 64);
  v128.store(tile, c21, 80);
  v128.store(tile, c30, 96);
  v128.store(tile, c31, 112);
  v128.store(tile, c40, 128);
  v128.store(tile, c41, 144);
}

export function gemm(cmd: usize, from: i32, to: i32, scratch: usize): void {
  const outStride = argPtr(cmd, 1);
  const aStride = argPtr(cmd, 3);
  const transposed = argInt(cmd, 4) != 0;
  const panels = argPtr(cmd, 5);
  const M = argInt(cmd, 6);
  const N = argInt(cmd, 7);
  const K = argInt(cmd, 8);
  const rowsPerUnit = argInt(cmd, 9);
  const panelsPerUnit = argInt(cmd, 10);
  const bias = argPtr(cmd, 11);
  const residual = argPtr(cmd, 12);
  const residualStride = argPtr(cmd, 13);
  const flags = argInt(cmd, 14);
  const allPanels = (N + NR - 1) / NR;
  const columnUnits = (allPanels + panelsPerUnit - 1) / panelsPerUnit;
  const panelBytes = <usize>K * B_STEP;
  const inputBytes = <usize>K * A_STEP;
  // The tile comes first in the scratch memory, then the packed rows.
  const tile = scratch;
  const packed = scratch + 256;
  let packedBlock = -1;
  for (let unit = from; unit < to; unit++) {
    const block = unit / columnUnits;
    const firstRow = block * rowsPerUnit;
    const lastRow = min(M, firstRow + rowsPerUnit);
    if (block != packedBlock) {
      let dst = packed;
      for (let r = firstRow; r < lastRow; r += MR, dst += inputBytes) {
        const src = argPtr(cmd, 2) + (transposed ? <usize>r << 2 : <usize>r * aStride);
        packInput(dst, src, aStride, transposed, min(MR, lastRow - r), K);
      }
      packedBlock = block;
    }
    const firstPanel = (unit - block * columnUnits) * panelsPerUnit;
    const lastPanel = min(allPanels, firstPanel + panelsPerUnit);
    for (let j = firstPanel; j < lastPanel; j++) {
      const b = panels + <usize>j * panelBytes;
      const columnBytes = <usize>(j * NR) << 2;
      const cols = min(NR, N - j * NR);
      let a = packed;
      for (let r = firstRow; r < lastRow; r += MR, a += inputBytes) {
        multiplyPanels(a, b, K, tile);
        const rows = min(MR, lastRow - r);
        let t = tile;
        let out = argPtr(cmd, 0) + <usize>r * outStride + columnBytes;
        let added = residual ? residual + <usize>r * residualStride + columnBytes : 0;
        const biasAt = bias ? bias + columnBytes : 0;
        for (let i = 0; i < rows; i++, t += 32, out += outStride, added = added ? added + residualStride : 0) {
          finish(v128.load(t), out, biasAt, added, flags, cols);
          if (cols > 4) {
            finish(v128.load(t, 16), out + 16, biasAt ? biasAt + 16 : 0, added ? added + 16 : 0, flags, cols - 4);
          }
        }
      }
    }
  }
}
