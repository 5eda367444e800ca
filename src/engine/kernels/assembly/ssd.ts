/**
 * Mamba-2 state space duality (Dao & Gu 2024), per head h, group g = h div (H/G), A = −exp(aLog[h]):
 *   S[p,n] ← exp(dt·A)·S[p,n] + dt·x[p]·B[n];   y[p] = Σ_n C[n]·S[p,n] + skip·x[p].
 *   x, out [batch·length, H·P]; dt [batch·length, H]; aLog, skip, dtBias [H]; B, C [batch·length, G·N]; state [batch, H, P, N].
 *
 * As a plain recurrence: 5·N·P operations a token and head, against 4·N·P + Q·P of the chunked form, which on a machine
 * without matrix units is no gain. A chunk of TOKENS tokens passes over one block of the state at a time, 2 values of p
 * by 16 of n, which stays in eight registers from the chunk's first token to its last.
 *
 * Arguments: out, outStride, x, xStride, dt, dtStride, aLog, B, bStride, C, cStride, skip, dtBias, state, lengths,
 *   length, H, G, P, N, dtLow, dtHigh, zoh. Unit = (sequence, head), heads innermost. `ssdStep` takes the same for a
 *   length of 1 with a state and works on the state in place.
 */
import { argFloat, argInt, argPtr, loadPart, madd, realLength, storePart, sumLanes, zeroFloats } from './common';
import { vexp, vexp2Decay, vexp2Minus1, vsoftplus } from './math';

/** Tokens of a chunk: B and C of one (2·TOKENS·N floats) should stay in the first-level cache. */
export const TOKENS: i32 = 32;
/** Values of n in registers at a time. */
const BLOCK: i32 = 16;

const LOG2E: f32 = 1.4426950408889634;

/** −exp(aLog), in every lane. */
// @ts-ignore: decorator
@inline
export function decayRate(aLog: usize): v128 {
  return f32x4.neg(vexp(v128.load32_splat(aLog)));
}

/** Step size: softplus(raw + bias) clamped; a NaN stays. */
// @ts-ignore: decorator
@inline
export function stepSize(raw: v128, bias: v128, low: f32, high: f32): v128 {
  return f32x4.pmin(f32x4.pmax(vsoftplus(f32x4.add(raw, bias)), f32x4.splat(low)), f32x4.splat(high));
}

/** exp(dt·A). */
// @ts-ignore: decorator
@inline
export function decayOf(dt: v128, A: v128): v128 {
  return vexp2Decay(f32x4.mul(dt, f32x4.mul(A, f32x4.splat(LOG2E))));
}

/** Factor of the input term: dt (Euler) or (exp(dt·A) − 1)/A (zero-order hold, dt where A is 0). */
// @ts-ignore: decorator
@inline
export function inputFactor(dt: v128, A: v128, zoh: i32): v128 {
  if (!zoh) return dt;
  const held = f32x4.div(vexp2Minus1(f32x4.mul(dt, f32x4.mul(A, f32x4.splat(LOG2E)))), A);
  return v128.bitselect(dt, held, f32x4.eq(A, f32x4.splat(0)));
}

