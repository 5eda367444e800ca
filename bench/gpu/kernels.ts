/** The engine's heavy kernels at the shapes of published figures: matrix products, both scans forward and backward. */
import type { Backend } from '../../src/engine/backend.js';
import type { Precision } from '../../src/engine/kernels.js';
import { Random } from '../../src/engine/random.js';
import { type DType, sizeOf, type Tensor } from '../../src/engine/tensor.js';
import { type Row, timeCalls } from '../measure.js';

/** Random inputs and uninitialised outputs, freed together. */
class Tensors {
  private readonly all: Tensor[] = [];
  private readonly random = new Random(7);
  constructor(private readonly backend: Backend) {}

  empty(...shape: number[]): Tensor {
    const t = this.backend.alloc(shape);
    this.all.push(t);
    return t;
  }

  normal(shape: readonly number[], scale = 1, shift = 0, dtype: DType = 'f32'): Tensor {
    const t = this.backend.alloc(shape, dtype);
    this.all.push(t);
    // One block of random numbers repeated: drawing hundreds of millions would take longer than the benchmark.
    const block = Float32Array.from(
      { length: Math.min(sizeOf(shape), 65_521) },
      () => shift + scale * this.random.normal(),
    );
    const data = new Float32Array(sizeOf(shape));
    for (let i = 0; i < data.length; i += block.length)
      data.set(block.subarray(0, Math.min(block.length, data.length - i)), i);
    this.backend.write(t, data);
    return t;
  }

  free(): void {
    for (const t of this.all) this.backend.free(t);
  }
}

async function timed(
  backend: Backend,
  call: () => void,
  inner = 20,
): Promise<{ value: number; spread: [number, number] }> {
  const plan = backend.record(() => call());
  const result = await timeCalls(backend, () => plan.run(), { inner });
  plan.dispose();
  return result;
}

/** TFLOP/s of out = x·weightᵀ at the shape of a d 512 block's projections. */
export async function matmulRows(backend: Backend, halves: boolean): Promise<Row[]> {
  const rows: Row[] = [];
  const shapes = [
    [16384, 2048, 512],
    [4096, 4096, 4096],
  ] as const;
  for (const [m, n, k] of shapes) {
    const kinds: [string, DType, Precision][] = [['f32', 'f32', 'f32']];
    if (halves) kinds.push(['f32 in, f16 units', 'f32', 'f16'], ['f16 in, f32 sums', 'f16', 'f16']);
    for (const [label, dtype, precision] of kinds) {
      const t = new Tensors(backend);
      const [a, b, out] = [t.normal([m, k], 1, 0, dtype), t.normal([n, k], 1, 0, dtype), t.empty(m, n)];
      const { value, spread } = await timed(backend, () =>
        backend.kernels.matmul({ out, a, b, transposeB: true, precision }),
      );
      const rate = (ms: number) => (2 * m * n * k) / ms / 1e9;
      const goal = m === 16384 && dtype === 'f16' ? { least: 140, aim: 300 } : {};
      rows.push({
        name: `matmul ${m}×${n}×${k}, ${label}`,
        value: rate(value),
        unit: 'TFLOP/s',
        spread: [rate(spread[1]), rate(spread[0])],
        higher: true,
        ...goal,
      });
      t.free();
    }
  }
  return rows;
}

interface ScanShape {
  batch: number;
  length: number;
  dInner: number;
  dState: number;
}

