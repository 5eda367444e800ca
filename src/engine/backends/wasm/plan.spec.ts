/** Recorded plans, packed weights that change, memory that comes back, and the errors of misuse. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Backend } from '../../backend.js';
import { createReferenceBackend } from '../reference/index.js';
import { createWasmBackend } from './index.js';
import { numbers, product, tensor } from './spec-tools.js';

let b: Backend;
beforeEach(async () => {
  b = await createWasmBackend({ threads: 2 });
});
afterEach(() => b.dispose());

const [M, N, K] = [20, 24, 16];
const a = numbers(M * K, 1);
const code = (c: string) => expect.objectContaining({ code: c });

async function expectProduct(out: ArrayLike<number>, left: Float32Array, right: Float32Array): Promise<void> {
  const { sum } = product(left, right, M, N, K);
  for (let i = 0; i < sum.length; i++) expect(out[i]).toBeCloseTo(sum[i], 4);
}

describe('a plan', () => {
  it('sees what was written between runs, and allocates nothing', async () => {
    const [x, w] = [tensor(b, [M, K], a), tensor(b, [K, N], 2)];
    const plan = b.record(() => {
      const out = b.alloc([M, N]);
      b.kernels.matmul({ out, a: x, b: w });
      b.kernels.binary({ out, a: out, b: out, fn: 'add' });
      return out;
    });
    expect(plan.commands).toBe(2);
    plan.run();
    const { bytes } = b.memory;
    for (let round = 0; round < 3; round++) {
      const data = numbers(M * K, 10 + round);
      b.write(x, data);
      plan.run();
      const doubled = data.map((v) => 2 * v);
      await expectProduct(await b.read(plan.result), doubled, numbers(K * N, 2));
    }
    expect(b.memory.bytes).toBe(bytes);
  });

  it('sees what was written through a view, also into packed weights', async () => {
    const [x, w] = [tensor(b, [M, K], a), tensor(b, [K, N], 2)];
    const plan = b.record(() => {
      const out = b.alloc([M, N]);
      b.kernels.matmul({ out, a: x, b: w });
      return out;
    });
    for (let round = 0; round < 3; round++) {
      const [left, right] = [numbers(M * K, 20 + round), numbers(K * N, 30 + round)];
      b.view!(x).set(left);
      b.view!(w).set(right);
      plan.run();
      await expectProduct(b.view!(plan.result), left, right);
      expect([...b.view!(plan.result)]).toEqual([...(await b.read(plan.result))]);
    }
    const count = b.alloc([3], 'i32');
    b.view!(count).set([1, 2, 3]);
    expect([...(await b.read(count))]).toEqual([1, 2, 3]);
    expect(() => b.view!({ ...x, shape: [M, 2] })).toThrow(code('BAD_SHAPE'));
    b.record(() => expect(() => b.view!(x)).toThrow(code('RECORDING')));
  });

  it('runs nothing while it is recorded', async () => {
    const x = tensor(b, [8], 3);
    const plan = b.record(() => b.kernels.fill(x, 5));
    expect([...(await b.read(x))]).toEqual([...numbers(8, 3)]);
    plan.run();
    expect([...(await b.read(x))]).toEqual(new Array(8).fill(5));
  });

  it('uses freed tensors of its own again and gives everything back', () => {
    const x = tensor(b, [1000], 1);
    const before = b.memory.bytes;
    const plan = b.record(() => {
      const first = b.alloc([1000]);
      b.kernels.copy(first, x);
      const second = b.alloc([1000]);
      b.kernels.copy(second, first);
      b.free(first);
      const third = b.alloc([1000]);
      b.kernels.copy(third, second);
      return third;
    });
    expect(plan.bytes).toBe(2 * 4096);
    plan.run();
    plan.dispose();
    plan.dispose();
    expect(b.memory.bytes).toBe(before);
    expect(() => plan.run()).toThrow(code('DISPOSED'));
  });

  it('gives everything back when recording fails', () => {
    const before = b.memory.bytes;
    const broken = () =>
      b.record(() => {
        b.alloc([1 << 20]);
        throw new Error('half way');
      });
    expect(broken).toThrow('half way');
    expect(b.recording).toBe(false);
    expect(b.memory.bytes).toBe(before);
  });

  it('poisons its tensors on every run', async () => {
    b.poison = true;
    const plan = b.record(() => b.alloc([7]));
    b.write(plan.result, numbers(7));
    plan.run();
    expect([...(await b.read(plan.result))]).toEqual(new Array(7).fill(Number.NaN));
  });
});

describe('packed weights', () => {
  const weights = [2, 3, 4].map((seed) => numbers(K * N, seed));

  it('follow host writes, in eager calls and in plans', async () => {
    const [x, w, out] = [tensor(b, [M, K], a), tensor(b, [K, N], weights[0]), b.alloc([M, N])];
    const plan = b.record(() => b.kernels.matmul({ out, a: x, b: w }));
    for (const data of weights) {
      b.write(w, data);
      plan.run();
      await expectProduct(await b.read(out), a, data);
      b.kernels.fill(out, 0);
      b.kernels.matmul({ out, a: x, b: w });
      await expectProduct(await b.read(out), a, data);
    }
  });

  it('follow kernels and other plans that write the weight', async () => {
    const [x, w, out] = [tensor(b, [M, K], a), tensor(b, [K, N], weights[0]), b.alloc([M, N])];
    const source = tensor(b, [K, N], weights[1]);
    const multiply = b.record(() => b.kernels.matmul({ out, a: x, b: w }));
    multiply.run();
    b.kernels.copy(w, source);
    multiply.run();
    await expectProduct(await b.read(out), a, weights[1]);
    const change = b.record(() => b.kernels.copy(w, source));
    b.write(source, weights[2]);
    change.run();
    multiply.run();
    await expectProduct(await b.read(out), a, weights[2]);
  });

  it('are packed inside the plan that computes them', async () => {
    const [x, source, out] = [tensor(b, [M, K], a), tensor(b, [K, N], weights[0]), b.alloc([M, N])];
    const plan = b.record(() => {
      const w = b.alloc([K, N]);
      b.kernels.copy(w, source);
      b.kernels.matmul({ out, a: x, b: w });
      b.free(w);
    });
    for (const data of weights) {
      b.write(source, data);
      plan.run();
      await expectProduct(await b.read(out), a, data);
    }
  });

  it('go with the weight', () => {
    const [x, out] = [tensor(b, [M, K], a), b.alloc([M, N])];
    const before = b.memory.bytes;
    const w = tensor(b, [K, N], 2);
    b.kernels.matmul({ out, a: x, b: w });
    expect(b.memory.bytes).toBeGreaterThan(before + K * N * 4);
    b.free(w);
    expect(b.memory.bytes).toBe(before);
  });
});

describe('misuse', () => {
  it('is named', () => {
    const x = tensor(b, [4, 4]);
    const other = createReferenceBackend().alloc([4, 4]);
    const freed = b.alloc([4, 4]);
    b.free(freed);
    const { kernels } = b;
    expect(() => kernels.copy(x, other)).toThrow(code('FOREIGN_TENSOR'));
    expect(() => kernels.copy(x, freed)).toThrow(code('FREED_TENSOR'));
    expect(() => b.free(freed)).toThrow(code('FREED_TENSOR'));
    expect(() => kernels.copy(x, b.alloc([4, 5]))).toThrow(code('BAD_SHAPE'));
    expect(() => kernels.matmul({ out: x, a: x, b: b.alloc([4, 4]) })).toThrow(code('BAD_SHAPE'));
    expect(() => b.write(x, [1, 2])).toThrow(code('BAD_SHAPE'));
    expect(() => b.alloc([4], 'f16')).toThrow(code('NOT_SUPPORTED'));
    expect(() => b.record(() => b.write(x, numbers(16)))).toThrow(code('RECORDING'));
    expect(() => b.record(() => b.record(() => x))).toThrow(code('RECORDING'));
    expect(() => kernels.swigluBackward({ dX: x, dOut: x, x })).toThrow(code('NO_TRAINING'));
  });
});
