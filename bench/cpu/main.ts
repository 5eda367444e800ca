/**
 * The CPU engine beside onnxruntime-node, in one run and with samples taken in turn, so that whatever else the machine
 * does meets both. Weights and inputs are random: an untouched memory reads the zero page and looks too fast.
 */
import type { Backend } from '../../src/engine/backend.js';
import { createWasmBackend } from '../../src/engine/backends/wasm/index.js';
import { type Row, summarise } from '../measure.js';
import { type BlockShape, blockNumbers, D512, makeBlock, projectionFlops, randomNumbers } from './block.js';
import { forwardGraph, stepGraph } from './block-onnx.js';
import { OnnxGraph } from './onnx.js';
import { loadPeer, type PeerModel, peerModel } from './peer.js';

export interface CpuBenchOptions {
  /** Threads of the parts that use several; the others use one. */
  threads?: number;
  /** gemv, gemm, step, block, length, position; all by default. */
  only?: readonly string[];
}
export interface CpuBench {
  device: string;
  rows: Row[];
}

const PEER = 'onnxruntime-node 1.30';

interface Contest {
  name: string;
  ours: () => void;
  theirs?: PeerModel;
  /** Our output and theirs must agree: a benchmark of different computations compares nothing. */
  agree?: () => Promise<[Float32Array, Float32Array]>;
  /** Calls a sample. */
  inner: number;
  samples: number;
  least?: number;
  aim?: number;
  /** Work a call; given, rates are reported too. */
  flops?: number;
  /** Bound of the rate in GFLOP/s. */
  leastRate?: number;
  /** Whether to be as fast as the peer is demanded or hoped for. */
  asFast?: 'least' | 'aim';
}

async function contest(c: Contest): Promise<Row[]> {
  if (c.agree) {
    const [ours, theirs] = await c.agree();
    let error = 0;
    let scale = 0;
    for (let i = 0; i < theirs.length; i++) {
      error = Math.max(error, Math.abs(ours[i] - theirs[i]));
      scale = Math.max(scale, Math.abs(theirs[i]));
    }
    if (!(error <= 1e-3 * scale)) throw new Error(`${c.name}: the results differ by ${error / scale}`);
  }
  const [mine, peer, ratios]: number[][] = [[], [], []];
  // WebAssembly starts in a quick and slow compilation; half a second of calls brings the optimised one.
  const warm = performance.now() + 500;
  while (performance.now() < warm) c.ours();
  for (let s = 0; s <= c.samples; s++) {
    let start = performance.now();
    for (let i = 0; i < c.inner; i++) c.ours();
    const ours = (performance.now() - start) / c.inner;
    let theirs = Number.NaN;
    if (c.theirs) {
      start = performance.now();
      for (let i = 0; i < c.inner; i++) await c.theirs.run();
      theirs = (performance.now() - start) / c.inner;
    }
    if (s === 0) continue;
    mine.push(ours);
    peer.push(theirs);
    ratios.push(ours / theirs);
  }
  await c.theirs?.release();
  const rows: Row[] = [{ name: c.name, unit: 'ms', ...summarise(mine), least: c.least, aim: c.aim }];
  const rate = (times: number[], name: string, least?: number): Row => ({
    name,
    unit: 'GFLOP/s',
    ...summarise(times.map((t) => (c.flops as number) / t / 1e6)),
    least,
    higher: true,
  });
  if (c.flops) rows.push(rate(mine, `${c.name}, rate`, c.leastRate));
  if (!c.theirs) return rows;
  rows.push({ name: `${c.name}, ${PEER}`, unit: 'ms', ...summarise(peer) });
  if (c.flops) rows.push(rate(peer, `${c.name}, ${PEER}, rate`));
  rows.push({
    name: `${c.name}, time against ${PEER}`,
    unit: '×',
    ...summarise(ratios),
    ...(c.asFast && { [c.asFast]: 1 }),
  });
  return rows;
}

interface Bench {
  one: Backend;
  several: Backend;
  threads: number;
  ort: ReturnType<typeof loadPeer>;
}

