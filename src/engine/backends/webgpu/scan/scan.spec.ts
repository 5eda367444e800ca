/**
 * Paths of the scans that only large or small batches take, forced at small sizes, and the f16 path on emulated matrix
 * units. What every backend must compute is tested in test/conformance.
 */
import { afterAll, afterEach, describe, expect, test } from '@jest/globals';
import type { Backend } from '../../../backend.js';
import type { Kernels } from '../../../kernels.js';
import { Random } from '../../../random.js';
import { sizeOf, type Tensor } from '../../../tensor.js';
import { createReferenceBackend } from '../../reference/index.js';
import { createWebgpuBackend } from '../index.js';
import { tuning } from './tuning.js';

const gpu = await createWebgpuBackend({ adapter: 'any' });
if (!gpu && process.env.CI === 'true') throw new Error('CI must have a WebGPU adapter (lavapipe)');
if (!gpu) console.warn('SKIPPED: no WebGPU adapter; the scans on WebGPU are not tested');
const suite = gpu ? describe : describe.skip;
const reference = createReferenceBackend();
const defaults = structuredClone(tuning);

type Shapes = Record<string, number[]>;

/** Runs `call` on both backends with the same random inputs; the relative error of each output. */
async function errors(inputs: Shapes, outputs: Shapes, call: (kernels: Kernels, t: Record<string, Tensor>) => void) {
  const random = new Random(3);
  const data = Object.entries(inputs).map(([name, shape]): [string, number[], Float32Array] => [
    name,
    shape,
    Float32Array.from({ length: sizeOf(shape) }, () => {
      if (name === 'aLog') return Math.log(1 + 15 * random.uniform());
      return name === 'dt' ? random.normal() - 2 : random.normal();
    }),
  ]);
  const run = async (backend: Backend) => {
    backend.poison = true;
    const tensors: Record<string, Tensor> = {};
    for (const [name, shape, values] of data) {
      tensors[name] = backend.alloc(shape);
      backend.write(tensors[name], values);
    }
    for (const name in outputs) tensors[name] = backend.alloc(outputs[name]);
    call(backend.kernels, tensors);
    const results: Record<string, ArrayLike<number>> = {};
    for (const name in outputs) results[name] = await backend.read(tensors[name]);
    return results;
  };
  const [got, want] = [await run(gpu as Backend), await run(reference)];
  return Object.fromEntries(
    Object.keys(outputs).map((name) => {
      let [difference, norm] = [0, 0];
      for (let i = 0; i < want[name].length; i++) {
        difference += (got[name][i] - want[name][i]) ** 2;
        norm += want[name][i] ** 2;
      }
      return [name, Math.sqrt(difference / norm)];
    }),
  );
}

function ssdErrors(
  precision: 'f32' | 'f16',
  [batch, length, nHeads, headDim, nGroups, dState] = [2, 75, 4, 20, 2, 24],
) {
  const wide = [batch, length, nHeads * headDim];
  const [perHead, narrow] = [
    [batch, length, nHeads],
    [batch, length, nGroups * dState],
  ];
  const inputs = { x: wide, dt: perHead, aLog: [nHeads], B: narrow, C: narrow, skip: [nHeads], dOut: wide };
  const outputs = { out: wide, dX: wide, dDt: perHead, dALog: [nHeads], dB: narrow, dC: narrow, dSkip: [nHeads] };
  return errors(inputs, outputs, (kernels, t) => {
    const args = { ...t, nHeads, nGroups, precision };
    kernels.ssd(args as never);
    kernels.ssdBackward(args as never);
  });
}

suite('scans on WebGPU', () => {
  afterEach(() => {
    Object.assign(tuning.selective, defaults.selective);
    Object.assign(tuning.ssd, defaults.ssd);
  });
  afterAll(() => gpu?.dispose());

  test('a selective scan cut into segments is the one in a single pass', async () => {
    Object.assign(tuning.selective, { enoughInvocations: 1e9, targetInvocations: 1e9, shortestSegment: 24 });
    const [batch, length, dInner, dState] = [1, 83, 9, 16];
    const wide = [batch, length, dInner];
    const narrow = [batch, length, dState];
    const inputs = { x: wide, dt: wide, z: wide, B: narrow, C: narrow, aLog: [dInner, dState], dOut: wide };
    const outputs = { out: wide, dX: wide, dDt: wide, dZ: wide, dB: narrow, dC: narrow, dALog: [dInner, dState] };
    const found = await errors(inputs, outputs, (kernels, t) => {
      kernels.selectiveScan(t as never);
      kernels.selectiveScanBackward(t as never);
    });
    for (const name in found) expect([name, found[name] < 3e-6]).toEqual([name, true]);
  });

  test('SSD with states walked from chunk to chunk, and the heads of a group apart', async () => {
    Object.assign(tuning.ssd, { serialWorkgroups: 0, scoreWorkgroups: 1e6 });
    const found = await ssdErrors('f32');
    for (const name in found) expect([name, found[name] < 3e-6]).toEqual([name, true]);
  });

  test('SSD in tiles of 48, as a sequence of 75 tokens is cut on a GPU', async () => {
    tuning.ssd.software = { ...defaults.ssd.software, tile: 48, chunk: 96 };
    const found = await ssdErrors('f32');
    for (const name in found) expect([name, found[name] < 3e-6]).toEqual([name, true]);
  });

  test('SSD with f16 operands is within their rounding', async () => {
    tuning.ssd.emulateMatrix = true;
    // Tiles of two strips, as on a GPU.
    tuning.ssd.software = { ...defaults.ssd.software, tile: 32 };
    const found = await ssdErrors('f16');
    for (const name in found) expect([name, found[name] < 2e-3]).toEqual([name, true]);
    // A path that silently computed in f32 would be far below the rounding of f16.
    expect(found.out).toBeGreaterThan(5e-5);
  });
});