export function ssd(cmd: usize, from: i32, to: i32, scratch: usize): void {
  const length = argInt(cmd, 15);
  const H = argInt(cmd, 16);
  const P = argInt(cmd, 18);
  const N = argInt(cmd, 19);
  const padded = (N + BLOCK - 1) & ~(BLOCK - 1);
  const stateRow = <usize>padded << 2;
  // Scratch: decay [TOKENS], factor [TOKENS], weights {decay, u0, u1, –} [TOKENS], y lanes [TOKENS][2][4],
  // B | C of the chunk [padded/16][TOKENS][32], the state [P + 1][padded] (the last row pairs an odd P).
  const decay = scratch;
  const factor = decay + <usize>TOKENS * 4;
  const weights = factor + <usize>TOKENS * 4;
  const lanes = weights + <usize>TOKENS * 16;
  const packed = lanes + <usize>TOKENS * 32;
  const own = packed + <usize>TOKENS * stateRow * 2;
  for (let unit = from; unit < to; unit++) {
    const b = unit / H;
    const h = unit - b * H;
    const g = h / (H / argInt(cmd, 17));
    const real = realLength(argPtr(cmd, 14), b, length);
    const A = decayRate(argPtr(cmd, 6) + (<usize>h << 2));
    const bias = argPtr(cmd, 12) ? v128.load32_splat(argPtr(cmd, 12) + (<usize>h << 2)) : f32x4.splat(0);
    const skip: f32 = argPtr(cmd, 11) ? load<f32>(argPtr(cmd, 11) + (<usize>h << 2)) : 0;
    const state = argPtr(cmd, 13) ? argPtr(cmd, 13) + (<usize>((b * H + h) * P) * <usize>N << 2) : 0;
    zeroFloats(own, (P + 1) * padded);
    if (state && real > 0) copyRows(own, stateRow, state, <usize>N << 2, P, N);
    for (let start = 0; start < real; start += TOKENS) {
      const count = min(TOKENS, real - start);
      const row = <usize>(b * length + start);
      const dt = argPtr(cmd, 4) + row * argPtr(cmd, 5) + (<usize>h << 2);
      for (let t = 0; t < count; t++) {
        store<f32>(decay + (<usize>t << 2), load<f32>(dt + <usize>t * argPtr(cmd, 5)));
      }
      for (let t: usize = 0; t < <usize>count; t += 4) {
        const step = stepSize(v128.load(decay + (t << 2)), bias, argFloat(cmd, 20), argFloat(cmd, 21));
        v128.store(decay + (t << 2), decayOf(step, A));
        v128.store(factor + (t << 2), inputFactor(step, A, argInt(cmd, 22)));
      }
      const groupColumn = <usize>(g * N) << 2;
      packChunk(
        packed,
        argPtr(cmd, 7) + row * argPtr(cmd, 8) + groupColumn,
        argPtr(cmd, 8),
        argPtr(cmd, 9) + row * argPtr(cmd, 10) + groupColumn,
        argPtr(cmd, 10),
        count,
        N,
      );
      const column = <usize>(h * P) << 2;
      for (let p = 0; p < P; p += 2) {
        const at = column + (<usize>p << 2);
        chunkPair(
          argPtr(cmd, 0) + row * argPtr(cmd, 1) + at,
          argPtr(cmd, 1),
          argPtr(cmd, 2) + row * argPtr(cmd, 3) + at,
          argPtr(cmd, 3),
          decay,
          own + <usize>p * stateRow,
          padded,
          count,
          skip,
          p + 1 < P,
        );
      }
    }
    if (state && real > 0) copyRows(state, <usize>N << 2, own, stateRow, P, N);
    for (let t = real; t < length; t++) {
      zeroFloats(argPtr(cmd, 0) + <usize>(b * length + t) * argPtr(cmd, 1) + (<usize>(h * P) << 2), P);
    }
  }
}

function copyRows(dst: usize, dstStride: usize, src: usize, srcStride: usize, rows: i32, cols: i32): void {
  for (let r = 0; r < rows; r++) {
    memory.copy(dst + <usize>r * dstStride, src + <usize>r * srcStride, <usize>cols << 2);
  }
}

/** packed[block][t] = 16 of B[t], then 16 of C[t], zeros past N. */
function packChunk(packed: usize, B: usize, bStride: usize, C: usize, cStride: usize, count: i32, N: i32): void {
  for (let n = 0; n < N; n += BLOCK) {
    const width = min(BLOCK, N - n);
    let dst = packed + <usize>(n / BLOCK) * <usize>TOKENS * 128;
    let srcB = B + (<usize>n << 2);
    let srcC = C + (<usize>n << 2);
    for (let t = 0; t < count; t++, dst += 128, srcB += bStride, srcC += cStride) {
      if (width == BLOCK) {
        v128.store(dst, v128.load(srcB));
        v128.store(dst, v128.load(srcB, 16), 16);
        v128.store(dst, v128.load(srcB, 32), 32);
        v128.store(dst, v128.load(srcB, 48), 48);
        v128.store(dst, v128.load(srcC), 64);
        v128.store(dst, v128.load(srcC, 16), 80);
        v128.store(dst, v128.load(srcC, 32), 96);
        v128.store(dst, v128.load(srcC, 48), 112);
      } else {
        for (let i = 0; i < BLOCK; i++) {
          const at = <usize>i << 2;
          store<f32>(dst + at, i < width ? load<f32>(srcB + at) : 0);
          store<f32>(dst + at + 64, i < width ? load<f32>(srcC + at) : 0);
        }
      }
    }
  }
}

