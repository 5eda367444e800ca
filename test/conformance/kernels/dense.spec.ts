import { expect, it } from '@jest/globals';
import { onEveryBackend } from '../backends.js';
import { CONTIGUOUS, execute } from './call.js';
import { denseCases } from './dense-cases.js';
import { testKernels } from './kernel-tests.js';

testKernels(denseCases);

onEveryBackend('embedding', (backend) => {
  it('gives a row of NaN for ids outside the table', async () => {
    for (const id of [-1, 3, 2 ** 30]) {
      const args = {
        out: { shape: [2, 2], output: true, rows: true, data: new Float64Array(4) },
        ids: { shape: [2], data: Int32Array.of(id, 1) },
        table: { shape: [3, 2], data: Float64Array.of(0, 1, 2, 3, 4, 5) },
      };
      const [{ out }] = await execute(backend, { kernel: 'embedding', args }, CONTIGUOUS);
      expect(Array.from(out)).toEqual([Number.NaN, Number.NaN, 2, 3]);
    }
  });
});
