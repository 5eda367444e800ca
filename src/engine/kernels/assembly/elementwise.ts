/**
 * Element-wise kernels on rows [rows, cols] with byte strides (0 repeats an input row). Unit = one row.
 *   fill    out, outStride, cols, value (bits, so that i32 works too)
 *   copy    out, outStride, x, xStride, cols
 *   unary   out, outStride, x, xStride, cols, fn
 *   binary  out, outStride, a, aStride, b, bStride, cols, multiply
 *   swiglu  out, outStride, x, xStride, cols: x has 2·cols columns
 */
import { argInt, argPtr, loadPart, storePart } from './common';
import { vasinh, vexp, vsigmoid, vsilu, vsoftplus } from './math';
import { UnaryOp } from './opcodes';

export function fill(cmd: usize, from: i32, to: i32): void {
  const out = argPtr(cmd, 0);
  const stride = argPtr(cmd, 1);
  const cols = argInt(cmd, 2);
  const value = i32x4.splat(argInt(cmd, 3));
  for (let r = from; r < to; r++) {
    let p = out + <usize>r * stride;
    let c = cols;
    for (; c >= 4; c -= 4, p += 16) v128.store(p, value);
    if (c) storePart(p, value, c);
  }
}

export function copy(cmd: usize, from: i32, to: i32): void {
  const out = argPtr(cmd, 0);
  const outStride = argPtr(cmd, 1);
  const x = argPtr(cmd, 2);
  const xStride = argPtr(cmd, 3);
  const bytes = argPtr(cmd, 4) << 2;
  for (let r = from; r < to; r++) memory.copy(out + <usize>r * outStride, x + <usize>r * xStride, bytes);
}

/** f as a compile-time constant: each function gets its own loop. */
// @ts-ignore: decorator
@inline
function apply(fn: i32, v: v128): v128 {
  if (fn == UnaryOp.Silu) return vsilu(v);
  if (fn == UnaryOp.Softplus) return vsoftplus(v);
  if (fn == UnaryOp.Exp) return vexp(v);
  if (fn == UnaryOp.Asinh) return vasinh(v);
  return vsigmoid(v);
}

// @ts-ignore: decorator
@inline
function unaryRows(cmd: usize, from: i32, to: i32, fn: i32): void {
  const outStride = argPtr(cmd, 1);
  const xStride = argPtr(cmd, 3);
  const cols = argInt(cmd, 4);
  for (let r = from; r < to; r++) {
    let p = argPtr(cmd, 0) + <usize>r * outStride;
    let x = argPtr(cmd, 2) + <usize>r * xStride;
    let c = cols;
    for (; c > 0; c -= 4, p += 16, x += 16) {
      if (c >= 4) v128.store(p, apply(fn, v128.load(x)));
      else storePart(p, apply(fn, loadPart(x, c)), c);
    }
  }
}
function siluRows(cmd: usize, from: i32, to: i32): void {
  unaryRows(cmd, from, to, UnaryOp.Silu);
}
function softplusRows(cmd: usize, from: i32, to: i32): void {
  unaryRows(cmd, from, to, UnaryOp.Softplus);
}
function expRows(cmd: usize, from: i32, to: i32): void {
  unaryRows(cmd, from, to, UnaryOp.Exp);
}
function asinhRows(cmd: usize, from: i32, to: i32): void {
  unaryRows(cmd, from, to, UnaryOp.Asinh);
}
function sigmoidRows(cmd: usize, from: i32, to: i32): void {
  unaryRows(cmd, from, to, UnaryOp.Sigmoid);
}

export function unary(cmd: usize, from: i32, to: i32): void {
  switch (argInt(cmd, 5)) {
    case UnaryOp.Silu:
      return siluRows(cmd, from, to);
    case UnaryOp.Softplus:
      return softplusRows(cmd, from, to);
    case UnaryOp.Exp:
      return expRows(cmd, from, to);
    case UnaryOp.Asinh:
      return asinhRows(cmd, from, to);
    default:
      return sigmoidRows(cmd, from, to);
  }
}

export function binary(cmd: usize, from: i32, to: i32): void {
  const outStride = argPtr(cmd, 1);
  const aStride = argPtr(cmd, 3);
  const bStride = argPtr(cmd, 5);
  const cols = argInt(cmd, 6);
  const multiply = argInt(cmd, 7);
  for (let r = from; r < to; r++) {
    let p = argPtr(cmd, 0) + <usize>r * outStride;
    let a = argPtr(cmd, 2) + <usize>r * aStride;
    let b = argPtr(cmd, 4) + <usize>r * bStride;
    let c = cols;
    for (; c >= 4; c -= 4, p += 16, a += 16, b += 16) {
      const u = v128.load(a);
      const v = v128.load(b);
      v128.store(p, multiply ? f32x4.mul(u, v) : f32x4.add(u, v));
    }
    if (c) {
      const u = loadPart(a, c);
      const v = loadPart(b, c);
      storePart(p, multiply ? f32x4.mul(u, v) : f32x4.add(u, v), c);
    }
  }
}

export function swiglu(cmd: usize, from: i32, to: i32): void {
  const outStride = argPtr(cmd, 1);
  const xStride = argPtr(cmd, 3);
  const cols = argInt(cmd, 4);
  for (let r = from; r < to; r++) {
    let p = argPtr(cmd, 0) + <usize>r * outStride;
    let a = argPtr(cmd, 2) + <usize>r * xStride;
    let b = a + (<usize>cols << 2);
    let c = cols;
    for (; c >= 4; c -= 4, p += 16, a += 16, b += 16) {
      v128.store(p, f32x4.mul(vsilu(v128.load(a)), v128.load(b)));
    }
    if (c) storePart(p, f32x4.mul(vsilu(loadPart(a, c)), loadPart(b, c)), c);
  }
}