/** Two rows of the state over one chunk; `base` is the scratch memory of `ssd`, laid out as there. */
function chunkPair(
  out: usize,
  outStride: usize,
  x: usize,
  xStride: usize,
  base: usize,
  state: usize,
  padded: i32,
  count: i32,
  skip: f32,
  both: bool,
): void {
  const factor = base + <usize>TOKENS * 4;
  const weights = factor + <usize>TOKENS * 4;
  const lanes = weights + <usize>TOKENS * 16;
  const packed = lanes + <usize>TOKENS * 32;
  let w = weights;
  let row = x;
  for (let t = 0; t < count; t++, w += 16, row += xStride) {
    const f = load<f32>(factor + (<usize>t << 2));
    store<f32>(w, load<f32>(base + (<usize>t << 2)));
    store<f32>(w, f * load<f32>(row), 4);
    store<f32>(w, both ? f * load<f32>(row, 4) : 0, 8);
  }
  memory.fill(lanes, 0, <usize>count * 32);
  const blocks = padded / BLOCK;
  const stateRow = <usize>padded << 2;
  for (let i = 0; i < blocks; i++) {
    chunkBlock(state + (<usize>i << 6), stateRow, weights, packed + <usize>i * <usize>TOKENS * 128, lanes, count);
  }
  let y = lanes;
  row = x;
  for (let t = 0; t < count; t++, y += 32, row += xStride, out += outStride) {
    store<f32>(out, sumLanes(v128.load(y)) + skip * load<f32>(row));
    if (both) store<f32>(out, sumLanes(v128.load(y, 16)) + skip * load<f32>(row, 4), 4);
  }
}

/** The hot loop: S[2][16] in registers over all tokens of the chunk. */
export function chunkBlock(state: usize, stateRow: usize, weights: usize, packed: usize, lanes: usize, count: i32): void {
  const second = state + stateRow;
  let s00 = v128.load(state);
  let s01 = v128.load(state, 16);
  let s02 = v128.load(state, 32);
  let s03 = v128.load(state, 48);
  let s10 = v128.load(second);
  let s11 = v128.load(second, 16);
  let s12 = v128.load(second, 32);
  let s13 = v128.load(second, 48);
  const end = weights + <usize>count * 16;
  for (; weights < end; weights += 16, packed += 128, lanes += 32) {
    const a = v128.load32_splat(weights);
    const u0 = v128.load32_splat(weights, 4);
    const u1 = v128.load32_splat(weights, 8);
    let y0 = v128.load(lanes);
    let y1 = v128.load(lanes, 16);
    let n = v128.load(packed);
    s00 = madd(u0, n, f32x4.mul(a, s00));
    s10 = madd(u1, n, f32x4.mul(a, s10));
    n = v128.load(packed, 64);
    y0 = madd(n, s00, y0);
    y1 = madd(n, s10, y1);
    n = v128.load(packed, 16);
    s01 = madd(u0, n, f32x4.mul(a, s01));
    s11 = madd(u1, n, f32x4.mul(a, s11));
    n = v128.load(packed, 80);
    y0 = madd(n, s01, y0);
    y1 = madd(n, s11, y1);
    n = v128.load(packed, 32);
    s02 = madd(u0, n, f32x4.mul(a, s02));
    s12 = madd(u1, n, f32x4.mul(a, s12));
    n = v128.load(packed, 96);
    y0 = madd(n, s02, y0);
    y1 = madd(n, s12, y1);
    n = v128.load(packed, 48);
    s03 = madd(u0, n, f32x4.mul(a, s03));
    s13 = madd(u1, n, f32x4.mul(a, s13));
    n = v128.load(packed, 112);
    v128.store(lanes, madd(n, s03, y0));
    v128.store(lanes, madd(n, s13, y1), 16);
  }
  v128.store(state, s00);
  v128.store(state, s01, 16);
  v128.store(state, s02, 32);
  v128.store(state, s03, 48);
  v128.store(second, s10);
  v128.store(second, s11, 16);
  v128.store(second, s12, 32);
  v128.store(second, s13, 48);
}

