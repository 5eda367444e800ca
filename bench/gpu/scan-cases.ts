/** Arguments of the scans at a shape: random inputs, outputs, and how to call, sample-check and free them. */
import { createReferenceBackend } from '../../src/engine/backends/reference/index.js';
import type { WebgpuBackend } from '../../src/engine/backends/webgpu/index.js';
import type {
  Precision,
  SelectiveScanArgs,
  SelectiveScanBackwardArgs,
  SsdArgs,
  SsdBackwardArgs,
} from '../../src/engine/kernels.js';
import { Random } from '../../src/engine/random.js';
import { sizeOf, type Tensor } from '../../src/engine/tensor.js';
import type { ScanShape, SsdShape } from './scan-variants.js';

export interface TimedCase {
  name: string;
  forward(): void;
  backward(): void;
  /** Relative error of a few whole channels against float64. */
  sample(): Promise<number>;
  floors: { forward: number; backward: number };
  /** What ties the gradients to the output: see identityError. */
  ties: { out: Tensor; dOut: Tensor; B: Tensor; C: Tensor; dB: Tensor; dC: Tensor; skip: Tensor; dSkip: Tensor };
  free(): void;
}

const BANDWIDTH = 2.7e12;
const FLOPS = { f32: 60e12, f16: 400e12 };

/** Allocates on a backend and remembers what it wrote, for the float64 check of a part. */
export class Operands {
  private readonly all: Tensor[] = [];
  private readonly data = new Map<Tensor, Float32Array>();
  private readonly random = new Random(11);
  constructor(readonly backend: WebgpuBackend) {}

  empty(...shape: number[]): Tensor {
    const t = this.backend.alloc(shape);
    this.all.push(t);
    return t;
  }

  /** Numbers from a block that is repeated: drawing all would take longer than the benchmark. */
  fill(shape: number[], draw: (random: Random) => number): Tensor {
    const t = this.empty(...shape);
    const data = new Float32Array(sizeOf(shape));
    const block = Float32Array.from({ length: Math.min(data.length, 65_521) }, () => draw(this.random));
    for (let i = 0; i < data.length; i += block.length) {
      data.set(block.subarray(0, Math.min(block.length, data.length - i)), i);
    }
    this.backend.write(t, data);
    this.data.set(t, data);
    return t;
  }

  normal(...shape: number[]): Tensor {
    return this.fill(shape, (random) => random.normal());
  }

  /** Columns [from, to) of every row, as float64; rows of the last dimension unless `width` says otherwise. */
  columns(t: Tensor, from: number, to: number, width = t.shape[t.shape.length - 1]): Float64Array {
    return pick(this.data.get(t) as Float32Array, width, from, to);
  }

  free(): void {
    for (const t of this.all) this.backend.free(t);
  }
}

export function pick(data: ArrayLike<number>, width: number, from: number, to: number): Float64Array {
  const rows = data.length / width;
  const out = new Float64Array(rows * (to - from));
  for (let r = 0; r < rows; r++) for (let c = from; c < to; c++) out[r * (to - from) + c - from] = data[r * width + c];
  return out;
}

export function relativeError(got: ArrayLike<number>, want: ArrayLike<number>): number {
  let [difference, norm] = [0, 0];
  for (let i = 0; i < want.length; i++) {
    difference += (got[i] - want[i]) ** 2;
    norm += want[i] ** 2;
  }
  const error = Math.sqrt(difference / Math.max(norm, 1e-300));
  return Number.isFinite(error) ? error : Number.POSITIVE_INFINITY;
}

/** Step sizes between 0.001 and 0.1, as models start with. */
const rawStep = (random: Random) => {
  const dt = Math.exp(Math.log(1e-3) + random.uniform() * Math.log(100));
  return dt + Math.log(-Math.expm1(-dt));
};

const reference = createReferenceBackend();

