/**
 * The same block as an ONNX graph, the way an exporter would write it: single step with states in and out, and the
 * chunked form over a whole sequence.
 */
import { type BlockShape, EPS, type Numbers, randomNumbers, shapes } from './block.js';
import { OnnxGraph } from './onnx.js';

type Inputs = Record<string, { shape: readonly number[]; data: Float32Array }>;

function transposed(data: Float32Array, [rows, cols]: readonly number[]): Float32Array {
  const out = new Float32Array(data.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) out[c * rows + r] = data[r * cols + c];
  return out;
}

const silu = (g: OnnxGraph, x: string) => g.op('Mul', [x, g.op('Sigmoid', [x])]);

function rmsNorm(g: OnnxGraph, x: string, weight: string): string {
  const mean = g.op('ReduceMean', [g.op('Mul', [x, x])], { axes: [-1], keepdims: 1 });
  const root = g.op('Sqrt', [g.op('Add', [mean, g.scalar(EPS)])]);
  return g.op('Mul', [g.op('Div', [x, root]), weight]);
}

/** Everything before the convolution: z, the convolution's input and dt = softplus(raw + bias). */
function projectIn(g: OnnxGraph, shape: BlockShape, w: Numbers, x: string) {
  const inner = shape.nHeads * shape.headDim;
  const dims = shapes(shape);
  const normed = rmsNorm(g, x, g.weight(dims.norm, w.norm));
  const inProj = g.weight([...dims.inProj].reverse(), transposed(w.inProj, dims.inProj));
  const projected = g.op('MatMul', [normed, inProj]);
  const parts = g.integers(inner, inner + 2 * shape.dState, shape.nHeads);
  const [z, raw, dtRaw] = g.many('Split', [projected, parts], 3, { axis: -1 });
  const dt = g.op('Softplus', [g.op('Add', [dtRaw, g.weight([shape.nHeads], w.dtBias)])]);
  return { z, raw, dt };
}

/** Everything after the recurrence. */
function projectOut(g: OnnxGraph, shape: BlockShape, w: Numbers, x: string, y: string, z: string): string {
  const dims = shapes(shape);
  const gated = rmsNorm(g, g.op('Mul', [y, silu(g, z)]), g.weight(dims.gate, w.gate));
  const outProj = g.weight([...dims.outProj].reverse(), transposed(w.outProj, dims.outProj));
  return g.op('Add', [g.op('MatMul', [gated, outProj]), x]);
}

const negativeRates = (w: Numbers) => w.aLog.map((a) => -Math.exp(a));

export function stepGraph(shape: BlockShape, w: Numbers): { graph: OnnxGraph; inputs: Inputs } {
  const { dModel, nHeads: H, headDim: P, dState: N } = shape;
  const inner = H * P;
  const convolved = inner + 2 * N;
  const g = new OnnxGraph();
  const x = g.input('x', [1, dModel]);
  const convState = g.input('convState', [3, convolved]);
  const ssmState = g.input('ssmState', [H, P, N]);
  const { z, raw, dt } = projectIn(g, shape, w, x);
  const window = g.op('Concat', [convState, raw], { axis: 0 });
  const taps = g.weight([4, convolved], transposed(w.conv, [convolved, 4]));
  const summed = g.op('ReduceSum', [g.op('Mul', [window, taps]), g.integers(0)], { keepdims: 1 });
  const mixed = silu(g, g.op('Add', [summed, g.weight([convolved], w.convBias)]));
  const [u, B, C] = g.many('Split', [mixed, g.integers(inner, N, N)], 3, { axis: -1 });
  const step = g.op('Reshape', [dt, g.integers(H, 1, 1)]);
  const decay = g.op('Exp', [g.op('Mul', [step, g.weight([H, 1, 1], negativeRates(w))])]);
  const heads = g.op('Reshape', [u, g.integers(H, P, 1)]);
  const added = g.op('MatMul', [g.op('Mul', [heads, step]), g.op('Reshape', [B, g.integers(1, 1, N)])]);
  const next = g.op('Add', [g.op('Mul', [ssmState, decay]), added]);
  const read = g.op('MatMul', [next, g.op('Reshape', [C, g.integers(1, N, 1)])]);
  const y = g.op('Add', [read, g.op('Mul', [heads, g.weight([H, 1, 1], w.skip)])]);
  const out = projectOut(g, shape, w, x, g.op('Reshape', [y, g.integers(1, inner)]), z);
  g.output('out', out, [1, dModel]);
  const kept = g.op('Slice', [window, g.integers(1), g.integers(4), g.integers(0)]);
  g.output('nextConv', kept, [3, convolved]);
  g.output('nextSsm', next, [H, P, N]);
  return {
    graph: g,
    inputs: {
      x: { shape: [1, dModel], data: randomNumbers(dModel, 1, 100) },
      convState: { shape: [3, convolved], data: randomNumbers(3 * convolved, 1, 101) },
      ssmState: { shape: [H, P, N], data: randomNumbers(inner * N, 0.1, 102) },
    },
  };
}

/** Mask of ones on and under the diagonal. */
function lower(g: OnnxGraph, size: number): string {
  const mask = Float32Array.from({ length: size * size }, (_, i) => (i % size <= Math.floor(i / size) ? 1 : 0));
  return g.op('Greater', [g.weight([size, size], mask), g.scalar(0.5)]);
}

