/**
 * exp, log1p, softplus, sigmoid, silu and asinh of four floats.
 *
 * Method. exp: x = n·ln 2 + r with ln 2 split in two floats (n·high is exact), e^r = 1 + r + r²·q(r) on |r| ≤ ln 2 / 2,
 * scaled by 2^n in two factors so that overflow and denormals come out rounded. log1p: with s = f/(2+f),
 * log(1+f) = f − s·(f − s²·R(s²)). The polynomials q, R and that of 2^f are minimax fits of the relative error (Lawson's
 * weighted least squares in float64), each coefficient rounded to f32 from the lowest power up and the others refitted;
 * their own error is below 5e-9, the rest is rounding. Largest errors found over all exponents (math.spec.ts): exp 1.0 ulp,
 * asinh 1.6, softplus 1.8, silu 2.0, sigmoid 2.3.
 */
import { madd, nmadd } from './common';

/** 1.5·2^23: adding it rounds to an integer, which then stands in the low bits. */
const ROUND: f32 = 12582912.0;

// @ts-ignore: decorator
@inline
function expm1Reduced(r: v128): v128 {
  let q = f32x4.splat(0.001382010872475803);
  q = madd(q, r, f32x4.splat(0.00836868491023779));
  q = madd(q, r, f32x4.splat(0.04166827350854874));
  q = madd(q, r, f32x4.splat(0.1666652113199234));
  q = madd(q, r, f32x4.splat(0.4999999403953552));
  return madd(f32x4.mul(r, r), q, r);
}

/** x·log2 e rounded to a whole number n, which stands in the low bits. */
// @ts-ignore: decorator
@inline
function roundedExponent(x: v128): v128 {
  return madd(x, f32x4.splat(1.4426950408889634), f32x4.splat(ROUND));
}
/** e^x·2^−n for that n. */
// @ts-ignore: decorator
@inline
function reducedExp(x: v128, shifted: v128): v128 {
  const n = f32x4.sub(shifted, f32x4.splat(ROUND));
  const r = nmadd(n, f32x4.splat(0.693359375), x);
  return f32x4.add(f32x4.splat(1), expm1Reduced(nmadd(n, f32x4.splat(-0.00021219444170128554), r)));
}
/** 2^n for whole numbers n in −126 … 127. */
// @ts-ignore: decorator
@inline
function powerOfTwo(n: v128): v128 {
  return i32x4.add(i32x4.shl(n, 23), f32x4.splat(1));
}

/** e^x, ≤ 1 ulp, the whole range: inf, 0, denormals and NaN as in IEEE. */
// @ts-ignore: decorator
@inline
export function vexp(x: v128): v128 {
  // pmin/pmax with x first keep a NaN and are one instruction each.
  x = f32x4.pmin(f32x4.pmax(x, f32x4.splat(-104)), f32x4.splat(89));
  const shifted = roundedExponent(x);
  const n = i32x4.sub(shifted, f32x4.splat(ROUND));
  const half = i32x4.shr_s(n, 1);
  return f32x4.mul(f32x4.mul(reducedExp(x, shifted), powerOfTwo(half)), powerOfTwo(i32x4.sub(n, half)));
}

// @ts-ignore: decorator
@inline
function exp2Poly(f: v128): v128 {
  let q = f32x4.splat(0.0001532678143121302);
  q = madd(q, f, f32x4.splat(0.0013391025131568313));
  q = madd(q, f, f32x4.splat(0.009618505835533142));
  q = madd(q, f, f32x4.splat(0.05550359562039375));
  q = madd(q, f, f32x4.splat(0.24022647738456726));
  q = madd(q, f, f32x4.splat(0.6931471824645996));
  return f32x4.mul(q, f);
}

/** 2^x for x ≤ 0, the decay of a state: anything under 2^−126 becomes 2^−126 or less, NaN stays. */
// @ts-ignore: decorator
@inline
export function vexp2Decay(x: v128): v128 {
  x = f32x4.pmax(x, f32x4.splat(-126));
  const shifted = f32x4.add(x, f32x4.splat(ROUND));
  const f = f32x4.sub(x, f32x4.sub(shifted, f32x4.splat(ROUND)));
  const scale = i32x4.add(i32x4.shl(shifted, 23), f32x4.splat(1));
  return madd(exp2Poly(f), scale, scale);
}

