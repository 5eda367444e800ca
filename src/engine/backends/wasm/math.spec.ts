/**
 * exp, softplus, sigmoid, silu and asinh against float64, over every exponent and sign: the error in units of the last
 * place of the f32 nearest to the truth.
 */
import { afterAll, describe, expect, it } from '@jest/globals';
import type { Backend } from '../../backend.js';
import type { UnaryFunction } from '../../kernels.js';
import { createWasmBackend } from './index.js';
import { BUILDS } from './spec-tools.js';

const truth: Record<UnaryFunction, (x: number) => number> = {
  exp: Math.exp,
  softplus: (x) => (x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x))),
  sigmoid: (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x))),
  silu: (x) => (x >= 0 ? x / (1 + Math.exp(-x)) : (x * Math.exp(x)) / (1 + Math.exp(x))),
  asinh: Math.asinh,
};
/** Largest error allowed, in ulp. Rounding the truth to f32 alone costs 0.5. */
const LIMIT: Record<UnaryFunction, number> = { exp: 1, softplus: 2, sigmoid: 2.5, silu: 2, asinh: 2 };

/** Distance of consecutive f32 values at |x|. */
function ulp(x: number): number {
  const exponent = Math.max(Math.floor(Math.log2(Math.abs(x))), -126);
  return 2 ** (exponent - 23);
}

/** f32 values spread evenly over all bit patterns, and densely over the range where the functions move. */
function inputs(): Float32Array {
  const bits = new Uint32Array(300_000);
  for (let i = 0; i < bits.length; i++) bits[i] = Math.floor((i / bits.length) * 2 ** 32) + (i % 7);
  const values = [...new Float32Array(bits.buffer)].filter((x) => Number.isFinite(x));
  for (let i = 0; i < 200_000; i++) values.push(-110 + (i / 200_000) * 220);
  for (let i = 0; i < 50_000; i++) values.push(-2 + (i / 50_000) * 4);
  return Float32Array.from(values);
}

describe.each(BUILDS)('functions of the %s build', (build) => {
  let backend: Backend | undefined;
  const open = async () => {
    backend ??= await createWasmBackend({ threads: 1, build });
    return backend;
  };
  afterAll(() => backend?.dispose());

  async function evaluate(fn: UnaryFunction, x: Float32Array): Promise<number[]> {
    const b = await open();
    const t = b.alloc([x.length]);
    b.write(t, x);
    b.kernels.unary({ out: t, x: t, fn });
    const y = [...(await b.read(t))];
    b.free(t);
    return y;
  }

  it.each(Object.keys(truth) as UnaryFunction[])('%s', async (fn) => {
    const x = inputs();
    const y = await evaluate(fn, x);
    let worst = 0;
    let at = 0;
    for (let i = 0; i < x.length; i++) {
      const exact = truth[fn](x[i]);
      // Beyond the largest f32 the right answer is infinite.
      const rounded = Math.fround(exact);
      const error = Number.isFinite(rounded) ? Math.abs(y[i] - exact) / ulp(exact) : y[i] === rounded ? 0 : Infinity;
      if (!(error <= worst)) [worst, at] = [error, i];
    }
    if (process.env.ADDER_TEST_REPORT) console.log(`${build} ${fn}: ${worst.toFixed(2)} ulp at ${x[at]}`);
    expect({ fn, x: x[at], y: y[at], error: worst, fine: worst <= LIMIT[fn] }).toMatchObject({ fine: true });
  });

  it('keeps infinities, zeros and NaN', async () => {
    const special = new Float32Array([Infinity, -Infinity, NaN, 0, -0, 1e-45, -1e-45]);
    expect(await evaluate('exp', special)).toEqual([Infinity, 0, NaN, 1, 1, 1, 1]);
    expect(await evaluate('sigmoid', special)).toEqual([1, 0, NaN, 0.5, 0.5, 0.5, 0.5]);
    const log2 = Math.fround(Math.LN2);
    expect(await evaluate('softplus', special)).toEqual([Infinity, 0, NaN, log2, log2, log2, log2]);
    expect(await evaluate('silu', special)).toEqual([Infinity, -0, NaN, 0, -0, expect.any(Number), expect.any(Number)]);
    const tiny = Math.fround(1e-45);
    expect(await evaluate('asinh', special)).toEqual([Infinity, -Infinity, NaN, 0, -0, tiny, -tiny]);
  });
});