/** exp(cs[i] − cs[j]) for j ≤ i, else 0; cs [..., size]. */
function decays(g: OnnxGraph, cs: string, size: number): string {
  const differences = g.op('Sub', [g.op('Unsqueeze', [cs, g.integers(-1)]), g.op('Unsqueeze', [cs, g.integers(-2)])]);
  // Above the diagonal differences are positive and may overflow: they are replaced before the exponential.
  return g.op('Exp', [g.op('Where', [lower(g, size), differences, g.scalar(-1e30)])]);
}

export function forwardGraph(
  shape: BlockShape,
  w: Numbers,
  batch: number,
  length: number,
  chunk: number,
): { graph: OnnxGraph; inputs: Inputs } {
  const { dModel, nHeads: H, headDim: P, dState: N } = shape;
  const inner = H * P;
  const convolved = inner + 2 * N;
  const chunks = length / chunk;
  const g = new OnnxGraph();
  const x = g.input('x', [batch, length, dModel]);
  const { z, raw, dt } = projectIn(g, shape, w, x);
  const convolution = g.op(
    'Conv',
    [
      g.op('Transpose', [raw], { perm: [0, 2, 1] }),
      g.weight([convolved, 1, 4], w.conv),
      g.weight([convolved], w.convBias),
    ],
    { group: convolved, kernel_shape: [4], pads: [3, 0] },
  );
  const mixed = silu(g, g.op('Transpose', [convolution], { perm: [0, 2, 1] }));
  const [u, B, C] = g.many('Split', [mixed, g.integers(inner, N, N)], 3, { axis: -1 });

  /** [batch, length, …] → [batch, H, chunks, chunk, …]. */
  const perHead = (t: string, rest: readonly number[]) =>
    g.op('Transpose', [g.op('Reshape', [t, g.integers(batch, chunks, chunk, H, ...rest)])], {
      perm: [0, 3, 1, 2, ...rest.map((_, i) => 4 + i)],
    });
  const shared = (t: string) => g.op('Reshape', [t, g.integers(batch, 1, chunks, chunk, N)]);
  const heads = perHead(u, [P]);
  const steps = perHead(dt, []);
  const input = g.op('Mul', [heads, g.op('Unsqueeze', [steps, g.integers(-1)])]);
  const [keys, queries] = [shared(B), shared(C)];
  const rates = g.weight([1, H, 1, 1], negativeRates(w));
  const cs = g.op('CumSum', [g.op('Mul', [steps, rates]), g.op('Squeeze', [g.integers(3), g.integers(0)])]);
  const total = g.op('Slice', [cs, g.integers(chunk - 1), g.integers(chunk), g.integers(3)]);

  const scores = g.op('MatMul', [queries, g.op('Transpose', [keys], { perm: [0, 1, 2, 4, 3] })]);
  const within = g.op('MatMul', [g.op('Mul', [scores, decays(g, cs, chunk)]), input]);

  const toEnd = g.op('Unsqueeze', [g.op('Exp', [g.op('Sub', [total, cs])]), g.integers(-1)]);
  const weighted = g.op('Transpose', [g.op('Mul', [input, toEnd])], { perm: [0, 1, 2, 4, 3] });
  const states = g.op('Reshape', [g.op('MatMul', [weighted, keys]), g.integers(batch, H, chunks, P * N)]);
  const totals = g.op('Squeeze', [total, g.integers(3)]);
  const summed = g.op('CumSum', [totals, g.op('Squeeze', [g.integers(2), g.integers(0)])]);
  // State before chunk c = Σ over earlier chunks d of exp(sum of totals of d+1 … c−1)·state of d: a shifted decay matrix.
  const zero = g.weight([batch, H, 1], new Float32Array(batch * H));
  const padded = g.op('Concat', [zero, summed], { axis: 2 });
  const all = decays(g, padded, chunks + 1);
  const rows = g.op('Slice', [all, g.integers(0), g.integers(chunks), g.integers(2)]);
  const shifted = g.op('Slice', [rows, g.integers(1), g.integers(chunks + 1), g.integers(3)]);
  const before = g.op('Reshape', [g.op('MatMul', [shifted, states]), g.integers(batch, H, chunks, P, N)]);
  const read = g.op('MatMul', [queries, g.op('Transpose', [before], { perm: [0, 1, 2, 4, 3] })]);
  const across = g.op('Mul', [read, g.op('Unsqueeze', [g.op('Exp', [cs]), g.integers(-1)])]);

  const skipped = g.op('Mul', [heads, g.weight([1, H, 1, 1, 1], w.skip)]);
  const y = g.op('Add', [g.op('Add', [within, across]), skipped]);
  const flat = g.op('Reshape', [g.op('Transpose', [y], { perm: [0, 2, 3, 1, 4] }), g.integers(batch, length, inner)]);
  g.output('out', projectOut(g, shape, w, x, flat, z), [batch, length, dModel]);
  return {
    graph: g,
    inputs: { x: { shape: [batch, length, dModel], data: randomNumbers(batch * length * dModel, 1, 100) } },
  };
}
