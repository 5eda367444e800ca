/** The oracle's forward kernels against a second, independent writing of their formulas. */
import { describe, expect, it } from '@jest/globals';
import { createReferenceBackend } from '../../../src/engine/backends/reference/index.js';
import { Random } from '../../../src/engine/random.js';
import { expectClose } from '../compare.js';
import { describeCall, execute, randomLayout, withRepeatedRow } from './call.js';
import { denseCases } from './dense-cases.js';
import { naive } from './naive.js';
import { sequenceCases } from './sequence-cases.js';
import { trainingCases } from './training-cases.js';

const backend = createReferenceBackend();
const SEEDS = 60;
const TOLERANCE = 1e-12;

describe('forward kernels of the oracle', () => {
  for (const { name, make } of [...denseCases, ...sequenceCases, ...trainingCases]) {
    if (make(new Random(1), true).kernel.endsWith('Backward')) continue;
    it(name, async () => {
      let compared = 0;
      for (let seed = 1; seed <= SEEDS; seed++) {
        const random = new Random(seed);
        const made = make(random, true);
        const layout = randomLayout(made, random);
        const call = withRepeatedRow(made, layout);
        const [ours] = await execute(backend, call, layout);
        const expected = naive(call);
        expect(expected).toBeDefined();
        for (const [output, values] of Object.entries(expected ?? {})) {
          const what = `seed ${seed}: ${output} of ${describeCall(call, layout)}`;
          expectClose(ours[output], values, TOLERANCE, what, call.args[output].shape);
          compared += values.length;
        }
      }
      expect(compared).toBeGreaterThan(SEEDS / 2);
    });
  }
});
