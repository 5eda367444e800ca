/**
 * Mamba-1 selective scan (Gu & Dao 2023, algorithm 2), per channel d and state n, with A = −exp(aLog):
 *   h ← exp(dt·A)·h + dt·B·x;   y = Σ_n C·h + skip·x;   out = y·silu(z) if z is given.
 *   x, dt, z, out [batch·length, D]; aLog [D, N]; B, C [batch·length, N]; skip, dtBias [D]; state [batch, D, N].
 *
 * Arguments: out, outStride, x, xStride, dt, dtStride, aLog, aLogStride, B, bStride, C, cStride, skip, dtBias, z,
 *   zStride, state, lengths, length, D, N, dtLow, dtHigh, zoh, channelsPerUnit.
 * Unit = (sequence, block of channels). A chunk of tokens runs through one channel at a time, 16 of n in registers:
 * the exponentials, which are nearly all the work, do not depend on each other from token to token.
 */
import { argFloat, argInt, argPtr, loadPart, madd, realLength, storePart, sumLanes, zeroFloats } from './common';
import { vexp, vexp2Decay, vexp2Minus1, vsilu } from './math';
import { stepSize } from './ssd';

/** Tokens of a chunk. */
export const SCAN_TOKENS: i32 = 32;
const BLOCK: i32 = 16;
const LOG2E: f32 = 1.4426950408889634;

export function selectiveScan(cmd: usize, from: i32, to: i32, scratch: usize): void {
  const length = argInt(cmd, 18);
  const D = argInt(cmd, 19);
  const N = argInt(cmd, 20);
  const zoh = argInt(cmd, 23);
  const channels = argInt(cmd, 24);
  const blocks = (D + channels - 1) / channels;
  const padded = (N + BLOCK - 1) & ~(BLOCK - 1);
  const rowBytes = (<usize>padded) << 2;
  const chunkBytes = <usize>SCAN_TOKENS * <usize>channels * 4;
  // Scratch: step sizes, dt·x (x for zoh) and y of the chunk [SCAN_TOKENS][channels], B | C of the chunk
  // [padded/16][SCAN_TOKENS][32], then A·log2 e and the state of the unit [channels][padded].
  const steps = scratch;
  const inputs = steps + chunkBytes;
  const ys = inputs + chunkBytes;
  const packed = ys + chunkBytes;
  const rates = packed + <usize>SCAN_TOKENS * rowBytes * 2;
  const own = rates + <usize>channels * rowBytes;
  for (let unit = from; unit < to; unit++) {
    const b = unit / blocks;
    const first = (unit - b * blocks) * channels;
    const count = min(channels, D - first);
    const column = (<usize>first) << 2;
    const real = realLength(argPtr(cmd, 17), b, length);
    const state = argPtr(cmd, 16) ? argPtr(cmd, 16) + ((<usize>((b * D + first) * N)) << 2) : 0;
    zeroFloats(rates, count * padded);
    zeroFloats(own, count * padded);
    if (real > 0) {
      for (let c = 0; c < count; c++) {
        const at = <usize>c * rowBytes;
        rateRow(rates + at, argPtr(cmd, 6) + <usize>(first + c) * argPtr(cmd, 7), N);
        if (state) memory.copy(own + at, state + ((<usize>(c * N)) << 2), (<usize>N) << 2);
      }
    }
    for (let start = 0; start < real; start += SCAN_TOKENS) {
      const tokens = min(SCAN_TOKENS, real - start);
      const row = <usize>(b * length + start);
      const x = argPtr(cmd, 2) + row * argPtr(cmd, 3) + column;
      stepSizes(
        steps,
        inputs,
        argPtr(cmd, 4) + row * argPtr(cmd, 5) + column,
        argPtr(cmd, 5),
        x,
        argPtr(cmd, 3),
        argPtr(cmd, 13) ? argPtr(cmd, 13) + column : 0,
        tokens,
        count,
        channels,
        argFloat(cmd, 21),
        argFloat(cmd, 22),
        zoh,
      );
      packChunk(
        packed,
        argPtr(cmd, 8) + row * argPtr(cmd, 9),
        argPtr(cmd, 9),
        argPtr(cmd, 10) + row * argPtr(cmd, 11),
        argPtr(cmd, 11),
        tokens,
        N,
      );
      for (let c = 0; c < count; c++) {
        for (let n = 0; n < padded; n += BLOCK) {
          const at = <usize>c * rowBytes + ((<usize>n) << 2);
          const bc = packed + <usize>(n / BLOCK) * <usize>SCAN_TOKENS * 128;
          const lane = (<usize>c) << 2;
          if (zoh) heldBlock(own + at, rates + at, steps + lane, bc, ys + lane, tokens, channels, n > 0);
          else eulerBlock(own + at, rates + at, steps + lane, bc, ys + lane, tokens, channels, n > 0);
        }
      }
      writeOutput(cmd, row, column, ys, x, tokens, count, channels);
    }
    for (let c = 0; state && real > 0 && c < count; c++) {
      memory.copy(state + ((<usize>(c * N)) << 2), own + <usize>c * rowBytes, (<usize>N) << 2);
    }
    for (let t = real; t < length; t++) {
      zeroFloats(argPtr(cmd, 0) + <usize>(b * length + t) * argPtr(cmd, 1) + column, count);
    }
  }
}

