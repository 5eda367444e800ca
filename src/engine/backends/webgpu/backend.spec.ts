import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { EngineError } from '../../errors.js';
import { columns, type Tensor } from '../../tensor.js';
import { createWebgpuBackend, type WebgpuBackend } from './index.js';
import { defineSource } from './source.js';

const backend = await createWebgpuBackend({ adapter: 'any' });
if (!backend && process.env.CI === 'true') throw new Error('CI must have a WebGPU adapter (lavapipe)');
if (!backend) console.warn('SKIPPED: no WebGPU adapter; the WebGPU backend is not tested');
const suite = backend ? describe : describe.skip;

suite('webgpu backend', () => {
  let gpu: WebgpuBackend;
  beforeAll(() => {
    gpu = backend as WebgpuBackend;
  });
  afterAll(() => gpu.dispose());

  const tensor = (shape: number[], data: number[], dtype: 'f32' | 'f16' | 'i32' = 'f32'): Tensor => {
    const t = gpu.alloc(shape, dtype);
    gpu.write(t, data);
    return t;
  };
  const values = async (t: Tensor) => [...(await gpu.read(t))];

  test('writes and reads back, whole and strided, in every type', async () => {
    const t = tensor([2, 3], [1, 2, 3, 4, 5, 6]);
    expect(await values(t)).toEqual([1, 2, 3, 4, 5, 6]);
    gpu.write(columns(t, 1, 3), [7, 8, 9, 10]);
    expect(await values(t)).toEqual([1, 7, 8, 4, 9, 10]);
    expect(await values(columns(t, 2, 3))).toEqual([8, 10]);
    expect(await values(tensor([3], [-1, 5, 2 ** 30], 'i32'))).toEqual([-1, 5, 2 ** 30]);
    if (gpu.gpu.f16) expect(await values(tensor([3], [1, 0.1, -2], 'f16'))).toEqual([1, 0.0999755859375, -2]);
    expect(await values(gpu.alloc([0, 4]))).toEqual([]);
  });

  test('a write after a launch does not overtake it', async () => {
    const [a, out] = [tensor([4], [1, 2, 3, 4]), gpu.alloc([4])];
    gpu.kernels.copy(out, a);
    gpu.write(a, [9, 9, 9, 9]);
    expect(await values(out)).toEqual([1, 2, 3, 4]);
  });

  test('large writes, from shared memory too, arrive in order with what runs between them', async () => {
    const n = 2 ** 19;
    const shared = new Float32Array(new SharedArrayBuffer(4 * n));
    const [a, small] = [gpu.alloc([n]), gpu.alloc([4])];
    const outs: Tensor[] = [];
    for (let i = 0; i < 6; i++) {
      shared.fill(i);
      shared[n - 1] = 100 + i;
      gpu.write(a, shared);
      gpu.write(small, shared.subarray(n - 4));
      outs.push(gpu.alloc([n]));
      gpu.kernels.copy(outs[i], a);
      if (i % 2 === 0) await gpu.sync();
    }
    for (const [i, out] of outs.entries()) {
      const numbers = await gpu.read(out);
      expect([numbers[0], numbers[n / 2], numbers[n - 1]]).toEqual([i, i, 100 + i]);
    }
    expect(await values(small)).toEqual([5, 5, 5, 105]);
    for (const t of [a, small, ...outs]) gpu.free(t);
  });

  test('a plan gives what the same calls give at once, again for new data', async () => {
    const a = tensor(
      [300],
      Array.from({ length: 300 }, (_, i) => i / 100),
    );
    const work = () => {
      const [h, out] = [gpu.alloc([300]), gpu.alloc([300])];
      gpu.kernels.unary({ out: h, x: a, fn: 'exp' });
      gpu.kernels.binary({ out, a: h, b: a, fn: 'mul' });
      gpu.free(h);
      gpu.kernels.binary({ out, a: out, b: a, fn: 'add' });
      return out;
    };
    const plan = gpu.record(work);
    expect(plan.commands).toBe(3);
    plan.run();
    expect(await values(plan.result)).toEqual(await values(work()));
    gpu.write(a, new Array(300).fill(1));
    plan.run();
    const [first] = await values(plan.result);
    expect(first).toBeCloseTo(Math.E + 1, 5);
    plan.dispose();
    expect(() => plan.run()).toThrow(EngineError);
  });

  test('two views of one buffer may be read and written by the same launch', async () => {
    const t = tensor([2, 4], [1, 2, 3, 4, 5, 6, 7, 8]);
    gpu.kernels.binary({ out: columns(t, 0, 2), a: columns(t, 0, 2), b: columns(t, 2, 4), fn: 'mul' });
    expect(await values(t)).toEqual([3, 8, 3, 4, 35, 48, 7, 8]);
  });

  test('memory given back is used again and counted once', async () => {
    const before = gpu.memory.bytes;
    const a = gpu.alloc([1000]);
    expect(gpu.memory.bytes).toBe(before + 4096);
    gpu.free(a);
    expect(gpu.memory.bytes).toBe(before);
    const b = gpu.alloc([1001]);
    expect((b.storage as { buffer: GPUBuffer }).buffer).toBe((a.storage as { buffer: GPUBuffer }).buffer);
    expect(() => gpu.kernels.fill(a, 1)).toThrow(/freed/);
    gpu.free(b);
    expect(() => gpu.free(b)).toThrow(/freed/);

    const plan = gpu.record(() => {
      for (let i = 0; i < 5; i++) {
        const scratch = gpu.alloc([1000]);
        gpu.kernels.fill(scratch, i);
        gpu.free(scratch);
      }
    });
    expect(plan.bytes).toBe(4096);
    plan.dispose();
    expect(gpu.memory.bytes).toBe(before);
  });

  test('a tensor freed while recording serves the plan until it is disposed of', async () => {
    const a = tensor([8], [1, 2, 3, 4, 5, 6, 7, 8]);
    const plan = gpu.record(() => {
      const out = gpu.alloc([8]);
      gpu.kernels.copy(out, a);
      gpu.free(a);
      return out;
    });
    const b = tensor([8], new Array(8).fill(-1));
    plan.run();
    expect(await values(plan.result)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    plan.dispose();
    gpu.free(b);
  });

  test('poison shows what was not written, in a plan at every run', async () => {
    gpu.poison = true;
    try {
      expect((await values(gpu.alloc([5]))).every(Number.isNaN)).toBe(true);
      const plan = gpu.record(() => {
        const t = gpu.alloc([2, 2]);
        gpu.kernels.fill(columns(t, 0, 1), 3);
        return t;
      });
      plan.run();
      plan.run();
      expect(await values(plan.result)).toEqual([3, Number.NaN, 3, Number.NaN]);
      plan.dispose();
    } finally {
      gpu.poison = false;
    }
  });

  test('more launches than uniform slices, and more workgroups than one dimension holds', async () => {
    const t = tensor([3], [0, 0, 0]);
    const one = tensor([3], [1, 1, 1]);
    for (let i = 0; i < 1500; i++) gpu.kernels.binary({ out: t, a: t, b: one, fn: 'add' });
    expect(await values(t)).toEqual([1500, 1500, 1500]);
    const large = gpu.alloc([65_535 * 256 + 1000]);
    gpu.kernels.fill(large, 2);
    const tail = { ...large, shape: [3], offset: 65_535 * 256 + 997, stride: 3 };
    expect(await values(tail)).toEqual([2, 2, 2]);
    gpu.free(large);
  });

  test('a kernel that does not compile is named with file, line and message', async () => {
    defineSource('broken', '// header\n\n@compute @workgroup_size(1)\nfn main() {\n  let x: u32 = nonsense;\n}\n');
    gpu.dispatch({ kernel: 'broken', constants: { WIDTH: 4 }, bindings: {}, workgroups: 1 });
    const error = await gpu.sync().then(
      () => undefined,
      (thrown: EngineError) => thrown,
    );
    expect(error).toBeInstanceOf(EngineError);
    expect(error?.code).toBe('KERNEL_INVALID');
    expect(error?.where).toEqual({ file: 'broken.wgsl', line: 5 });
    expect(error?.message).toContain('nonsense');
    await gpu.sync();
  });

  test('wrong calls are refused by name', () => {
    const t = gpu.alloc([4]);
    const call = { kernel: 'poison', bindings: { data: t }, params: { words: 4 }, workgroups: 1 };
    expect(() => gpu.dispatch({ ...call, bindings: {} })).toThrow(/binding data/);
    expect(() => gpu.dispatch({ ...call, params: {} })).toThrow(/param words/);
    expect(() => gpu.dispatch({ ...call, params: { words: 4, size: 1 } })).toThrow(/size/);
    expect(() => gpu.dispatch({ ...call, kernel: 'absent' })).toThrow(/absent/);
    expect(() => gpu.record(() => gpu.write(t, [1, 2, 3, 4]))).toThrow(/recorded/);
    expect(gpu.recording).toBe(false);
  });

  test('profile times launches by kernel', async () => {
    if (!gpu.gpu.timestamps) return;
    const plan = gpu.record(() => {
      const t = gpu.alloc([100_000]);
      gpu.kernels.fill(t, 1);
      gpu.kernels.unary({ out: t, x: t, fn: 'exp' });
      gpu.kernels.unary({ out: t, x: t, fn: 'exp' });
    });
    const rows = await plan.profile();
    expect(rows.map(({ kernel, launches }) => [kernel, launches]).sort()).toEqual([
      ['exp', 2],
      ['fill', 1],
    ]);
    for (const { ms } of rows) expect(ms).toBeGreaterThan(0);
    plan.dispose();
  });
});

suite('device loss', () => {
  test('is reported at the next wait, and a new backend works', async () => {
    const first = (await createWebgpuBackend({ adapter: 'any' })) as WebgpuBackend;
    const t = first.alloc([4]);
    first.gpu.device.destroy();
    const error = await first.read(t).then(
      () => undefined,
      (thrown: EngineError) => thrown,
    );
    expect(error?.code).toBe('DEVICE_LOST');
    await expect(first.sync()).rejects.toThrow(/lost/);
    await first.dispose();
    const second = (await createWebgpuBackend({ adapter: 'any' })) as WebgpuBackend;
    const u = second.alloc([4]);
    second.kernels.fill(u, 7);
    expect([...(await second.read(u))]).toEqual([7, 7, 7, 7]);
    await second.dispose();
  });
});
