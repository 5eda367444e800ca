/** Worker threads: the same bits with any number of them, and their end. */
import { describe, expect, it } from '@jest/globals';
import type { Backend, Plan } from '../../backend.js';
import { columns, reshape, sizeOf, type Tensor } from '../../tensor.js';
import { unary } from './elementwise.js';
import { Executor } from './executor.js';
import { createWasmBackend } from './index.js';
import { loadModule } from './module.js';
import { Pool } from './pool.js';
import { tensor } from './spec-tools.js';
import { Threads } from './threads.js';

/** A plan with a call of every kernel that is large enough to be shared; its result are the tensors it writes. */
function everything(b: Backend): Plan<Tensor[]> {
  const k = b.kernels;
  const [batch, length, H, P, N] = [3, 70, 4, 32, 48];
  const lengths = b.alloc([batch], 'i32');
  b.write(lengths, [70, 33, 0]);
  const x = tensor(b, [batch, length, H * P], 1);
  const wide = tensor(b, [batch, length, 2 * N + H], 2);
  const [B, C, dt] = [columns(wide, 0, N), columns(wide, N, 2 * N), columns(wide, 2 * N, 2 * N + H)];
  const channels = tensor(b, [H * P], 4);
  const few = tensor(b, [2, 300], 6);
  const [weight, tall, broad] = [tensor(b, [333, H * P], 5), tensor(b, [3000, 300], 7), tensor(b, [300, 3001], 7)];
  const taps = tensor(b, [H * P, 4], 8);
  const rates = tensor(b, [H * P, N], 10);
  const headRates = tensor(b, [H], 9);
  const bias = tensor(b, [H, 40], 11);
  const long = tensor(b, [300_007], 12);
  const before = tensor(b, [batch * H * P * N], 13);
  return b.record(() => {
    const out: Tensor[] = [];
    const made = (shape: readonly number[]) => {
      const t = b.alloc(shape);
      out.push(t);
      return t;
    };
    /** A state that starts alike in every run. */
    const state = (shape: readonly number[]) => {
      const t = made(shape);
      const count = sizeOf(shape);
      k.copy(reshape(t, [count]), columns(before, 0, count));
      return t;
    };
    k.matmul({ out: made([210, 333]), a: x, b: weight, transposeB: true, activation: 'silu' });
    k.matmul({ out: made([2, 3000]), a: few, b: tall, transposeB: true });
    k.matmul({ out: made([2, 3001]), a: few, b: broad });
    const conv = { x, weight: taps, bias: channels, activation: 'silu' as const, lengths };
    k.conv({ ...conv, out: made(x.shape), state: state([batch, 3, H * P]) });
    const ssd = { x, dt, aLog: headRates, B, C, nHeads: H, nGroups: 1, lengths };
    k.ssd({ ...ssd, out: made(x.shape), state: state([batch, H, P, N]) });
    const scan = { x, dt: x, aLog: rates, B, C, skip: channels, z: x, lengths };
    k.selectiveScan({ ...scan, out: made(x.shape), state: state([batch, H * P, N]) });
    k.selectiveScan({ ...scan, out: made(x.shape), discretisation: 'zoh' });
    k.attention({ out: made(x.shape), q: x, k: x, v: x, bias, nHeads: H, kvHeads: H, window: 40, lengths });
    k.rmsNorm({ out: made(x.shape), x, weight: channels, eps: 1e-5 });
    k.gatedRmsNorm({ out: made(x.shape), x, z: x, weight: channels, eps: 1e-5, groupSize: 64 });
    k.unary({ out: made([300_007]), x: long, fn: 'softplus' });
    k.columnSum(made([H * P]), reshape(x, [batch * length, H * P]));
    return out;
  });
}

describe('threads', () => {
  it('give the same bits as one', async () => {
    let expected: ArrayLike<number>[] | undefined;
    for (const threads of [1, 2, 3, 5]) {
      const b = await createWasmBackend({ threads });
      const plan = everything(b);
      // Several rounds: the workers join once they have started.
      for (let round = 0; round < (threads === 1 ? 1 : 20); round++) {
        plan.run();
        const outputs = await Promise.all(plan.result.map((t) => b.read(t)));
        expected ??= outputs;
        expect(difference(outputs, expected)).toBe('');
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      await b.dispose();
    }
  });

  it('share the work', async () => {
    const { module } = await loadModule('simd');
    const pool = new Pool();
    const threads = new Threads(2, module, pool.memory);
    const executor = new Executor(pool, threads, module);
    const x = executor.alloc([1 << 20], 'f32');
    const until = performance.now() + 20_000;
    while (threads.helped < 10 && performance.now() < until) unary(executor, { out: x, x, fn: 'asinh' });
    expect(threads.helped).toBeGreaterThanOrEqual(10);
    await threads.dispose();
  }, 30_000);

  it('start when first needed and end with the backend', async () => {
    const { module } = await loadModule('simd');
    const pool = new Pool();
    const threads = new Threads(3, module, pool.memory);
    expect(threads.alive).toBe(0);
    threads.start();
    threads.start();
    expect(threads.alive).toBe(2);
    await threads.dispose();
    expect(threads.alive).toBe(0);
  });

  it('end while they sleep', async () => {
    const b = await createWasmBackend({ threads: 4 });
    everything(b).run();
    await new Promise((resolve) => setTimeout(resolve, 300));
    const started = performance.now();
    await b.dispose();
    await b.dispose();
    expect(performance.now() - started).toBeLessThan(5000);
  });

  it.each([0, 1.5, -1, Number.NaN, 1000])('refuses %p threads', async (threads) => {
    await expect(createWasmBackend({ threads })).rejects.toMatchObject({ code: 'BAD_OPTION' });
  });
});

function difference(a: ArrayLike<number>[], b: ArrayLike<number>[]): string {
  for (let i = 0; i < a.length; i++) {
    for (let j = 0; j < a[i].length; j++) {
      if (!Object.is(a[i][j], b[i][j])) return `output ${i}, element ${j}: ${a[i][j]} and ${b[i][j]}`;
    }
  }
  return '';
}
