/** Losses with their gradients, the forecaster's head, and the optimiser. */

import type { Random } from '../../../src/engine/random.js';
import type { Arg } from './call.js';
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

/** Weights of rows, a third of them 0. */
function rowWeights(random: Random, shape: readonly number[]): Arg {
  const data = uniform(random, shape, 0.01, 1).map((w) => (chance(random, 0.3) ? 0 : w));
  return { shape, data };
}

const LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9].map(Math.fround);

function levelsOf(random: Random): Arg {
  const count = pick(random, [1, 3, 9]);
  return { shape: [count], data: Float64Array.from(LEVELS.slice(0, count)) };
}

/** The head's inputs; some scales beyond the clamp at ±4. */
function mixture(random: Random, small: boolean) {
  const t = rowCount(random, small);
  const levels = levelsOf(random);
  const [patch, nCandidates] = small ? [2, 2] : [pick(random, [1, 4, 16]), pick(random, [1, 3, 8])];
  const raw = rows(random, [t, patch * levels.shape[0] + patch * nCandidates + 1]);
  const last = raw.shape[1] - 1;
  for (let r = 0; r < t; r++) {
    const scale = pick(random, [5, -4.5, random.uniform(-3.9, 3.9), random.uniform(-1, 1)]);
    (raw.data as Float64Array)[r * raw.shape[1] + last] = Math.fround(scale);
  }
  const candidates = rows(random, [t, patch * nCandidates]);
  return { t, levels, patch, nCandidates, raw, candidates, options: { patch, nCandidates } };
}

export const trainingCases: KernelCase[] = [
  {
    name: 'crossEntropy',
    training: true,
    make: (random, small) => {
      const [t, vocabulary] = [rowCount(random, small), width(random, small)];
      const gradient = chance(random, 0.7);
      return {
        kernel: 'crossEntropy',
        args: given({
          loss: flatOutput([1]),
          dLogits: gradient ? output([t, vocabulary]) : undefined,
          logits: rows(random, [t, vocabulary], 3, 20),
          targets: integers(random, [t], vocabulary),
          weights: rowWeights(random, [t]),
        }),
      };
    },
  },
  {
    name: 'mse',
    training: true,
    make: (random, small) => {
      const shape = [rowCount(random, small), width(random, small)];
      return {
        kernel: 'mse',
        args: given({
          loss: flatOutput([1]),
          dPrediction: chance(random, 0.7) ? output(shape) : undefined,
          prediction: rows(random, shape),
          target: rows(random, shape),
          weights: rowWeights(random, [shape[0]]),
        }),
      };
    },
  },
  {
    name: 'pinball',
    training: true,
    make: (random, small) => {
      const t = rowCount(random, small);
      const levels = levelsOf(random);
      const shape = [t, levels.shape[0]];
      return {
        kernel: 'pinball',
        args: given({
          loss: flatOutput([1]),
          dPrediction: chance(random, 0.7) ? output(shape) : undefined,
          prediction: rows(random, shape),
          target: flat(random, [t]),
          weights: rowWeights(random, [t]),
          levels,
        }),
      };
    },
  },
  {
    name: 'quantileMixture',
    make: (random, small) => {
      const { t, levels, patch, raw, candidates, options } = mixture(random, small);
      const quantiles = output([t, patch * levels.shape[0]]);
      return { kernel: 'quantileMixture', args: { raw, candidates, levels, quantiles }, options };
    },
  },
  {
    name: 'quantileMixture as a loss',
    training: true,
    make: (random, small) => {
      const { t, levels, patch, raw, candidates, options } = mixture(random, small);
      return {
        kernel: 'quantileMixture',
        args: given({
          raw,
          candidates,
          levels,
          quantiles: chance(random, 0.3) ? output([t, patch * levels.shape[0]]) : undefined,
          target: rows(random, [t, patch], 2),
          weights: { ...rowWeights(random, [t, patch]), rows: true },
          loss: flatOutput([1]),
          dRaw: chance(random, 0.8) ? output(raw.shape) : undefined,
        }),
        options,
      };
    },
  },
  {
    name: 'adamW',
    training: true,
    make: (random, small) => {
      const size = small ? 7 : pick(random, [1, 63, 1024, 5001]);
      const gradients = flat(random, [size], 4);
      const squares = (gradients.data as Float64Array).reduce((s, g) => s + g * g, 0);
      const gradScale = pick(random, [1, 8]);
      const clip = pick(random, [0, 1, 1e6]);
      const hyper = [1e-2, 0.9, 0.95, 1e-8, 0.1, 1 - 0.9 ** 3, 1 - 0.95 ** 3, clip].map(Math.fround);
      const skipped = chance(random, 0.2);
      const one = (value: number): Arg => ({ shape: [1], data: Float64Array.of(Math.fround(value)) });
      const average = chance(random, 0.5);
      const written = (arg: Arg): Arg => ({ ...arg, output: true });
      return {
        kernel: 'adamW',
        args: given({
          parameters: written(flat(random, [size])),
          gradients,
          m: written(flat(random, [size], 0.1)),
          v: written({ shape: [size], data: uniform(random, [size], 0, 0.1) }),
          hyper: { shape: [8], data: Float64Array.from(hyper) },
          gradScale: one(gradScale),
          sumSquares: one(skipped ? pick(random, [Number.NaN, Number.POSITIVE_INFINITY]) : squares),
          average: average ? written(flat(random, [size])) : undefined,
          averageRate: average ? one(0.01) : undefined,
        }),
        options: { decayEnd: random.integer(size + 1) },
      };
    },
  },
];