async function matmulRow(
  { one, ort }: Bench,
  name: string,
  [M, N, K]: readonly [number, number, number],
  options: Pick<Contest, 'inner' | 'samples' | 'aim' | 'asFast'>,
): Promise<Row[]> {
  const [xData, wData] = [randomNumbers(M * K, 1, 1), randomNumbers(N * K, 0.05, 2)];
  const [a, b, out] = [one.alloc([M, K]), one.alloc([N, K]), one.alloc([M, N])];
  one.write(a, xData);
  one.write(b, wData);
  const plan = one.record(() => one.kernels.matmul({ out, a, b, transposeB: true }));
  let theirs: PeerModel | undefined;
  if (ort) {
    const graph = new OnnxGraph();
    const x = graph.input('x', [M, K]);
    const columnMajor = new Float32Array(K * N);
    for (let n = 0; n < N; n++) for (let k = 0; k < K; k++) columnMajor[k * N + n] = wData[n * K + k];
    graph.output('out', graph.op('MatMul', [x, graph.weight([K, N], columnMajor)]), [M, N]);
    theirs = await peerModel(ort, graph, { x: { shape: [M, K], data: xData } }, 1);
  }
  const rows = await contest({
    name,
    ours: () => plan.run(),
    theirs,
    agree:
      theirs &&
      (async () => {
        plan.run();
        return [(await one.read(out)) as Float32Array, (await theirs.run()).out.data];
      }),
    flops: M > 1 ? 2 * M * N * K : undefined,
    ...options,
  });
  plan.dispose();
  for (const t of [a, b, out]) one.free(t);
  return rows;
}

async function blockRow(
  { ort }: Bench,
  backend: Backend,
  threads: number,
  name: string,
  size: { batch: number; length: number },
  options: Omit<Contest, 'name' | 'ours' | 'theirs' | 'agree'>,
): Promise<Row[]> {
  const numbers = blockNumbers(D512);
  const isStep = size.length === 1;
  const block = makeBlock(backend, D512, numbers, size.batch, size.length, isStep);
  const plan = backend.record(() => block.forward());
  const theirs =
    ort &&
    (await (() => {
      const { graph, inputs } = isStep
        ? stepGraph(D512, numbers)
        : forwardGraph(D512, numbers, size.batch, size.length, 64);
      return peerModel(ort, graph, inputs, threads);
    })());
  const rows = await contest({
    name,
    ours: () => plan.run(),
    theirs,
    agree:
      theirs &&
      (async () => {
        plan.run();
        return [(await backend.read(block.out)) as Float32Array, (await theirs.run()).out.data];
      }),
    ...options,
  });
  plan.dispose();
  block.dispose();
  return rows;
}

/** Cost of a token against the length of the sequence: flat, whatever the length. */
async function lengthRows(backend: Backend): Promise<Row[]> {
  const numbers = blockNumbers(D512);
  const perToken: number[] = [];
  const rows: Row[] = [];
  for (let length = 1024; length <= 65536; length *= 4) {
    const block = makeBlock(backend, D512, numbers, 1, length, false);
    const plan = backend.record(() => block.forward());
    const inner = Math.max(1, 16384 / length);
    // Long enough for the optimising compiler to have taken over every kernel.
    const warm = performance.now() + (perToken.length === 0 ? 2000 : 0);
    while (performance.now() < warm) plan.run();
    const times: number[] = [];
    for (let s = 0; s <= 3; s++) {
      const start = performance.now();
      for (let i = 0; i < inner; i++) plan.run();
      if (s > 0) times.push(((performance.now() - start) / inner / length) * 1e6);
    }
    rows.push({ name: `scan of ${length} tokens, Mamba-2 block d 512, a token`, unit: 'ns', ...summarise(times) });
    perToken.push(Math.min(...times));
    plan.dispose();
    block.dispose();
  }
  // The fastest sample of each length: what another process takes is no cost of the length.
  const growth = Math.max(...perToken) / Math.min(...perToken) - 1;
  rows.push({ name: 'difference of a token’s cost between these lengths', unit: '%', value: 100 * growth, least: 10 });
  return rows;
}