/** Mamba-1's scan with gate, skip and bias, f32. */
export async function selectiveScanRows(backend: Backend): Promise<Row[]> {
  const rows: Row[] = [];
  const shapes: (ScanShape & { forward?: [number, number]; backward?: [number, number] })[] = [
    { batch: 8, length: 2048, dInner: 1024, dState: 16, forward: [0.6, 0.3], backward: [1.41, 0.705] },
    { batch: 1, length: 16384, dInner: 1024, dState: 16 },
    { batch: 64, length: 512, dInner: 512, dState: 16 },
  ];
  for (const { batch, length, dInner, dState, forward, backward } of shapes) {
    const t = new Tensors(backend);
    const sequence = (width: number, scale = 1, shift = 0) => t.normal([batch, length, width], scale, shift);
    const inputs = {
      x: sequence(dInner),
      dt: sequence(dInner, 0.5, -4),
      B: sequence(dState),
      C: sequence(dState),
      z: sequence(dInner),
      aLog: t.normal([dInner, dState], 0.5, 1),
      skip: t.normal([dInner]),
      dtBias: t.normal([dInner], 0.1),
    };
    const out = t.empty(batch, length, dInner);
    const shape = backend.kernels.checkpointShape('selectiveScan', { batch, length, dInner, dState, nHeads: dInner });
    const checkpoints = shape && t.empty(...shape);
    const name = `Mamba-1 scan ${batch}×${dInner}×${length}×${dState}, f32`;
    const [least, aim] = forward ?? [];
    rows.push({
      name: `${name}, forward`,
      unit: 'ms',
      ...(await timed(backend, () => backend.kernels.selectiveScan({ ...inputs, out }))),
      least,
      aim,
    });
    rows.push({
      name: `${name}, forward that saves for backward`,
      unit: 'ms',
      ...(await timed(backend, () => backend.kernels.selectiveScan({ ...inputs, out, checkpoints }))),
    });
    const gradients = {
      dOut: sequence(dInner),
      dX: t.empty(batch, length, dInner),
      dDt: t.empty(batch, length, dInner),
      dALog: t.empty(dInner, dState),
      dB: t.empty(batch, length, dState),
      dC: t.empty(batch, length, dState),
      dZ: t.empty(batch, length, dInner),
      dSkip: t.empty(dInner),
      dDtBias: t.empty(dInner),
    };
    const [leastBack, aimBack] = backward ?? [];
    rows.push({
      name: `${name}, backward`,
      unit: 'ms',
      ...(await timed(
        backend,
        () => backend.kernels.selectiveScanBackward({ ...inputs, ...gradients, checkpoints }),
        10,
      )),
      least: leastBack,
      aim: aimBack,
    });
    t.free();
  }
  return rows;
}

/** Mamba-2's scan with skip and bias. */
export async function ssdRows(backend: Backend, precisions: readonly Precision[]): Promise<Row[]> {
  const rows: Row[] = [];
  const shapes: (ScanShape & { nHeads: number; forward?: [number, number]; both?: [number, number] })[] = [
    { batch: 8, length: 2048, dInner: 1024, dState: 128, nHeads: 16, forward: [0.56, 0.28], both: [2.6, 1.29] },
    { batch: 1, length: 16384, dInner: 1024, dState: 128, nHeads: 16 },
    { batch: 64, length: 512, dInner: 512, dState: 64, nHeads: 8 },
    { batch: 512, length: 72, dInner: 384, dState: 64, nHeads: 6 },
    { batch: 2048, length: 12, dInner: 384, dState: 64, nHeads: 6 },
  ];
  for (const { batch, length, dInner, dState, nHeads, forward, both } of shapes) {
    for (const precision of precisions) {
      const t = new Tensors(backend);
      const sequence = (width: number, scale = 1, shift = 0) => t.normal([batch, length, width], scale, shift);
      const inputs = {
        x: sequence(dInner),
        dt: sequence(nHeads, 0.5, -4),
        B: sequence(dState),
        C: sequence(dState),
        aLog: t.normal([nHeads], 0.5, 1),
        skip: t.normal([nHeads]),
        dtBias: t.normal([nHeads], 0.1),
        nHeads,
        nGroups: 1,
        precision,
      };
      const out = t.empty(batch, length, dInner);
      const shape = backend.kernels.checkpointShape('ssd', { batch, length, dInner, dState, nHeads });
      const checkpoints = shape && t.empty(...shape);
      const name = `SSD ${batch}×${length}×${nHeads}×${dInner / nHeads}×1×${dState}, ${precision}`;
      // The published figures are of sixteen-bit operands.
      const bounds = precision === 'f16' ? { forward, both } : {};
      const [least, aim] = bounds.forward ?? [];
      rows.push({
        name: `${name}, forward`,
        unit: 'ms',
        ...(await timed(backend, () => backend.kernels.ssd({ ...inputs, out }))),
        least,
        aim,
      });
      const gradients = {
        dOut: sequence(dInner),
        dX: t.empty(batch, length, dInner),
        dDt: t.empty(batch, length, nHeads),
        dALog: t.empty(nHeads),
        dB: t.empty(batch, length, dState),
        dC: t.empty(batch, length, dState),
        dSkip: t.empty(nHeads),
        dDtBias: t.empty(nHeads),
      };
      const [leastBoth, aimBoth] = bounds.both ?? [];
      const forwardAndBackward = () => {
        backend.kernels.ssd({ ...inputs, out, checkpoints });
        backend.kernels.ssdBackward({ ...inputs, ...gradients, checkpoints });
      };
      rows.push({
        name: `${name}, forward + backward`,
        unit: 'ms',
        ...(await timed(backend, forwardAndBackward, 10)),
        least: leastBoth,
        aim: aimBoth,
      });
      t.free();
    }
  }
  return rows;
}
