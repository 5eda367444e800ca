/** What a kernel's random calls are made of. */
import type { Random } from '../../../src/engine/random.js';
import { sizeOf } from '../../../src/engine/tensor.js';
import type { Arg, Call } from './call.js';

export interface KernelCase {
  /** Shown in the test's name. */
  name: string;
  /** Training kernels are missing on backends that run inference only. */
  training?: boolean;
  /** Random calls in an ordinary run, where their compilation on a software adapter is dear. */
  runs?: number;
  /** `small` calls have at most a few hundred inputs, for finite differences. */
  make(random: Random, small: boolean): Call;
}

type Shape = readonly number[];

export function pick<T>(random: Random, values: readonly T[]): T {
  return values[random.integer(values.length)];
}

export function chance(random: Random, probability: number): boolean {
  return random.uniform() < probability;
}

/** Normal numbers, exactly representable in float32, so that every backend sees the same. */
export function numbers(random: Random, shape: Shape, scale = 1, shift = 0): Float64Array {
  return Float64Array.from({ length: sizeOf(shape) }, () => Math.fround(shift + scale * random.normal()));
}

export function uniform(random: Random, shape: Shape, low: number, high: number): Float64Array {
  return Float64Array.from({ length: sizeOf(shape) }, () => Math.fround(random.uniform(low, high)));
}

/** An input of rows with any stride. */
export function rows(random: Random, shape: Shape, scale = 1, shift = 0): Arg {
  return { shape, rows: true, data: numbers(random, shape, scale, shift) };
}

/** A contiguous input: weights, vectors. */
export function flat(random: Random, shape: Shape, scale = 1, shift = 0): Arg {
  return { shape, data: numbers(random, shape, scale, shift) };
}

export function integers(random: Random, shape: Shape, below: number): Arg {
  return { shape, data: Int32Array.from({ length: sizeOf(shape) }, () => random.integer(below)) };
}

/** An output that the call fully writes. */
export function output(shape: Shape, tolerance?: number): Arg {
  return { shape, rows: true, output: true, tolerance };
}

export function flatOutput(shape: Shape, tolerance?: number): Arg {
  return { shape, output: true, tolerance };
}

/** A state: read and overwritten. */
export function state(random: Random, shape: Shape): Arg {
  return { ...flat(random, shape), output: true };
}

/** Lengths of sequences that differ, zero and full ones among them. */
export function lengths(random: Random, batch: number, length: number): Arg {
  const one = () => pick(random, [0, length, random.integer(length + 1), random.integer(length + 1)]);
  return { shape: [batch], data: Int32Array.from({ length: batch }, one) };
}

/** Nothing, one, primes, and both sides of every chunk or tile a backend may use. */
const LENGTHS = [0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 127, 128, 129, 131, 200, 255, 256, 257];

/** @param cost multiplications a token, which bounds the product so that the oracle stays quick */
export function sequence(random: Random, small: boolean, cost = 1): { batch: number; length: number } {
  if (small) return { batch: 1 + random.integer(2), length: random.integer(6) };
  for (;;) {
    const [batch, length] = [1 + random.integer(3), pick(random, LENGTHS)];
    if (batch * length * cost <= 800_000) return { batch, length };
  }
}

export function rowCount(random: Random, small: boolean): number {
  return small ? random.integer(4) : pick(random, [0, 1, 2, 5, 31, 64, 77, 129, 300]);
}

export function width(random: Random, small: boolean): number {
  return small ? 1 + random.integer(5) : pick(random, [1, 2, 3, 7, 16, 31, 32, 33, 64, 96, 127, 128, 130, 256, 300]);
}

/** The arguments whose value is not undefined. */
export function given(args: Record<string, Arg | undefined>): Record<string, Arg> {
  return Object.fromEntries(Object.entries(args).filter(([, arg]) => arg !== undefined)) as Record<string, Arg>;
}