export function ssdStep(cmd: usize, from: i32, to: i32): void {
  const H = argInt(cmd, 16);
  const P = argInt(cmd, 18);
  const N = argInt(cmd, 19);
  for (let unit = from; unit < to; unit++) {
    const b = unit / H;
    const h = unit - b * H;
    const g = h / (H / argInt(cmd, 17));
    const column = <usize>(h * P) << 2;
    const row = <usize>b;
    let out = argPtr(cmd, 0) + row * argPtr(cmd, 1) + column;
    if (!realLength(argPtr(cmd, 14), b, 1)) {
      zeroFloats(out, P);
      continue;
    }
    const A = decayRate(argPtr(cmd, 6) + (<usize>h << 2));
    const bias = argPtr(cmd, 12) ? v128.load32_splat(argPtr(cmd, 12) + (<usize>h << 2)) : f32x4.splat(0);
    const raw = v128.load32_splat(argPtr(cmd, 4) + row * argPtr(cmd, 5) + (<usize>h << 2));
    const step = stepSize(raw, bias, argFloat(cmd, 20), argFloat(cmd, 21));
    const decay = decayOf(step, A);
    const factor = inputFactor(step, A, argInt(cmd, 22));
    const skip: f32 = argPtr(cmd, 11) ? load<f32>(argPtr(cmd, 11) + (<usize>h << 2)) : 0;
    const B = argPtr(cmd, 7) + row * argPtr(cmd, 8) + (<usize>(g * N) << 2);
    const C = argPtr(cmd, 9) + row * argPtr(cmd, 10) + (<usize>(g * N) << 2);
    let x = argPtr(cmd, 2) + row * argPtr(cmd, 3) + column;
    let s = argPtr(cmd, 13) + (<usize>((b * H + h) * P) * <usize>N << 2);
    for (let p = 0; p < P; p++, out += 4, x += 4, s += <usize>N << 2) {
      const u = f32x4.mul(factor, v128.load32_splat(x));
      store<f32>(out, stepRow(s, B, C, u, decay, N) + skip * load<f32>(x));
    }
  }
}

/** S ← decay·S + u·B for one row, in place; the result is C·S. */
// @ts-ignore: decorator
@inline
function stepRow(s: usize, B: usize, C: usize, u: v128, decay: v128, N: i32): f32 {
  let y0 = f32x4.splat(0);
  let y1 = f32x4.splat(0);
  let n = N;
  for (; n >= 8; n -= 8, s += 32, B += 32, C += 32) {
    const v0 = madd(u, v128.load(B), f32x4.mul(decay, v128.load(s)));
    const v1 = madd(u, v128.load(B, 16), f32x4.mul(decay, v128.load(s, 16)));
    v128.store(s, v0);
    v128.store(s, v1, 16);
    y0 = madd(v128.load(C), v0, y0);
    y1 = madd(v128.load(C, 16), v1, y1);
  }
  for (; n > 0; n -= 4, s += 16, B += 16, C += 16) {
    if (n >= 4) {
      const v = madd(u, v128.load(B), f32x4.mul(decay, v128.load(s)));
      v128.store(s, v);
      y0 = madd(v128.load(C), v, y0);
    } else {
      const v = madd(u, loadPart(B, n), f32x4.mul(decay, loadPart(s, n)));
      storePart(s, v, n);
      y0 = madd(loadPart(C, n), v, y0);
    }
  }
  return sumLanes(f32x4.add(y0, y1));
}
