/** A Mamba-2 block of given sizes with random weights, for this engine's kernels. */
import type { Backend } from '../../src/engine/backend.js';
import { columns, sizeOf, type Tensor } from '../../src/engine/tensor.js';

export interface BlockShape {
  dModel: number;
  nHeads: number;
  headDim: number;
  dState: number;
}
export const D512: BlockShape = { dModel: 512, nHeads: 16, headDim: 64, dState: 128 };
export const EPS = 1e-5;

export type Numbers = Record<keyof ReturnType<typeof shapes>, Float32Array>;

/** Shapes of the parameters. */
export function shapes({ dModel, nHeads, headDim, dState }: BlockShape) {
  const inner = nHeads * headDim;
  const convolved = inner + 2 * dState;
  return {
    norm: [dModel],
    inProj: [inner + convolved + nHeads, dModel],
    conv: [convolved, 4],
    convBias: [convolved],
    aLog: [nHeads],
    dtBias: [nHeads],
    skip: [nHeads],
    gate: [inner],
    outProj: [dModel, inner],
  };
}

/** Normal numbers (sum of twelve uniform ones, less six), the same in every run. */
export function randomNumbers(count: number, scale: number, seed: number): Float32Array {
  let x = Math.imul(seed, 2654435761) >>> 0;
  const uniform = () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return x / 2 ** 32;
  };
  return Float32Array.from({ length: count }, () => {
    let sum = -6;
    for (let i = 0; i < 12; i++) sum += uniform();
    return sum * scale;
  });
}

export function blockNumbers(shape: BlockShape): Numbers {
  const all = shapes(shape);
  const scales: Record<string, number> = {
    inProj: shape.dModel ** -0.5,
    outProj: (shape.nHeads * shape.headDim) ** -0.5,
    conv: 0.5,
  };
  const numbers = Object.fromEntries(
    Object.entries(all).map(([name, dims], i) => [name, randomNumbers(sizeOf(dims), scales[name] ?? 0.3, i + 1)]),
  ) as Numbers;
  // A = −exp(aLog) between −1 and −16, step sizes around 0.02, norms around 1: what trained blocks look like.
  numbers.aLog = numbers.aLog.map((_, h) => Math.log(1 + (15 * h) / shape.nHeads));
  numbers.dtBias = numbers.dtBias.map((v) => v - 4);
  numbers.norm = numbers.norm.map((v) => 1 + v);
  numbers.gate = numbers.gate.map((v) => 1 + v);
  return numbers;
}

/** Multiplications and additions of the two projections: the matmul-equivalent work of a forward pass. */
export function projectionFlops(shape: BlockShape, tokens: number): number {
  const { inProj, outProj } = shapes(shape);
  return 2 * tokens * (sizeOf(inProj) + sizeOf(outProj));
}

export interface Block {
  x: Tensor;
  out: Tensor;
  state?: { conv: Tensor; ssm: Tensor };
  /** Enqueues the block's kernels. */
  forward(): void;
  dispose(): void;
}

/** norm → projection → convolution → SSD → gated norm → projection + residual, with a state for single steps. */
export function makeBlock(
  backend: Backend,
  shape: BlockShape,
  numbers: Numbers,
  batch: number,
  length: number,
  withState: boolean,
): Block {
  const { dModel, nHeads, headDim, dState } = shape;
  const inner = nHeads * headDim;
  const convolved = inner + 2 * dState;
  const all: Tensor[] = [];
  const alloc = (dims: readonly number[]) => {
    const t = backend.alloc(dims);
    all.push(t);
    return t;
  };
  const written = (dims: readonly number[], data: Float32Array) => {
    const t = alloc(dims);
    backend.write(t, data);
    return t;
  };
  const w = Object.fromEntries(
    Object.entries(shapes(shape)).map(([name, dims]) => [name, written(dims, numbers[name as keyof Numbers])]),
  ) as Record<keyof Numbers, Tensor>;
  const x = written([batch, length, dModel], randomNumbers(batch * length * dModel, 1, 100));
  const state = withState
    ? {
        conv: written([batch, 3, convolved], randomNumbers(batch * 3 * convolved, 1, 101)),
        ssm: written([batch, nHeads, headDim, dState], randomNumbers(batch * inner * dState, 0.1, 102)),
      }
    : undefined;
  const normed = alloc([batch, length, dModel]);
  const projected = alloc([batch, length, inner + convolved + nHeads]);
  const mixed = alloc([batch, length, convolved]);
  const y = alloc([batch, length, inner]);
  const gated = alloc([batch, length, inner]);
  const out = alloc([batch, length, dModel]);
  const { kernels } = backend;
  return {
    x,
    out,
    state,
    forward() {
      kernels.rmsNorm({ out: normed, x, weight: w.norm, eps: EPS });
      kernels.matmul({ out: projected, a: normed, b: w.inProj, transposeB: true });
      kernels.conv({
        out: mixed,
        x: columns(projected, inner, inner + convolved),
        weight: w.conv,
        bias: w.convBias,
        activation: 'silu',
        state: state?.conv,
      });
      kernels.ssd({
        out: y,
        x: columns(mixed, 0, inner),
        dt: columns(projected, inner + convolved, inner + convolved + nHeads),
        aLog: w.aLog,
        B: columns(mixed, inner, inner + dState),
        C: columns(mixed, inner + dState, convolved),
        skip: w.skip,
        dtBias: w.dtBias,
        nHeads,
        nGroups: 1,
        state: state?.ssm,
      });
      const z = columns(projected, 0, inner);
      kernels.gatedRmsNorm({ out: gated, x: y, z, weight: w.gate, eps: EPS, groupSize: inner });
      kernels.matmul({ out, a: gated, b: w.outProj, transposeB: true, residual: x });
    },
    dispose() {
      for (const t of all) backend.free(t);
    },
  };
}
