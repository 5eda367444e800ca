/**
 * Variants of the matrix product that the conformance suite does not reach: the large f32 tile at small shapes, and the
 * kernel for matrix units, run with emulated units where the adapter has none, and compiled with the real ones.
 */
import { spawnSync } from 'node:child_process';
import { afterAll, describe, expect, test } from '@jest/globals';
import type { MatmulArgs } from '../../kernels.js';
import { Random } from '../../random.js';
import { columns, type DType, type Tensor } from '../../tensor.js';
import { createWebgpuBackend, type WebgpuBackend } from './index.js';
import { launchTiled } from './matmul.js';
import { type F16Tile, f16Constants, LARGE, launchF16, SMALL } from './matmul-f16.js';
import { completeSource } from './source.js';

const backend = await createWebgpuBackend({ adapter: 'any' });
if (!backend && process.env.CI === 'true') throw new Error('CI must have a WebGPU adapter (lavapipe)');
if (!backend) console.warn('SKIPPED: no WebGPU adapter; the matrix products are not tested');
const suite = backend ? describe : describe.skip;

interface Case {
  M: number;
  N: number;
  K: number;
  transposeA?: boolean;
  transposeB?: boolean;
  dtype?: DType;
  /** Columns of foreign memory left of every operand, so that no row begins at a whole vec4. */
  skew?: number;
  epilogue?: boolean;
}

type Launch = (gpu: WebgpuBackend, args: MatmulArgs, dims: { M: number; N: number; K: number }) => void;

/** Runs a product of numbers that f16 holds exactly, and gives its largest error relative to the largest result. */
async function errorOf(gpu: WebgpuBackend, each: Case, launch: Launch): Promise<number> {
  const { M, N, K, transposeA = false, transposeB = false, dtype = 'f32', skew = 0, epilogue = false } = each;
  const random = new Random(M * 1009 + N * 31 + K);
  const tensor = (shape: [number, number], type: DType = 'f32'): [Tensor, Float32Array] => {
    const data = Float32Array.from({ length: shape[0] * shape[1] }, () => random.integer(2049) / 1024 - 1);
    const t = columns(gpu.alloc([shape[0], shape[1] + skew], type), skew, shape[1] + skew);
    gpu.write(t, data);
    return [t, data];
  };
  const [a, A] = tensor(transposeA ? [K, M] : [M, K], dtype);
  const [b, B] = tensor(transposeB ? [N, K] : [K, N], dtype);
  const [out, before] = tensor([M, N]);
  const [bias, BIAS] = tensor([1, N]);
  const args: MatmulArgs = { out, a, b, transposeA, transposeB };
  if (epilogue) Object.assign(args, { bias, activation: 'silu', accumulate: true });
  launch(gpu, args, { M, N, K });
  const result = await gpu.read(out);
  let [worst, largest] = [0, 0];
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      let sum = epilogue ? BIAS[n] : 0;
      for (let k = 0; k < K; k++) sum += A[transposeA ? k * M + m : m * K + k] * B[transposeB ? n * K + k : k * N + n];
      if (epilogue) sum = sum / (1 + Math.exp(-sum)) + before[m * N + n];
      largest = Math.max(largest, Math.abs(sum));
      const difference = Math.abs(sum - result[m * N + n]);
      worst = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : Math.max(worst, difference);
    }
  }
  return worst / largest;
}

