/** Access to a command's arguments, and the vector helpers every kernel uses. */

/** Bytes of a command before its arguments: op, units, grain, parallel. */
export const HEADER: usize = 16;
/** Bytes of a whole command. */
export const COMMAND_BYTES: usize = 256;

// @ts-ignore: decorator
@inline
export function argPtr(cmd: usize, i: usize): usize {
  return <usize>load<u32>(cmd + HEADER + (i << 2));
}
// @ts-ignore: decorator
@inline
export function argInt(cmd: usize, i: usize): i32 {
  return load<i32>(cmd + HEADER + (i << 2));
}
// @ts-ignore: decorator
@inline
export function argFloat(cmd: usize, i: usize): f32 {
  return load<f32>(cmd + HEADER + (i << 2));
}

/** a·b + c: fused in the relaxed build, two roundings otherwise. */
// @ts-ignore: decorator
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}
/** c − a·b. */
// @ts-ignore: decorator
@inline
export function nmadd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_nmadd(a, b, c);
  return f32x4.sub(c, f32x4.mul(a, b));
}

/** The first n (1…3) floats at ptr, zeros after. */
// @ts-ignore: decorator
@inline
export function loadPart(ptr: usize, n: i32): v128 {
  if (n == 1) return v128.load32_zero(ptr);
  const pair = v128.load64_zero(ptr);
  return n == 2 ? pair : v128.load_lane<u32>(ptr + 8, pair, 2);
}
/** Store the first n (1…3) lanes. */
// @ts-ignore: decorator
@inline
export function storePart(ptr: usize, v: v128, n: i32): void {
  if (n == 1) {
    v128.store_lane<u32>(ptr, v, 0);
  } else {
    v128.store_lane<u64>(ptr, v, 0);
    if (n == 3) v128.store_lane<u32>(ptr + 8, v, 2);
  }
}

/** Sum of the four lanes, pairs first. */
// @ts-ignore: decorator
@inline
export function sumLanes(v: v128): f32 {
  const pairs = f32x4.add(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
  return f32x4.extract_lane(pairs, 0) + f32x4.extract_lane(pairs, 1);
}

/** The sums of the lanes of a, b, c and d. */
// @ts-ignore: decorator
@inline
export function sumLanes4(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(v128.shuffle<f32>(a, b, 0, 4, 1, 5), v128.shuffle<f32>(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(v128.shuffle<f32>(c, d, 0, 4, 1, 5), v128.shuffle<f32>(c, d, 2, 6, 3, 7));
  // ab = a0+a2, b0+b2, a1+a3, b1+b3
  return f32x4.add(v128.shuffle<f32>(ab, cd, 0, 1, 4, 5), v128.shuffle<f32>(ab, cd, 2, 3, 6, 7));
}

/** Real tokens of sequence b: lengths[b] limited to [0, length]; lengths = 0 means all. */
// @ts-ignore: decorator
@inline
export function realLength(lengths: usize, b: i32, length: i32): i32 {
  if (!lengths) return length;
  return max(0, min(length, load<i32>(lengths + (<usize>b << 2))));
}

/** Zero n floats. */
export function zeroFloats(ptr: usize, n: i32): void {
  memory.fill(ptr, 0, <usize>n << 2);
}
