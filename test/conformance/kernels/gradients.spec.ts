/** The oracle's backward kernels and losses against finite differences of its forward kernels, in float64. */
import { describe, expect, it } from '@jest/globals';
import { createReferenceBackend } from '../../../src/engine/backends/reference/index.js';
import type { Kernels } from '../../../src/engine/kernels.js';
import { Random } from '../../../src/engine/random.js';
import { type Arg, type Call, CONTIGUOUS, execute, type Result } from './call.js';
import type { KernelCase } from './case.js';
import { denseCases } from './dense-cases.js';
import { sequenceCases } from './sequence-cases.js';
import { trainingCases } from './training-cases.js';

const backend = createReferenceBackend();
const SEEDS = 40;
const STEP = 1e-5;
const TOLERANCE = 1e-7;

const isGradient = (name: string) => /^d[A-Z]/.test(name) && name !== 'dOut';

/** The input a gradient belongs to: dAlog → aLog, dB → B. */
function inputOf(gradient: string, args: Record<string, Arg>): string {
  const plain = gradient.slice(1);
  const lower = plain[0].toLowerCase() + plain.slice(1);
  return plain in args ? plain : lower;
}

interface Forward {
  call: Call;
  /** The scalar whose gradient the backward call gives. */
  value(result: Record<string, ArrayLike<number>>): number;
}

/** The forward call behind a backward call, or a loss without its gradient. */
function forwardOf(call: Call): Forward {
  const inputs = Object.fromEntries(
    Object.entries(call.args).filter(([name]) => !isGradient(name) && name !== 'dOut' && name !== 'loss'),
  );
  if ('loss' in call.args) {
    const args = { ...inputs, loss: call.args.loss };
    return { call: { ...call, args }, value: ({ loss }) => loss[0] };
  }
  const kernel = call.kernel.replace('Backward', '') as keyof Kernels;
  const { shape, data: dOut } = call.args.dOut;
  // The one forward input that its backward kernel does not read.
  if (kernel === 'embedding')
    inputs.table = {
      ...call.args.dTable,
      output: false,
      data: new Float64Array(call.args.dTable.shape.reduce((p, e) => p * e, 1)),
    };
  const args = { ...inputs, out: { shape, rows: true, output: true } };
  return {
    call: { ...call, kernel, args },
    value: ({ out }) => Array.from(out).reduce((sum, y, i) => sum + y * (dOut as Float64Array)[i], 0),
  };
}

async function numericGradient(call: Call, input: string): Promise<Float64Array> {
  const forward = forwardOf(call);
  const data = (forward.call.args[input].data as Float64Array).slice();
  const at = async (i: number, shift: number): Promise<number> => {
    const moved = data.slice();
    moved[i] += shift;
    const args = { ...forward.call.args, [input]: { ...forward.call.args[input], data: moved } };
    const [result] = await execute(backend, { ...forward.call, args }, CONTIGUOUS);
    return forward.value(result);
  };
  const gradient = new Float64Array(data.length);
  for (let i = 0; i < data.length; i++) {
    // Fourth order, so that the truncation error stays below the rounding error.
    const [a, b, c, d] = [await at(i, -2 * STEP), await at(i, -STEP), await at(i, STEP), await at(i, 2 * STEP)];
    gradient[i] = (a - 8 * b + 8 * c - d) / (12 * STEP);
  }
  return gradient;
}

/** Throws unless `ours` is the gradient of the forward call with respect to every input that `call` gives one for. */
async function expectGradients(call: Call, ours: Result): Promise<string[]> {
  const compared: string[] = [];
  for (const gradient of Object.keys(call.args).filter(isGradient)) {
    const numeric = await numericGradient(call, inputOf(gradient, call.args));
    const { data, shape } = call.args[gradient];
    // An accumulating gradient starts from what was there.
    const expected = numeric.map((g, i) => g + (data ? data[i] : 0));
    // Differences of values near 1 are good to about 1e-11 / STEP whatever the gradient's size.
    const size = Math.max(1e-3, ...Array.from(expected, Math.abs));
    const error = Math.max(0, ...Array.from(expected, (e, i) => Math.abs(ours[gradient][i] - e) / size));
    if (!(error <= TOLERANCE)) {
      throw new Error(`${gradient}[${shape}] is off by ${error}: ${ours[gradient]}, expected ${expected}`);
    }
    if (expected.length > 0) compared.push(gradient);
  }
  return compared;
}

describe('backward kernels of the oracle', () => {
  for (const { name, make } of [...denseCases, ...sequenceCases, ...trainingCases]) {
    const sample = make(new Random(1), true);
    if (!sample.kernel.endsWith('Backward') && !('loss' in sample.args)) continue;
    it(name, async () => {
      const compared: string[] = [];
      for (let seed = 1; seed <= SEEDS; seed++) {
        const call = make(new Random(seed), true);
        const [ours] = await execute(backend, call, CONTIGUOUS);
        compared.push(...(await expectGradients(call, ours)));
      }
      for (const gradient of new Set(compared)) {
        expect(compared.filter((other) => other === gradient).length).toBeGreaterThan(5);
      }
      expect(compared.length).toBeGreaterThan(SEEDS / 4);
    });
  }

  it('are compared closely enough to tell an error of one part in a million', async () => {
    const { make } = sequenceCases.find(({ name }) => name === 'ssdBackward') as KernelCase;
    const call = make(new Random(3), true);
    const [ours] = await execute(backend, call, CONTIGUOUS);
    expect((await expectGradients(call, ours)).length).toBeGreaterThan(4);
    const wrong = { ...ours, dALog: Array.from(ours.dALog, (g) => g * (1 + 1e-6)) };
    await expect(expectGradients(call, wrong)).rejects.toThrow('dALog');
  });
});
