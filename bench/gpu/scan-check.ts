/** Checks of the scans on the GPU: against the float64 reference at awkward sizes, and by identities at full size. */
import type { Backend } from '../../src/engine/backend.js';
import { createReferenceBackend } from '../../src/engine/backends/reference/index.js';
import type { WebgpuBackend } from '../../src/engine/backends/webgpu/index.js';
import type { Kernels, Precision } from '../../src/engine/kernels.js';
import { Random } from '../../src/engine/random.js';
import { sizeOf, type Tensor } from '../../src/engine/tensor.js';
import { relativeError, type TimedCase } from './scan-cases.js';
import type { SsdShape } from './scan-variants.js';

const reference = createReferenceBackend();

/** Inputs and wanted outputs of one call, by argument name; the oracle runs once for all variants. */
interface Expected {
  inputs: Record<string, { shape: number[]; data: Float32Array; dtype?: 'i32' }>;
  outputs: Record<string, { shape: number[]; want?: Float64Array }>;
}

const known = new Map<string, Expected>();

type Call = (kernels: Kernels, tensors: Record<string, Tensor>) => void;

async function compare(backend: WebgpuBackend, key: string, make: () => Expected, call: Call): Promise<number> {
  let expected = known.get(key);
  if (!expected) {
    expected = make();
    const tensors = upload(reference, expected);
    call(reference.kernels, tensors);
    for (const name in expected.outputs) {
      expected.outputs[name].want = Float64Array.from(await reference.read(tensors[name]));
    }
    known.set(key, expected);
  }
  backend.poison = true;
  const tensors = upload(backend, expected);
  backend.poison = false;
  call(backend.kernels, tensors);
  let worst = 0;
  for (const name in expected.outputs) {
    const error = relativeError(await backend.read(tensors[name]), expected.outputs[name].want as Float64Array);
    if (error > worst) worst = error;
  }
  for (const t of Object.values(tensors)) backend.free(t);
  return worst;
}

function upload(backend: Backend, { inputs, outputs }: Expected): Record<string, Tensor> {
  const tensors: Record<string, Tensor> = {};
  for (const [name, { shape, data, dtype }] of Object.entries(inputs)) {
    tensors[name] = backend.alloc(shape, dtype ?? 'f32');
    backend.write(tensors[name], data);
  }
  for (const [name, { shape }] of Object.entries(outputs)) tensors[name] = backend.alloc(shape);
  return tensors;
}

function inputMaker(random: Random) {
  return (shape: number[], draw: (random: Random) => number = (r) => r.normal()) => ({
    shape,
    data: Float32Array.from({ length: sizeOf(shape) }, () => draw(random)),
  });
}

/** Largest relative error of the output and of all gradients, ragged lengths and every option included. */
export function checkScan(backend: WebgpuBackend, dState: number, smoke: boolean): Promise<number> {
  const [batch, length, dInner] = smoke ? [2, 41, 10] : [3, 531, 70];
  const make = (): Expected => {
    const input = inputMaker(new Random(21));
    const wide = [batch, length, dInner];
    const narrow = [batch, length, dState];
    return {
      inputs: {
        x: input(wide),
        dt: input(wide, (r) => r.normal() - 2),
        z: input(wide),
        dOut: input(wide),
        B: input(narrow),
        C: input(narrow),
        aLog: input([dInner, dState], (r) => Math.log(1 + 15 * r.uniform())),
        skip: input([dInner]),
        dtBias: input([dInner], (r) => 0.1 * r.normal()),
        lengths: { ...input([batch], (r) => Math.ceil(length * (0.6 + 0.4 * r.uniform()))), dtype: 'i32' },
      },
      outputs: {
        out: { shape: wide },
        dX: { shape: wide },
        dDt: { shape: wide },
        dZ: { shape: wide },
        dB: { shape: narrow },
        dC: { shape: narrow },
        dALog: { shape: [dInner, dState] },
        dSkip: { shape: [dInner] },
        dDtBias: { shape: [dInner] },
      },
    };
  };
  return compare(backend, `scan ${dState}`, make, (kernels, t) => {
    kernels.selectiveScan(t as never);
    kernels.selectiveScanBackward(t as never);
  });
}

export function checkSsd(backend: WebgpuBackend, of: SsdShape, precision: Precision, smoke: boolean): Promise<number> {
  const { headDim, dState } = of;
  const [batch, nHeads, nGroups] = [2, 4, 2];
  // Short sequences are a chunk of their own length: checked as such.
  const length = smoke ? 37 : Math.min(of.length, 300) - (of.length > 300 ? 7 : 0);
  const make = (): Expected => {
    const input = inputMaker(new Random(22));
    const wide = [batch, length, nHeads * headDim];
    const perHead = [batch, length, nHeads];
    const narrow = [batch, length, nGroups * dState];
    return {
      inputs: {
        x: input(wide),
        dt: input(perHead, (r) => r.normal() - 2),
        dOut: input(wide),
        B: input(narrow),
        C: input(narrow),
        aLog: input([nHeads], (r) => Math.log(1 + 15 * r.uniform())),
        skip: input([nHeads]),
        dtBias: input([nHeads], (r) => 0.1 * r.normal()),
        lengths: { ...input([batch], (r) => Math.ceil(length * (0.6 + 0.4 * r.uniform()))), dtype: 'i32' },
      },
      outputs: {
        out: { shape: wide },
        dX: { shape: wide },
        dDt: { shape: perHead },
        dB: { shape: narrow },
        dC: { shape: narrow },
        dALog: { shape: [nHeads] },
        dSkip: { shape: [nHeads] },
        dDtBias: { shape: [nHeads] },
      },
    };
  };
  return compare(backend, `ssd ${headDim} ${dState} ${length}`, make, (kernels, t) => {
    const args = { ...t, nHeads, nGroups, precision };
    kernels.ssd(args as never);
    kernels.ssdBackward(args as never);
  });
}

/**
 * The output without its skip term is linear in B and in C, so ⟨dB, B⟩ = ⟨dC, C⟩ = ⟨dOut, out⟩ − ⟨dSkip, skip⟩ (a gate on
 * the output does not change that). Gives the largest difference, relative to the norms of what is multiplied; every
 * element of the gradients takes part.
 */
export async function identityError(backend: WebgpuBackend, { ties }: TimedCase): Promise<number> {
  const dot = async (a: Tensor, b: Tensor) => {
    const [left, right] = [await backend.read(a), await backend.read(b)];
    let [sum, squares] = [0, 0];
    for (let i = 0; i < left.length; i++) {
      sum += left[i] * right[i];
      squares += (left[i] * right[i]) ** 2;
    }
    return { sum, norm: Math.sqrt(squares) };
  };
  const output = await dot(ties.dOut, ties.out);
  const skip = await dot(ties.dSkip, ties.skip);
  const b = await dot(ties.dB, ties.B);
  const c = await dot(ties.dC, ties.C);
  const linear = output.sum - skip.sum;
  const scale = Math.max(output.norm, b.norm, c.norm);
  const error = Math.max(Math.abs(b.sum - linear), Math.abs(c.sum - linear)) / scale;
  return Number.isFinite(error) ? error : Number.POSITIVE_INFINITY;
}