/** Cost of a step after few and after very many items, and the memory in between. */
async function positionRows(backend: Backend): Promise<Row[]> {
  const shape: BlockShape = { dModel: 128, nHeads: 4, headDim: 64, dState: 64 };
  const block = makeBlock(backend, shape, blockNumbers(shape), 1, 1, true);
  const plan = backend.record(() => block.forward());
  const measure = () =>
    summarise(
      Array.from({ length: 40 }, () => {
        const start = performance.now();
        for (let i = 0; i < 500; i++) plan.run();
        return ((performance.now() - start) / 500) * 1e3;
      }),
    );
  measure();
  const before = backend.memory.bytes;
  const early = measure();
  for (let i = 0; i < 1_000_000 - 40_000; i++) plan.run();
  const late = measure();
  const finite = Array.from(await backend.read(block.out)).every(Number.isFinite);
  const gained = backend.memory.bytes - before;
  plan.dispose();
  block.dispose();
  return [
    { name: 'step of a Mamba-2 block d 128 in the first 40,000 items', unit: 'µs', ...early },
    {
      name: 'the same after 1,000,000 items',
      unit: 'µs',
      ...late,
      note: finite ? 'output finite' : 'output NOT finite',
    },
    { name: 'memory gained between them', unit: 'bytes', value: gained, least: 0 },
  ];
}

const PARTS: Record<string, (b: Bench) => Promise<Row[]>> = {
  gemv: async (b) => [
    ...(await matmulRow(b, 'GEMV 2320×512', [1, 2320, 512], { inner: 50, samples: 41, aim: 0.16, asFast: 'least' })),
    ...(await matmulRow(b, 'GEMV 512×1024', [1, 512, 1024], { inner: 100, samples: 41 })),
    ...(await matmulRow(b, 'GEMV 3352×768', [1, 3352, 768], { inner: 25, samples: 41 })),
  ],
  gemm: async (b) => [
    ...(await matmulRow(b, 'GEMM 512³', [512, 512, 512], { inner: 4, samples: 21 })),
    ...(await matmulRow(b, 'GEMM 2048×2320×512', [2048, 2320, 512], { inner: 1, samples: 9 })),
    ...(await matmulRow(b, 'GEMM 2048×512×1024', [2048, 512, 1024], { inner: 1, samples: 9 })),
  ],
  step: (b) =>
    blockRow(
      b,
      b.one,
      1,
      'Mamba-2 block d 512, one step',
      { batch: 1, length: 1 },
      { inner: 50, samples: 41, least: 0.3, aim: 0.2, asFast: 'least' },
    ),
  block: (b) =>
    blockRow(
      b,
      b.several,
      b.threads,
      `Mamba-2 block d 512, 8 × 2048, forward, ${b.threads} threads`,
      { batch: 8, length: 2048 },
      { inner: 1, samples: 7, flops: projectionFlops(D512, 8 * 2048), leastRate: 60, asFast: 'aim' },
    ),
  length: (b) => lengthRows(b.one),
  position: (b) => positionRows(b.one),
};

export async function runCpuBench(options: CpuBenchOptions = {}): Promise<CpuBench> {
  const threads = options.threads ?? 2;
  const ort = loadPeer();
  if (!ort) console.error('bench: no onnxruntime-node (npm ci --ignore-scripts --prefix bench/cpu), measuring alone');
  const bench: Bench = {
    one: await createWasmBackend({ threads: 1 }),
    several: await createWasmBackend({ threads }),
    threads,
    ort,
  };
  const rows: Row[] = [];
  for (const [name, part] of Object.entries(PARTS)) {
    if (options.only && !options.only.includes(name)) continue;
    console.error(`bench cpu: ${name} …`);
    rows.push(...(await part(bench)));
  }
  const device = `${bench.one.description} (“threads” rows: ${threads}), beside ${ort ? PEER : 'nothing'}`;
  await bench.one.dispose();
  await bench.several.dispose();
  return { device, rows };
}