/** What the reference found for a shape: the inputs are the same for all its variants. */
const wanted = new Map<string, Record<string, Float64Array>>();
function once(name: string, compute: () => Record<string, Tensor>): Record<string, Float64Array> {
  let found = wanted.get(name);
  if (!found) {
    found = Object.fromEntries(Object.entries(compute()).map(([key, t]) => [key, t.storage as Float64Array]));
    wanted.set(name, found);
  }
  return found;
}
function oracle(shape: number[], data: ArrayLike<number>): Tensor {
  const t = reference.alloc(shape);
  reference.write(t, data);
  return t;
}

export function scanCase(backend: WebgpuBackend, shape: ScanShape): TimedCase {
  const { batch, dInner, length, dState, name } = shape;
  const o = new Operands(backend);
  const wide = () => o.normal(batch, length, dInner);
  const inputs = {
    x: wide(),
    dt: o.fill([batch, length, dInner], rawStep),
    z: wide(),
    B: o.normal(batch, length, dState),
    C: o.normal(batch, length, dState),
    aLog: o.fill([dInner, dState], (random) => Math.log(1 + 15 * random.uniform())),
    skip: o.normal(dInner),
    dtBias: o.fill([dInner], (random) => 0.1 * random.normal()),
  };
  const out = o.empty(batch, length, dInner);
  const dOut = wide();
  const empty = () => o.empty(batch, length, dInner);
  const gradients = {
    dX: empty(),
    dDt: empty(),
    dZ: empty(),
    dB: o.empty(batch, length, dState),
    dC: o.empty(batch, length, dState),
    dALog: o.empty(dInner, dState),
    dSkip: o.empty(dInner),
    dDtBias: o.empty(dInner),
  };
  const extents = backend.kernels.checkpointShape('selectiveScan', { batch, length, dInner, dState, nHeads: 1 });
  const checkpoints = extents ? o.empty(...extents) : undefined;
  const scanArgs: SelectiveScanArgs = { ...inputs, out };
  const backwardArgs: SelectiveScanBackwardArgs = { ...inputs, ...gradients, dOut, checkpoints };
  const elements = batch * length * dInner;

  return {
    name,
    // Timed as a training step calls it: with checkpoints.
    forward: () => backend.kernels.selectiveScan({ ...scanArgs, checkpoints }),
    backward: () => backend.kernels.selectiveScanBackward(backwardArgs),
    async sample() {
      const d = dInner >> 1;
      const want = once(name, () => {
        const part = (t: Tensor) => oracle([batch, length, 1], o.columns(t, d, d + 1));
        const row = (t: Tensor, width: number) =>
          oracle(width === 1 ? [1] : [1, width], o.columns(t, d * width, (d + 1) * width, dInner * width));
        const few = {
          x: part(inputs.x),
          dt: part(inputs.dt),
          z: part(inputs.z),
          B: oracle([batch, length, dState], o.columns(inputs.B, 0, dState)),
          C: oracle([batch, length, dState], o.columns(inputs.C, 0, dState)),
          aLog: row(inputs.aLog, dState),
          skip: row(inputs.skip, 1),
          dtBias: row(inputs.dtBias, 1),
        };
        const y = reference.alloc([batch, length, 1]);
        reference.kernels.selectiveScan({ ...few, out: y });
        const found = {
          dX: reference.alloc([batch, length, 1]),
          dDt: reference.alloc([batch, length, 1]),
          dZ: reference.alloc([batch, length, 1]),
          dALog: reference.alloc([1, dState]),
          dSkip: reference.alloc([1]),
          dDtBias: reference.alloc([1]),
        };
        reference.kernels.selectiveScanBackward({
          ...few,
          ...found,
          dOut: part(dOut),
          dB: reference.alloc([batch, length, dState]),
          dC: reference.alloc([batch, length, dState]),
        });
        return { out: y, ...found };
      });
      const got: Record<string, Tensor> = { out, ...gradients };
      let worst = 0;
      for (const [key, values] of Object.entries(want)) {
        const all = await backend.read(got[key]);
        const mine =
          key === 'dALog' ? pick(all, dInner * dState, d * dState, (d + 1) * dState) : pick(all, dInner, d, d + 1);
        worst = Math.max(worst, relativeError(mine, values));
      }
      return worst;
    },
    floors: {
      forward: Math.max((elements * 16) / BANDWIDTH, (elements * dState * 8) / FLOPS.f32) * 1e3,
      backward: Math.max((elements * 28) / BANDWIDTH, (elements * dState * 26) / FLOPS.f32) * 1e3,
    },
    ties: {
      out,
      dOut,
      B: inputs.B,
      C: inputs.C,
      dB: gradients.dB,
      dC: gradients.dC,
      skip: inputs.skip,
      dSkip: gradients.dSkip,
    },
    free: () => o.free(),
  };
}