/** −exp(aLog)·log2 e. */
function rateRow(dst: usize, aLog: usize, N: i32): void {
  const factor = f32x4.splat(-LOG2E);
  let n = N;
  for (; n >= 4; n -= 4, dst += 16, aLog += 16) v128.store(dst, f32x4.mul(vexp(v128.load(aLog)), factor));
  if (n) storePart(dst, f32x4.mul(vexp(loadPart(aLog, n)), factor), n);
}

function stepSizes(
  steps: usize,
  inputs: usize,
  dt: usize,
  dtStride: usize,
  x: usize,
  xStride: usize,
  bias: usize,
  tokens: i32,
  count: i32,
  channels: i32,
  low: f32,
  high: f32,
  zoh: i32,
): void {
  for (let t = 0; t < tokens; t++) {
    const at = (<usize>(t * channels)) << 2;
    const dtRow = dt + <usize>t * dtStride;
    const xRow = x + <usize>t * xStride;
    for (let c = 0; c < count; c += 4) {
      const i = (<usize>c) << 2;
      const n = count - c;
      const raw = n >= 4 ? v128.load(dtRow + i) : loadPart(dtRow + i, n);
      const u = n >= 4 ? v128.load(xRow + i) : loadPart(xRow + i, n);
      let add = f32x4.splat(0);
      if (bias) add = n >= 4 ? v128.load(bias + i) : loadPart(bias + i, n);
      const step = stepSize(raw, add, low, high);
      // The rows of the scratch memory are padded to whole vectors (channels is a multiple of 4).
      v128.store(steps + at + i, step);
      v128.store(inputs + at + i, zoh ? u : f32x4.mul(step, u));
    }
  }
}

/** packed[block][t] = 16 of B[t], then 16 of C[t], zeros past N. */
function packChunk(packed: usize, B: usize, bStride: usize, C: usize, cStride: usize, tokens: i32, N: i32): void {
  for (let n = 0; n < N; n += BLOCK) {
    const width = (<usize>min(BLOCK, N - n)) << 2;
    let dst = packed + <usize>(n / BLOCK) * <usize>SCAN_TOKENS * 128;
    for (let t = 0; t < tokens; t++, dst += 128) {
      const at = (<usize>n) << 2;
      if (width < 64) memory.fill(dst, 0, 128);
      memory.copy(dst, B + <usize>t * bStride + at, width);
      memory.copy(dst + 64, C + <usize>t * cStride + at, width);
    }
  }
}

