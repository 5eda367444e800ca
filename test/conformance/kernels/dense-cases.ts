/** Matrix product, embedding, norms and element-wise kernels. */
import type { UnaryFunction } from '../../../src/engine/kernels.js';
import type { Random } from '../../../src/engine/random.js';
import {
  chance,
  flat,
  flatOutput,
  given,
  integers,
  type KernelCase,
  output,
  pick,
  rowCount,
  rows,
  uniform,
  width,
} from './case.js';

const UNARY: readonly UnaryFunction[] = ['silu', 'softplus', 'exp', 'asinh', 'sigmoid'];
const EPS = 1e-5;

function extent(random: Random, small: boolean): number {
  return small ? 1 + random.integer(5) : pick(random, [1, 2, 3, 5, 8, 16, 17, 31, 48, 64, 65, 100, 128, 130, 200]);
}

function matmul(random: Random, small: boolean) {
  // No rows, and with transposeA no terms, are what an empty sequence gives.
  const [m, k] = [extent, extent].map((f) => (chance(random, 0.08) ? 0 : f(random, small)));
  const n = extent(random, small);
  const [transposeA, transposeB, accumulate] = [0, 0, 0].map(() => chance(random, 0.5));
  return {
    kernel: 'matmul' as const,
    args: given({
      out: accumulate ? { ...rows(random, [m, n]), output: true } : output([m, n]),
      a: rows(random, transposeA ? [k, m] : [m, k]),
      b: rows(random, transposeB ? [n, k] : [k, n], 0.3),
      bias: chance(random, 0.5) ? flat(random, [n]) : undefined,
      residual: chance(random, 0.5) ? rows(random, [m, n]) : undefined,
    }),
    options: { transposeA, transposeB, accumulate, activation: pick(random, ['none', 'silu']) },
  };
}

/** Values up to ±100, where a careless softplus or silu overflows. */
function wild(random: Random, shape: readonly number[]) {
  const arg = rows(random, shape, 3);
  const limit = Math.min(4, (arg.data as Float64Array).length);
  for (let i = 0; i < limit; i++) (arg.data as Float64Array)[i] = [100, -100, 0, 25][i];
  return arg;
}