export function ssdCase(backend: WebgpuBackend, shape: SsdShape, precision: Precision): TimedCase {
  const { batch, length, nHeads, headDim, nGroups, dState, name } = shape;
  const dInner = nHeads * headDim;
  const o = new Operands(backend);
  const inputs = {
    x: o.normal(batch, length, dInner),
    dt: o.fill([batch, length, nHeads], rawStep),
    aLog: o.fill([nHeads], (random) => Math.log(1 + 15 * random.uniform())),
    B: o.normal(batch, length, nGroups * dState),
    C: o.normal(batch, length, nGroups * dState),
    skip: o.normal(nHeads),
    dtBias: o.fill([nHeads], (random) => 0.1 * random.normal()),
  };
  const out = o.empty(batch, length, dInner);
  const dOut = o.normal(batch, length, dInner);
  const gradients = {
    dX: o.empty(batch, length, dInner),
    dDt: o.empty(batch, length, nHeads),
    dALog: o.empty(nHeads),
    dB: o.empty(batch, length, nGroups * dState),
    dC: o.empty(batch, length, nGroups * dState),
    dSkip: o.empty(nHeads),
    dDtBias: o.empty(nHeads),
  };
  const extents = backend.kernels.checkpointShape('ssd', { batch, length, dInner, dState, nHeads });
  const checkpoints = extents ? o.empty(...extents) : undefined;
  const args: SsdArgs = { ...inputs, out, nHeads, nGroups, precision, checkpoints };
  const backwardArgs: SsdBackwardArgs = { ...inputs, ...gradients, dOut, nHeads, nGroups, precision, checkpoints };
  const tokens = batch * length;
  // Per token and head: in and out of the state, and half a chunk of 128 within it.
  const forwardFlops = tokens * nHeads * 2 * (2 * headDim * dState + 64 * headDim);

  return {
    name,
    forward: () => backend.kernels.ssd(args),
    backward: () => backend.kernels.ssdBackward(backwardArgs),
    async sample() {
      // Four channels of one head: their outputs and dX depend on no other channel.
      const h = nHeads - 1;
      const from = h * headDim + headDim - 4;
      const want = once(name, () => {
        const part = (t: Tensor) => oracle([batch, length, 4], o.columns(t, from, from + 4));
        const one = (t: Tensor) => oracle([1], o.columns(t, h, h + 1));
        const group = nGroups - 1;
        const bc = (t: Tensor) => oracle([batch, length, dState], o.columns(t, group * dState, (group + 1) * dState));
        const few = {
          x: part(inputs.x),
          dt: oracle([batch, length, 1], o.columns(inputs.dt, h, h + 1)),
          aLog: one(inputs.aLog),
          B: bc(inputs.B),
          C: bc(inputs.C),
          skip: one(inputs.skip),
          dtBias: one(inputs.dtBias),
          nHeads: 1,
          nGroups: 1,
        };
        const y = reference.alloc([batch, length, 4]);
        reference.kernels.ssd({ ...few, out: y });
        const dX = reference.alloc([batch, length, 4]);
        reference.kernels.ssdBackward({
          ...few,
          dX,
          dOut: part(dOut),
          dDt: reference.alloc([batch, length, 1]),
          dALog: reference.alloc([1]),
          dB: reference.alloc([batch, length, dState]),
          dC: reference.alloc([batch, length, dState]),
        });
        return { out: y, dX };
      });
      const mine = async (t: Tensor) => pick(await backend.read(t), dInner, from, from + 4);
      return Math.max(relativeError(await mine(out), want.out), relativeError(await mine(gradients.dX), want.dX));
    },
    floors: {
      forward:
        Math.max((tokens * (dInner * 8 + nGroups * dState * 8)) / BANDWIDTH, forwardFlops / FLOPS[precision]) * 1e3,
      backward:
        Math.max(
          (tokens * (dInner * 16 + nGroups * dState * 16)) / BANDWIDTH,
          (2.2 * forwardFlops) / FLOPS[precision],
        ) * 1e3,
    },
    ties: {
      out,
      dOut,
      B: inputs.B,
      C: inputs.C,
      dB: gradients.dB,
      dC: gradients.dC,
      skip: inputs.skip,
      dSkip: gradients.dSkip,
    },
    free: () => o.free(),
  };
}