/** One channel and 16 states over the chunk; y of the block is added to ys if `add`. */
export function eulerBlock(
  state: usize,
  rate: usize,
  step: usize,
  bc: usize,
  y: usize,
  tokens: i32,
  channels: i32,
  add: bool,
): void {
  const rowBytes = (<usize>channels) << 2;
  const toInput = <usize>SCAN_TOKENS * rowBytes;
  const r0 = v128.load(rate);
  const r1 = v128.load(rate, 16);
  const r2 = v128.load(rate, 32);
  const r3 = v128.load(rate, 48);
  let h0 = v128.load(state);
  let h1 = v128.load(state, 16);
  let h2 = v128.load(state, 32);
  let h3 = v128.load(state, 48);
  for (let t = 0; t < tokens; t++, step += rowBytes, y += rowBytes, bc += 128) {
    const dt = v128.load32_splat(step);
    const u = v128.load32_splat(step + toInput);
    h0 = madd(vexp2Decay(f32x4.mul(dt, r0)), h0, f32x4.mul(u, v128.load(bc)));
    h1 = madd(vexp2Decay(f32x4.mul(dt, r1)), h1, f32x4.mul(u, v128.load(bc, 16)));
    h2 = madd(vexp2Decay(f32x4.mul(dt, r2)), h2, f32x4.mul(u, v128.load(bc, 32)));
    h3 = madd(vexp2Decay(f32x4.mul(dt, r3)), h3, f32x4.mul(u, v128.load(bc, 48)));
    const even = madd(h0, v128.load(bc, 64), f32x4.mul(h2, v128.load(bc, 96)));
    const odd = madd(h1, v128.load(bc, 80), f32x4.mul(h3, v128.load(bc, 112)));
    const sum = sumLanes(f32x4.add(even, odd));
    store<f32>(y, add ? load<f32>(y) + sum : sum);
  }
  v128.store(state, h0);
  v128.store(state, h1, 16);
  v128.store(state, h2, 32);
  v128.store(state, h3, 48);
}

/** The same with zero-order hold: the input term is (exp(dt·A) − 1)/A·B·x; `rate` is A·log2 e. */
function heldBlock(
  state: usize,
  rate: usize,
  step: usize,
  bc: usize,
  y: usize,
  tokens: i32,
  channels: i32,
  add: bool,
): void {
  const rowBytes = (<usize>channels) << 2;
  const toInput = <usize>SCAN_TOKENS * rowBytes;
  for (let t = 0; t < tokens; t++, step += rowBytes, y += rowBytes, bc += 128) {
    const dt = v128.load32_splat(step);
    const u = v128.load32_splat(step + toInput);
    let sum = f32x4.splat(0);
    for (let i: usize = 0; i < 64; i += 16) {
      const r = v128.load(rate + i);
      const exponent = f32x4.mul(dt, r);
      // Where A is 0 (a padded or an underflown state) the limit of the factor is dt.
      const held = f32x4.div(f32x4.mul(vexp2Minus1(exponent), f32x4.splat(LOG2E)), r);
      const factor = v128.bitselect(dt, held, f32x4.eq(r, f32x4.splat(0)));
      const input = f32x4.mul(f32x4.mul(factor, u), v128.load(bc + i));
      const h = madd(vexp2Decay(exponent), v128.load(state + i), input);
      v128.store(state + i, h);
      sum = madd(h, v128.load(bc + i, 64), sum);
    }
    const total = sumLanes(sum);
    store<f32>(y, add ? load<f32>(y) + total : total);
  }
}

function writeOutput(
  cmd: usize,
  row: usize,
  column: usize,
  ys: usize,
  x: usize,
  tokens: i32,
  count: i32,
  channels: i32,
): void {
  const skip = argPtr(cmd, 12) ? argPtr(cmd, 12) + column : 0;
  const gated = argPtr(cmd, 14) != 0;
  for (let t: usize = 0; t < <usize>tokens; t++) {
    const out = argPtr(cmd, 0) + (row + t) * argPtr(cmd, 1) + column;
    const z = argPtr(cmd, 14) + (row + t) * argPtr(cmd, 15) + column;
    const y = ys + t * ((<usize>channels) << 2);
    const xRow = x + t * argPtr(cmd, 3);
    for (let c = 0; c < count; c += 4) {
      const i = (<usize>c) << 2;
      const n = count - c;
      let v = v128.load(y + i);
      if (n >= 4) {
        if (skip) v = madd(v128.load(skip + i), v128.load(xRow + i), v);
        if (gated) v = f32x4.mul(v, vsilu(v128.load(z + i)));
        v128.store(out + i, v);
      } else {
        if (skip) v = madd(loadPart(skip + i, n), loadPart(xRow + i, n), v);
        if (gated) v = f32x4.mul(v, vsilu(loadPart(z + i, n)));
        storePart(out + i, v, n);
      }
    }
  }
}