suite('matrix products', () => {
  const gpu = backend as WebgpuBackend;
  afterAll(() => gpu.dispose());

  const tiles: Record<string, Case> = {
    'whole vec4, b transposed': { M: 132, N: 140, K: 36, transposeB: true },
    'element by element, a transposed, epilogue': { M: 131, N: 66, K: 21, transposeA: true, skew: 3, epilogue: true },
  };
  test.each(Object.entries(tiles))('the large f32 tile: %s', async (_, each) => {
    const launch: Launch = (on, args, dims) => launchTiled(on, args, dims, 128, 16);
    expect(await errorOf(gpu, each, launch)).toBeLessThan(1e-6);
  });

  const small: F16Tile = { tile: [32, 32, 32], subgroups: [1, 2], stages: 2, pad: 1, direct: true };
  const single: F16Tile = { tile: [32, 32, 16], subgroups: [2, 1], stages: 1, pad: 1, direct: false };
  const matrices: [string, Case, F16Tile, number][] = [
    ['whole tiles', { M: 64, N: 64, K: 64 }, small, 1],
    ['ragged, b transposed', { M: 44, N: 52, K: 36, transposeB: true, epilogue: true }, small, 1],
    ['a transposed, split over K', { M: 40, N: 36, K: 200, transposeA: true }, single, 3],
    ['both transposed, no alignment', { M: 37, N: 41, K: 35, transposeA: true, transposeB: true, skew: 3 }, single, 1],
    ['f16 operands', { M: 40, N: 56, K: 72, transposeB: true, dtype: 'f16' }, small, 1],
    ['tiles of single halves', { M: 40, N: 36, K: 50 }, { ...single, halves: true }, 1],
    ['f16 operands without alignment', { M: 33, N: 35, K: 37, dtype: 'f16', skew: 1 }, single, 1],
  ];
  test.each(matrices)('matrix units: %s', async (_, each, shape, splits) => {
    if ((each.dtype === 'f16' || shape.halves) && !gpu.gpu.f16) return;
    const launch: Launch = (on, args, dims) => launchF16(on, args, dims, shape, !on.gpu.subgroupMatrix, splits);
    expect(await errorOf(gpu, each, launch)).toBeLessThan(1e-6);
  });
});

/** Compiles WGSL texts on Dawn's null backend, which offers every feature; a process of its own, because Dawn starts once. */
const COMPILE = `
import { create } from 'webgpu';
import { readFileSync } from 'node:fs';
globalThis.gpu = create(['backend=null', 'enable-dawn-features=allow_unsafe_apis']);
const adapter = await gpu.requestAdapter();
const requiredFeatures = ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'];
const device = await adapter.requestDevice({ requiredFeatures });
const failures = [];
for (const code of JSON.parse(readFileSync(0, 'utf8'))) {
  device.pushErrorScope('validation');
  const { messages } = await device.createShaderModule({ code }).getCompilationInfo();
  await device.popErrorScope();
  failures.push(...messages.filter(({ type }) => type !== 'info').map(({ lineNum, message }) => lineNum + ': ' + message));
}
process.stdout.write(JSON.stringify(failures));
process.exit(0);
`;

describe('matrix units', () => {
  test('every variant is valid WGSL with the real units', () => {
    const tensor = (dtype: DType, offset: number): Tensor => ({
      shape: [128, 128],
      dtype,
      offset,
      stride: 128,
      storage: {},
    });
    const texts: string[] = [];
    for (const shape of [LARGE, SMALL, { ...LARGE, stages: 1 as const, halves: true }]) {
      for (const [transposeA, transposeB] of [
        [false, false],
        [false, true],
        [true, false],
      ]) {
        for (const [dtype, offset] of [
          ['f32', 0],
          ['f32', 1],
          ['f16', 0],
        ] as const) {
          for (const quads of [true, false]) {
            const operand = tensor(dtype, offset);
            const args = { out: tensor('f32', 0), a: operand, b: operand, transposeA, transposeB };
            const type = quads ? 'vec4<f32>' : 'f32';
            const output = { OUT: type, RESIDUAL: type, VEC_OUT: quads, SPLIT: !quads };
            texts.push(completeSource('matmul-f16', { ...f16Constants(args, shape, false), ...output }, {}).text);
          }
        }
      }
    }
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', COMPILE], {
      input: JSON.stringify(texts),
      encoding: 'utf8',
      maxBuffer: 2 ** 24,
    });
    expect(child.status).toBe(0);
    expect(JSON.parse(child.stdout)).toEqual([]);
  });
});
