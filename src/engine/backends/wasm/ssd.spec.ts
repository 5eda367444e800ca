/**
 * SSD at every edge of its chunks and tiles against the float64 oracle, with a scratch memory full of NaN: what a chunk
 * leaves behind must not reach the next.
 */
import { afterAll, describe, expect, it } from '@jest/globals';
import type { Backend } from '../../backend.js';
import type { Discretisation } from '../../kernels.js';
import { sizeOf, type Tensor } from '../../tensor.js';
import { createReferenceBackend } from '../reference/index.js';
import { createWasmBackend } from './index.js';
import { BUILDS, numbers, tensor } from './spec-tools.js';

interface Case {
  length: number;
  P: number;
  N: number;
  H: number;
  G: number;
  state: boolean;
  discretisation: Discretisation;
  /** Added to the raw step sizes: −3 forgets slowly, 5 at once. */
  dt: number;
}

const oracle = createReferenceBackend();

/** Output and final state of one call. */
async function evaluate(b: Backend, c: Case, poisoned: boolean): Promise<ArrayLike<number>[]> {
  const { length, P, N, H, G } = c;
  const batch = 3;
  const made: Tensor[] = [];
  const input = (shape: readonly number[], seed: number, add = 0) => {
    const data = numbers(sizeOf(shape), seed).map((v) => (poisoned ? Number.NaN : v + add));
    const t = tensor(b, shape, data);
    made.push(t);
    return t;
  };
  const lengths = b.alloc([batch], 'i32');
  b.write(lengths, [length, Math.floor(length / 2), 0]);
  const out = b.alloc([batch, length, H * P]);
  const state = c.state ? input([batch, H, P, N], 1) : undefined;
  made.push(lengths, out);
  b.kernels.ssd({
    out,
    x: input([batch, length, H * P], 2),
    dt: input([batch, length, H], 3, c.dt),
    aLog: input([H], 4, 1),
    B: input([batch, length, G * N], 5),
    C: input([batch, length, G * N], 6),
    skip: input([H], 7),
    dtBias: input([H], 8),
    nHeads: H,
    nGroups: G,
    state,
    lengths,
    discretisation: c.discretisation,
  });
  const results = [await b.read(out), ...(state ? [await b.read(state)] : [])];
  for (const t of made) b.free(t);
  return results;
}

const shapes = [
  { P: 8, N: 16, H: 8, G: 1 },
  { P: 5, N: 17, H: 4, G: 2 },
  { P: 1, N: 3, H: 2, G: 2 },
  { P: 13, N: 40, H: 6, G: 2 },
];
const lengths = [1, 2, 11, 12, 16, 39, 40, 41, 45, 81, 130];

describe.each(BUILDS)('ssd of the %s build', (build) => {
  let backend: Backend | undefined;
  afterAll(() => backend?.dispose());

  it.each(shapes)('%o', async (shape) => {
    backend ??= await createWasmBackend({ threads: 1, build });
    for (const [i, length] of lengths.entries()) {
      for (const dt of [-3, 5]) {
        const c: Case = { ...shape, length, dt, state: i % 3 > 0, discretisation: i % 2 ? 'zoh' : 'euler' };
        await evaluate(backend, c, true);
        const [ours, expected] = [await evaluate(backend, c, false), await evaluate(oracle, c, false)];
        for (let r = 0; r < expected.length; r++) {
          const scale = expected[r].length === 0 ? 1 : Math.max(...Array.from(expected[r], Math.abs), 1e-3);
          for (let j = 0; j < expected[r].length; j++) {
            const error = Math.abs(ours[r][j] - expected[r][j]) / scale;
            if (!(error < 3e-6)) {
              throw new Error(
                `${JSON.stringify(c)}: ${r ? 'state' : 'out'}[${j}] ${ours[r][j]}, expected ${expected[r][j]}`,
              );
            }
          }
        }
      }
    }
    expect(backend.memory.bytes).toBe(0);
  });
});