/** 2^x − 1 for x ≤ 0 without cancellation near 0. */
// @ts-ignore: decorator
@inline
export function vexp2Minus1(x: v128): v128 {
  x = f32x4.pmax(x, f32x4.splat(-126));
  const shifted = f32x4.add(x, f32x4.splat(ROUND));
  const f = f32x4.sub(x, f32x4.sub(shifted, f32x4.splat(ROUND)));
  const scale = i32x4.add(i32x4.shl(shifted, 23), f32x4.splat(1));
  return madd(exp2Poly(f), scale, f32x4.sub(scale, f32x4.splat(1)));
}

/** log(1 + f) for f in [√½ − 1, 1]. */
// @ts-ignore: decorator
@inline
function log1pReduced(f: v128): v128 {
  const s = f32x4.div(f, f32x4.add(f, f32x4.splat(2)));
  const z = f32x4.mul(s, s);
  let q = f32x4.splat(0.280304878950119);
  q = madd(q, z, f32x4.splat(0.27998048067092896));
  q = madd(q, z, f32x4.splat(0.40021756291389465));
  q = madd(q, z, f32x4.splat(0.6666641235351562));
  return nmadd(s, nmadd(z, q, f), f);
}

/** log(1 + e^x) = max(x, 0) + log1p(e^−|x|). */
// @ts-ignore: decorator
@inline
export function vsoftplus(x: v128): v128 {
  const tail = log1pReduced(vexp(f32x4.neg(f32x4.abs(x))));
  return f32x4.add(f32x4.pmax(x, f32x4.splat(0)), tail);
}

/**
 * top / (1 + e^−x) as (top·p) / (p + e^−x·p): p, a power of two, is 1 for x ≥ 0 and shrinks where e^−x would overflow,
 * so that the quotient runs down to the denormals with one rounding.
 */
// @ts-ignore: decorator
@inline
function gated(top: v128, x: v128): v128 {
  const y = f32x4.pmin(f32x4.pmax(f32x4.neg(x), f32x4.splat(-87)), f32x4.splat(127));
  const shifted = roundedExponent(y);
  const n = i32x4.sub(shifted, f32x4.splat(ROUND));
  const half = i32x4.shr_u(i32x4.max_s(n, i32x4.splat(0)), 1);
  const p = powerOfTwo(i32x4.neg(half));
  const e = f32x4.mul(reducedExp(y, shifted), powerOfTwo(i32x4.sub(n, half)));
  return f32x4.div(f32x4.mul(top, p), f32x4.add(p, e));
}

/** 1 / (1 + e^−x). */
// @ts-ignore: decorator
@inline
export function vsigmoid(x: v128): v128 {
  return gated(f32x4.splat(1), x);
}

/** x·sigmoid(x), −0 at −inf. */
// @ts-ignore: decorator
@inline
export function vsilu(x: v128): v128 {
  // Under −110 the quotient is 0 whatever the numerator, and 0·(−inf) would be NaN.
  return gated(f32x4.pmax(x, f32x4.splat(-200)), x);
}

/** sign(x)·log(|x| + √(x² + 1)), as log1p(|x| + x²/(1 + √(x² + 1))). */
// @ts-ignore: decorator
@inline
export function vasinh(x: v128): v128 {
  const one = f32x4.splat(1);
  const y = f32x4.abs(x);
  // From 2^12 on, √(y² + 1) = y to f32: log(2y) = log(y) + ln 2, and y² cannot overflow below.
  const large = f32x4.ge(y, f32x4.splat(4096));
  const squared = f32x4.mul(y, y);
  const small = f32x4.add(y, f32x4.div(squared, f32x4.add(one, f32x4.sqrt(f32x4.add(squared, one)))));
  const w = v128.bitselect(f32x4.sub(y, one), small, large);
  // u = 1 + w = 2^k·m with m in [√½, √2); what rounding lost in u is given back to f = m − 1.
  const u = f32x4.add(one, w);
  const lost = f32x4.sub(w, f32x4.sub(u, one));
  const k = i32x4.shr_s(i32x4.sub(u, i32x4.splat(0x3f3504f3)), 23);
  const exponent = i32x4.shl(k, 23);
  const m = i32x4.sub(u, exponent);
  const unscale = i32x4.sub(one, exponent);
  const correction = v128.andnot(f32x4.mul(lost, unscale), large);
  const f = f32x4.add(f32x4.sub(m, one), correction);
  const count = f32x4.add(f32x4.convert_i32x4_s(k), v128.and(large, one));
  const low = madd(count, f32x4.splat(-0.00021219444170128554), log1pReduced(f));
  let result = madd(count, f32x4.splat(0.693359375), low);
  // inf and NaN have no exponent to split.
  result = v128.bitselect(result, y, f32x4.lt(y, f32x4.splat(Infinity)));
  const sign = i32x4.splat(0x80000000);
  return v128.bitselect(x, result, sign);
}
