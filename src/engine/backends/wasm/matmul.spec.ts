/** Matrix products around every edge of the tiles, in both builds, against float64 loops. */
import { afterAll, describe, expect, it } from '@jest/globals';
import type { Backend } from '../../backend.js';
import { createWasmBackend } from './index.js';
import { BUILDS, product, tensor, transpose } from './spec-tools.js';

/** Below, at and above the tile's 5 × 8, the streamed kernels' 4 and 32 columns, and a few whole blocks. */
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
});
