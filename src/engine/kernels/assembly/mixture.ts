/**
 * Quantiles of the forecaster's head: y[q] = Σ_c softmax(mix)[c]·candidates[c] + exp(clamp(scale, −4, 4))·offset[q].
 *   raw [T, P·Q + P·C + 1] = offsets | mix | scale, candidates [T, P·C], quantiles [T, P·Q].
 * Arguments: quantiles, stride, raw, stride, candidates, stride, patch P, levels Q, candidates C. Unit = one token.
 */
import { argInt, argPtr, loadPart, madd, storePart, sumLanes } from './common';
import { vexp } from './math';

export function quantileMixture(cmd: usize, from: i32, to: i32): void {
  const patch = argInt(cmd, 6);
  const levels = argInt(cmd, 7);
  const count = argInt(cmd, 8);
  const levelBytes = <usize>levels << 2;
  const countBytes = <usize>count << 2;
  for (let r = from; r < to; r++) {
    const raw = argPtr(cmd, 2) + <usize>r * argPtr(cmd, 3);
    const mixes = raw + <usize>patch * levelBytes;
    const scaleAt = mixes + <usize>patch * countBytes;
    const scale = vexp(f32x4.pmin(f32x4.pmax(v128.load32_splat(scaleAt), f32x4.splat(-4)), f32x4.splat(4)));
    for (let p: usize = 0; p < <usize>patch; p++) {
      const base = mixture(mixes + p * countBytes, argPtr(cmd, 4) + <usize>r * argPtr(cmd, 5) + p * countBytes, count);
      let offset = raw + p * levelBytes;
      let out = argPtr(cmd, 0) + <usize>r * argPtr(cmd, 1) + p * levelBytes;
      let q = levels;
      for (; q >= 4; q -= 4, offset += 16, out += 16) v128.store(out, madd(scale, v128.load(offset), base));
      if (q) storePart(out, madd(scale, loadPart(offset, q), base), q);
    }
  }
}

/** Σ softmax(mix)·candidates, in every lane. */
function mixture(mix: usize, candidates: usize, count: i32): v128 {
  let top: f32 = -Infinity;
  for (let c: usize = 0; c < <usize>count; c++) top = max<f32>(top, load<f32>(mix + (c << 2)));
  const shift = f32x4.splat(top);
  let total = f32x4.splat(0);
  let sum = f32x4.splat(0);
  let c = count;
  for (; c >= 4; c -= 4, mix += 16, candidates += 16) {
    const e = vexp(f32x4.sub(v128.load(mix), shift));
    total = f32x4.add(total, e);
    sum = madd(e, v128.load(candidates), sum);
  }
  if (c) {
    // Lanes past the end must weigh nothing: exp(−inf) is 0.
    const past = v128.andnot(f32x4.splat(-Infinity), laneMask(c));
    const e = vexp(v128.or(v128.and(f32x4.sub(loadPart(mix, c), shift), laneMask(c)), past));
    total = f32x4.add(total, e);
    sum = madd(e, loadPart(candidates, c), sum);
  }
  return f32x4.splat(sumLanes(sum) / sumLanes(total));
}

/** Ones in the first n (1…3) lanes. */
// @ts-ignore: decorator
@inline
export function laneMask(n: i32): v128 {
  return i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(n));
}
