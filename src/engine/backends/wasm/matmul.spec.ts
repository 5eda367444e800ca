/** Matrix products around every edge of the tiles, in both builds, against float64 loops. */
import { afterAll, describe, expect, it } from '@jest/globals';
import type { Backend } from '../../backend.js';
import { columns, rows } from '../../tensor.js';
import { createWasmBackend } from './index.js';
import { BUILDS, product, tensor, transpose } from './spec-tools.js';

/** Below, at and above the tile's 5 × 8, the 3 rows and 32 columns of the streamed kernel, and a few whole blocks. */
const ROWS = [1, 2, 3, 6, 7, 10, 11, 131];
const COLUMNS = [1, 4, 7, 8, 9, 33];
const DEPTHS = [1, 3, 4, 6, 17];

describe.each(BUILDS)('matmul of the %s build', (build) => {
  let backend: Backend | undefined;
  afterAll(() => backend?.dispose());

  it.each([
    { transposeA: false, transposeB: true },
    { transposeA: false, transposeB: false },
    { transposeA: true, transposeB: false },
    { transposeA: true, transposeB: true },
  ])('%o', async ({ transposeA, transposeB }) => {
    backend ??= await createWasmBackend({ threads: 1, build });
    for (const M of ROWS) {
      for (const N of COLUMNS) {
        for (const K of DEPTHS) {
          const [a, b] = [tensor(backend, [M, K], M + K), tensor(backend, [K, N], N * 3 + K)];
          const [aData, bData] = [await backend.read(a), await backend.read(b)];
          const left = transposeA ? tensor(backend, [K, M], transpose(aData, a)) : a;
          const right = transposeB ? tensor(backend, [N, K], transpose(bData, b)) : b;
          const out = backend.alloc([M, N]);
          backend.kernels.matmul({ out, a: left, b: right, transposeA, transposeB });
          const ours = await backend.read(out);
          const { sum, magnitude } = product(aData, bData, M, N, K);
          for (let i = 0; i < M * N; i++) {
            const error = Math.abs(ours[i] - sum[i]) / (magnitude[i] || 1);
            if (!(error < 1e-6))
              throw new Error(`[${M},${K}]·[${K},${N}] element ${i}: ${ours[i]}, expected ${sum[i]}`);
          }
          for (const t of new Set([a, b, left, right, out])) backend.free(t);
        }
      }
    }
    expect(backend.memory.bytes).toBe(0);
  });

  it('gives a row the same bits alone and in a batch, contiguous and strided', async () => {
    backend ??= await createWasmBackend({ threads: 1, build });
    const [M, N, K] = [37, 50, 100];
    const wide = tensor(backend, [M, K + 7], 1);
    const a = columns(wide, 3, K + 3);
    const [b, bias, out] = [tensor(backend, [N, K], 2), tensor(backend, [N], 3), backend.alloc([M, N])];
    const args = { b, bias, transposeB: true, activation: 'silu' as const };
    backend.kernels.matmul({ ...args, out, a });
    const all = await backend.read(out);
    for (const [from, to] of [
      [0, 1],
      [5, 7],
      [11, 14],
      [20, 24],
      [30, 37],
    ]) {
      const part = rows(out, from, to);
      backend.kernels.fill(out, 0);
      backend.kernels.matmul({ ...args, out: part, a: rows(a, from, to) });
      expect(await backend.read(part)).toEqual(all.slice(from * N, to * N));
    }
    for (const t of [wide, b, bias, out]) backend.free(t);
  });
});
