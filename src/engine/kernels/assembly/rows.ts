/**
 * Kernels that read whole rows [T, cols] with byte strides. Unit = one row (or one block of columns, as said).
 *   embedding     out, outStride, ids, idStride, table, tableStride, cols, vocabulary
 *   rmsNorm       out, outStride, x, xStride, weight, cols, eps
 *   gatedRmsNorm  out, outStride, x, xStride, z, zStride, weight, cols, eps, groupSize
 *   columnSum     out, x, xStride, rows, cols, accumulate; unit = 16 columns
 *   sumSquares    out, x, xStride, rows, cols; one unit, summed in f64 in row order
 */
import { argFloat, argInt, argPtr, loadPart, madd, storePart, sumLanes } from './common';
import { vsilu } from './math';

export function embedding(cmd: usize, from: i32, to: i32): void {
  const cols = argInt(cmd, 6);
  for (let r = from; r < to; r++) {
    const out = argPtr(cmd, 0) + <usize>r * argPtr(cmd, 1);
    const id = load<u32>(argPtr(cmd, 2) + <usize>r * argPtr(cmd, 3));
    if (id < <u32>argInt(cmd, 7)) {
      memory.copy(out, argPtr(cmd, 4) + <usize>id * argPtr(cmd, 5), <usize>cols << 2);
    } else {
      for (let c: usize = 0; c < <usize>cols; c++) store<f32>(out + (c << 2), NaN);
    }
  }
}

/** x / root · weight over cols columns. */
// @ts-ignore: decorator
@inline
function scaleRow(out: usize, x: usize, weight: usize, cols: i32, sum: f32, eps: f32): void {
  const scale = f32x4.splat(1 / sqrt<f32>(sum / <f32>cols + eps));
  let c = cols;
  for (; c >= 4; c -= 4, out += 16, x += 16, weight += 16) {
    v128.store(out, f32x4.mul(f32x4.mul(v128.load(x), scale), v128.load(weight)));
  }
  if (c) storePart(out, f32x4.mul(f32x4.mul(loadPart(x, c), scale), loadPart(weight, c)), c);
}

export function rmsNorm(cmd: usize, from: i32, to: i32): void {
  const cols = argInt(cmd, 5);
  for (let r = from; r < to; r++) {
    const x = argPtr(cmd, 2) + <usize>r * argPtr(cmd, 3);
    let p = x;
    let s0 = f32x4.splat(0);
    let s1 = f32x4.splat(0);
    let c = cols;
    for (; c >= 8; c -= 8, p += 32) {
      const u = v128.load(p);
      const v = v128.load(p, 16);
      s0 = madd(u, u, s0);
      s1 = madd(v, v, s1);
    }
    for (; c > 0; c -= 4, p += 16) {
      const u = c >= 4 ? v128.load(p) : loadPart(p, c);
      s0 = madd(u, u, s0);
    }
    scaleRow(
      argPtr(cmd, 0) + <usize>r * argPtr(cmd, 1),
      x,
      argPtr(cmd, 4),
      cols,
      sumLanes(f32x4.add(s0, s1)),
      argFloat(cmd, 6),
    );
  }
}

export function gatedRmsNorm(cmd: usize, from: i32, to: i32): void {
  const cols = argInt(cmd, 7);
  const eps = argFloat(cmd, 8);
  const groupSize = argInt(cmd, 9);
  for (let r = from; r < to; r++) {
    for (let start = 0; start < cols; start += groupSize) {
      const at = <usize>start << 2;
      let x = argPtr(cmd, 2) + <usize>r * argPtr(cmd, 3) + at;
      let z = argPtr(cmd, 4) + <usize>r * argPtr(cmd, 5) + at;
      const out = argPtr(cmd, 0) + <usize>r * argPtr(cmd, 1) + at;
      // The gated values wait in `out` for the scale.
      let p = out;
      let s = f32x4.splat(0);
      let c = groupSize;
      for (; c >= 4; c -= 4, p += 16, x += 16, z += 16) {
        const g = f32x4.mul(v128.load(x), vsilu(v128.load(z)));
        s = madd(g, g, s);
        v128.store(p, g);
      }
      if (c) {
        const g = f32x4.mul(loadPart(x, c), vsilu(loadPart(z, c)));
        s = madd(g, g, s);
        storePart(p, g, c);
      }
      scaleRow(out, out, argPtr(cmd, 6) + at, groupSize, sumLanes(s), eps);
    }
  }
}

export function columnSum(cmd: usize, from: i32, to: i32): void {
  const xStride = argPtr(cmd, 2);
  const rows = argInt(cmd, 3);
  const cols = argInt(cmd, 4);
  const accumulate = argInt(cmd, 5);
  for (let unit = from; unit < to; unit++) {
    const end = min(cols, unit * 16 + 16);
    for (let c = unit * 16; c < end; c += 4) {
      const out = argPtr(cmd, 0) + (<usize>c << 2);
      let x = argPtr(cmd, 1) + (<usize>c << 2);
      const n = end - c;
      let s = f32x4.splat(0);
      if (n >= 4) {
        for (let r = 0; r < rows; r++, x += xStride) s = f32x4.add(s, v128.load(x));
        v128.store(out, accumulate ? f32x4.add(v128.load(out), s) : s);
      } else {
        for (let r = 0; r < rows; r++, x += xStride) s = f32x4.add(s, loadPart(x, n));
        storePart(out, accumulate ? f32x4.add(loadPart(out, n), s) : s, n);
      }
    }
  }
}

export function sumSquares(cmd: usize): void {
  const rows = argInt(cmd, 3);
  const cols = argInt(cmd, 4);
  let sum: f64 = 0;
  for (let r = 0; r < rows; r++) {
    const x = argPtr(cmd, 1) + <usize>r * argPtr(cmd, 2);
    for (let c: usize = 0; c < <usize>cols; c++) {
      const v = <f64>load<f32>(x + (c << 2));
      sum += v * v;
    }
  }
  store<f32>(argPtr(cmd, 0), <f32>sum);
}