export const denseCases: KernelCase[] = [
  { name: 'matmul', make: matmul },
  {
    // Operands rounded to f16 are off by 2^-11 each where the backend has matrix units; elsewhere f32 is used.
    name: 'matmul of f16 operands',
    runs: 3,
    make: (random, small) => {
      const [m, n, k] = [0, 0, 0].map(() => (small ? 3 : pick(random, [64, 96, 128, 130, 256])));
      const [transposeA, transposeB] = [0, 0].map(() => chance(random, 0.5));
      return {
        kernel: 'matmul',
        args: {
          out: output([m, n], 2e-3),
          a: rows(random, transposeA ? [k, m] : [m, k]),
          b: rows(random, transposeB ? [n, k] : [k, n], 0.3),
        },
        options: { transposeA, transposeB, precision: 'f16' },
      };
    },
  },
  {
    // The decode step: one row of a batch, or a few, against a large matrix.
    name: 'matmul of few rows',
    make: (random, small) => {
      const [m, n, k] = small
        ? [1, 3, 4]
        : [pick(random, [1, 2, 4, 9]), pick(random, [1, 127, 512, 1000]), pick(random, [7, 64, 300, 513])];
      return {
        kernel: 'matmul',
        args: given({
          out: output([m, n]),
          a: rows(random, [m, k]),
          b: rows(random, [n, k], 0.3),
          bias: chance(random, 0.5) ? flat(random, [n]) : undefined,
          residual: chance(random, 0.5) ? rows(random, [m, n]) : undefined,
        }),
        options: { transposeB: true },
      };
    },
  },
  {
    // Weight gradients: few outputs, many terms.
    name: 'matmul of long sums',
    runs: 4,
    make: (random, small) => {
      const [m, n, k] = small
        ? [2, 3, 9]
        : [pick(random, [3, 16, 48]), pick(random, [5, 32, 65]), pick(random, [777, 1024, 1537])];
      return {
        kernel: 'matmul',
        args: { out: { ...rows(random, [m, n]), output: true }, a: rows(random, [k, m]), b: rows(random, [k, n]) },
        options: { transposeA: true, accumulate: true },
      };
    },
  },
  {
    name: 'embedding',
    make: (random, small) => {
      const [t, d, vocabulary] = [rowCount(random, small), width(random, small), 1 + random.integer(small ? 4 : 60)];
      return {
        kernel: 'embedding',
        args: { out: output([t, d]), ids: integers(random, [t], vocabulary), table: flat(random, [vocabulary, d]) },
      };
    },
  },
  {
    name: 'embeddingBackward',
    training: true,
    make: (random, small) => {
      const [t, d, vocabulary] = [rowCount(random, small), width(random, small), 1 + random.integer(small ? 4 : 60)];
      const accumulate = chance(random, 0.5);
      const dTable = accumulate ? { ...flat(random, [vocabulary, d]), output: true } : flatOutput([vocabulary, d]);
      return {
        kernel: 'embeddingBackward',
        args: { dTable, dOut: rows(random, [t, d]), ids: integers(random, [t], vocabulary) },
        options: { accumulate },
      };
    },
  },
  {
    name: 'rmsNorm',
    make: (random, small) => {
      const shape = [rowCount(random, small), width(random, small)];
      const weight = { shape: [shape[1]], data: uniform(random, [shape[1]], 0.1, 2) };
      return { kernel: 'rmsNorm', args: { out: output(shape), x: rows(random, shape), weight }, options: { eps: EPS } };
    },
  },
  {
    name: 'rmsNormBackward',
    training: true,
    make: (random, small) => {
      const shape = [rowCount(random, small), width(random, small)];
      const accumulate = chance(random, 0.5);
      return {
        kernel: 'rmsNormBackward',
        args: given({
          dX: accumulate ? { ...rows(random, shape), output: true } : output(shape),
          dWeight: chance(random, 0.8) ? flatOutput([shape[1]]) : undefined,
          dOut: rows(random, shape),
          x: rows(random, shape),
          weight: { shape: [shape[1]], data: uniform(random, [shape[1]], 0.1, 2) },
        }),
        options: { eps: EPS, accumulate },
      };
    },
  },
  {
    name: 'gatedRmsNorm',
    make: (random, small) => {
      const groupSize = width(random, small);
      const shape = [rowCount(random, small), groupSize * (1 + random.integer(3))];
      return {
        kernel: 'gatedRmsNorm',
        args: { out: output(shape), x: rows(random, shape), z: rows(random, shape), weight: flat(random, [shape[1]]) },
        options: { eps: EPS, groupSize },
      };
    },
  },
  {
    name: 'gatedRmsNormBackward',
    training: true,
    make: (random, small) => {
      const groupSize = width(random, small);
      const shape = [rowCount(random, small), groupSize * (1 + random.integer(3))];
      return {
        kernel: 'gatedRmsNormBackward',
        args: given({
          dX: output(shape),
          dZ: output(shape),
          dWeight: chance(random, 0.8) ? flatOutput([shape[1]]) : undefined,
          dOut: rows(random, shape),
          x: rows(random, shape),
          z: rows(random, shape),
          weight: flat(random, [shape[1]]),
        }),
        options: { eps: EPS, groupSize },
      };
    },
  },
  {
    name: 'swiglu',
    make: (random, small) => {
      const [t, d] = [rowCount(random, small), width(random, small)];
      return { kernel: 'swiglu', args: { out: output([t, d]), x: wild(random, [t, 2 * d]) } };
    },
  },
  {
    name: 'swigluBackward',
    training: true,
    make: (random, small) => {
      const [t, d] = [rowCount(random, small), width(random, small)];
      const args = { dX: output([t, 2 * d]), dOut: rows(random, [t, d]), x: rows(random, [t, 2 * d], 2) };
      return { kernel: 'swigluBackward', args };
    },
  },
  ...UNARY.flatMap((fn): KernelCase[] => [
    {
      name: `unary ${fn}`,
      make: (random, small) => {
        const shape = [rowCount(random, small), width(random, small)];
        const x = fn === 'exp' ? rows(random, shape) : wild(random, shape);
        return { kernel: 'unary', args: { out: output(shape), x }, options: { fn } };
      },
    },
    {
      name: `unaryBackward ${fn}`,
      training: true,
      make: (random, small) => {
        const shape = [rowCount(random, small), width(random, small)];
        const args = { dX: output(shape), dOut: rows(random, shape), x: rows(random, shape, 2) };
        return { kernel: 'unaryBackward', args, options: { fn } };
      },
    },
  ]),
  {
    name: 'binary',
    make: (random, small) => {
      const shape = [rowCount(random, small), width(random, small)];
      const args = { out: output(shape), a: rows(random, shape), b: rows(random, shape) };
      return { kernel: 'binary', args, options: { fn: pick(random, ['add', 'mul']) } };
    },
  },
  {
    name: 'fill',
    make: (random, small) => {
      const args = { out: output([rowCount(random, small), width(random, small)]) };
      return { kernel: 'fill', args, options: { value: pick(random, [0, 1, -2.5]) } };
    },
  },
  {
    name: 'copy',
    make: (random, small) => {
      const shape = [rowCount(random, small), width(random, small)];
      return { kernel: 'copy', args: { out: output(shape), x: rows(random, shape) } };
    },
  },
  {
    name: 'columnSum',
    training: true,
    make: (random, small) => {
      const shape = [small ? random.integer(4) : pick(random, [0, 1, 63, 64, 500, 1025]), width(random, small)];
      const accumulate = chance(random, 0.5);
      const out = accumulate ? { ...flat(random, [shape[1]]), output: true } : flatOutput([shape[1]]);
      return { kernel: 'columnSum', args: { out, x: rows(random, shape, 1, 0.5) }, options: { accumulate } };
    },
  },
  {
    name: 'sumSquares',
    training: true,
    make: (random, small) => {
      const shape = small
        ? [2, 3]
        : pick(random, [
            [1, 1],
            [1, 255],
            [77, 300],
            [1, 70_001],
            [3, 1024],
          ]);
      return { kernel: 'sumSquares', args: { out: flatOutput([1]), x: rows(random, shape) } };
    },
  },
];