export interface StepCase {
  name: string;
  call(): void;
  floor: number;
  check(): Promise<number>;
  free(): void;
}

/** The decode steps of both scans at batch 1, 64 and 1024. */
export function* stepCases(backend: WebgpuBackend, smoke: boolean): Generator<StepCase> {
  for (const batch of smoke ? [2] : [1, 64, 1024]) {
    yield stepCase(backend, batch, smoke ? 24 : 1024, undefined, 16);
    yield stepCase(backend, batch, smoke ? 32 : 1024, smoke ? 2 : 16, smoke ? 16 : 128);
  }
}

/** With nHeads a step of SSD, without one of the selective scan. */
function stepCase(
  backend: WebgpuBackend,
  batch: number,
  dInner: number,
  nHeads: number | undefined,
  dState: number,
): StepCase {
  const o = new Operands(backend);
  const perStep = nHeads ?? dInner;
  const stateShape = nHeads ? [batch, nHeads, dInner / nHeads, dState] : [batch, dInner, dState];
  const inputs = {
    x: o.normal(batch, 1, dInner),
    dt: o.fill([batch, 1, perStep], rawStep),
    aLog: o.fill(nHeads ? [nHeads] : [dInner, dState], (random) => Math.log(1 + 15 * random.uniform())),
    B: o.normal(batch, 1, dState),
    C: o.normal(batch, 1, dState),
    skip: o.normal(perStep),
    dtBias: o.normal(perStep),
  };
  const state = o.normal(...stateShape);
  const out = o.empty(batch, 1, dInner);
  const run = (b: Pick<WebgpuBackend, 'kernels'>, args: typeof inputs & { state: Tensor; out: Tensor }) => {
    if (nHeads) b.kernels.ssd({ ...args, nHeads, nGroups: 1 });
    else b.kernels.selectiveScan(args);
  };
  return {
    name: `step ${nHeads ? 'ssd' : 'scan'} batch ${batch}, ${stateShape.slice(1).join('x')}`,
    call: () => run(backend, { ...inputs, state, out }),
    floor: ((sizeOf(stateShape) * 8) / BANDWIDTH) * 1e3,
    async check() {
      // Any number of steps has gone over the state by now: one more, from where it is.
      const before = await backend.read(state);
      run(backend, { ...inputs, state, out });
      const copies = Object.fromEntries(
        await Promise.all(
          Object.entries(inputs).map(async ([key, t]) => [key, oracle([...t.shape], await backend.read(t))]),
        ),
      ) as typeof inputs;
      const wanted = { ...copies, state: oracle(stateShape, before), out: reference.alloc([batch, 1, dInner]) };
      run(reference as unknown as Pick<WebgpuBackend, 'kernels'>, wanted);
      return Math.max(
        relativeError(await backend.read(out), wanted.out.storage as Float64Array),
        relativeError(await backend.read(state), wanted.state.storage as Float64Array),
      );
    },
    free: () => o.free(),
  };
}
