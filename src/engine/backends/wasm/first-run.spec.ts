/** Plans under the baseline compiler, which runs every module first: what it gets wrong shows on the first run only. */
import { setFlagsFromString } from 'node:v8';
import { expect, test } from '@jest/globals';
import { Random } from '../../random.js';
import { createWasmBackend } from './index.js';

// Before the module is compiled, so that the optimising compiler never takes over.
setFlagsFromString('--liftoff-only');

/** Alternating products and activations over one buffer after another; the last one, after a single run. */
async function chain(threads: number): Promise<ArrayLike<number>> {
  const backend = await createWasmBackend({ threads });
  const random = new Random(3);
  const tensor = (...shape: number[]) => {
    const t = backend.alloc(shape);
    backend.write(
      t,
      Float32Array.from({ length: shape[0] * shape[1] }, () => random.normal() / 16),
    );
    return t;
  };
  const x = tensor(512, 256);
  const weights = Array.from({ length: 20 }, () => tensor(256, 256));
  const plan = backend.record(() => {
    let y = x;
    for (const b of weights) {
      const product = backend.alloc([512, 256]);
      backend.kernels.matmul({ out: product, a: y, b, transposeB: true });
      const activated = backend.alloc([512, 256]);
      backend.kernels.unary({ out: activated, x: product, fn: 'silu' });
      y = activated;
    }
    return y;
  });
  plan.run();
  const result = await backend.read(plan.result);
  await backend.dispose();
  return result;
}

test('the first run of a long plan gives the same bits with any number of threads', async () => {
  const alone = await chain(1);
  expect(Array.from(alone).some((v) => v !== 0)).toBe(true);
  expect(await chain(2)).toEqual(alone);
  expect(await chain(3)).toEqual(alone);
});
