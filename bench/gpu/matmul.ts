/**
 * Tuning of the WebGPU matrix products: every variant of the kernels at the shapes that matter, checked against sums in
 * float64 and timed by the GPU's own clock.
 *
 *   node dist/bench/gpu/matmul.js [--out FILE.json] [--only f16,f32,gemv] [--shapes 0,2] [--repeats 30] [--smoke]
 *
 * --smoke runs tiny shapes on any adapter, with emulated matrix units where there are none: a test of this script.
 * Needs nothing but node and the npm package webgpu.
 */
import { writeFileSync } from 'node:fs';
import { createWebgpuBackend, type WebgpuBackend } from '../../src/engine/backends/webgpu/index.js';
import { type GemvShape, launchGemv, launchTiled } from '../../src/engine/backends/webgpu/matmul.js';
import { type F16Tile, launchF16 } from '../../src/engine/backends/webgpu/matmul-f16.js';
import type { MatmulArgs } from '../../src/engine/kernels.js';
import { Random } from '../../src/engine/random.js';
import type { DType } from '../../src/engine/tensor.js';

interface Shape {
  /** What the product is in a Mamba-2 block of d 512 at batch 8 × 2048 tokens, or a figure others publish. */
  use: string;
  M: number;
  N: number;
  K: number;
  /** NT: b stored [N,K]; NN: b stored [K,N]; TN: a stored [K,M]. */
  layout: 'NT' | 'NN' | 'TN';
}

interface Result {
  family: string;
  variant: string;
  use: string;
  shape: string;
  dtype: DType;
  ms?: number;
  best?: number;
  tflops?: number;
  gbps?: number;
  error?: number;
  failure?: string;
}

const SHAPES: Shape[] = [
  { use: 'in_proj of the issue', M: 16384, N: 2048, K: 512, layout: 'NT' },
  { use: 'in_proj', M: 16384, N: 2320, K: 512, layout: 'NT' },
  { use: 'out_proj', M: 16384, N: 512, K: 1024, layout: 'NT' },
  { use: 'gradient of x', M: 16384, N: 512, K: 2320, layout: 'NN' },
  { use: 'gradient of the weight', M: 2320, N: 512, K: 16384, layout: 'TN' },
  { use: 'square', M: 4096, N: 4096, K: 4096, layout: 'NT' },
];
const GEMV_SHAPES: Shape[] = [1, 8, 64].flatMap((M) => [
  { use: 'decode d 512', M, N: 2320, K: 512, layout: 'NT' as const },
  { use: 'decode d 768', M, N: 3352, K: 768, layout: 'NT' as const },
  { use: 'decode head', M, N: 50288, K: 768, layout: 'NT' as const },
]);

const f16 = (
  tile: F16Tile['tile'],
  subgroups: F16Tile['subgroups'],
  stages: 1 | 2,
  { pad = 1, direct = true, halves = false } = {},
): F16Tile => ({ tile, subgroups, stages, pad, direct, halves });

/** A first row to beat, then one change at a time: subgroup shape, stages, depth, padding, output path, tile. */
const F16_VARIANTS: F16Tile[] = [
  f16([128, 128, 32], [2, 4], 2),
  f16([128, 128, 32], [4, 2], 2),
  f16([128, 128, 32], [2, 2], 2),
  f16([128, 128, 32], [2, 4], 1),
  f16([128, 128, 32], [2, 2], 1),
  f16([128, 128, 64], [2, 4], 1),
  f16([128, 128, 64], [2, 2], 1),
  f16([128, 128, 16], [2, 4], 2),
  f16([128, 128, 32], [2, 4], 2, { pad: 0 }),
  f16([128, 128, 32], [2, 4], 2, { direct: false }),
  f16([128, 128, 32], [2, 4], 1, { halves: true }),
  f16([128, 256, 32], [2, 4], 1),
  f16([256, 128, 32], [4, 2], 1),
  f16([256, 128, 32], [4, 4], 1),
  f16([256, 128, 16], [4, 2], 2),
  f16([128, 64, 32], [2, 2], 2),
  f16([128, 64, 64], [4, 1], 1),
  f16([64, 128, 32], [1, 4], 2),
  f16([64, 64, 32], [2, 2], 2),
  f16([64, 64, 64], [2, 2], 2),
];
const F32_VARIANTS: [64 | 128, number][] = [
  [128, 8],
  [128, 16],
  [128, 32],
  [64, 16],
  [64, 32],
];

function gemvVariants(M: number): GemvShape[] {
  const rows = M >= 8 ? [4, 8] : [M];
  return rows.flatMap((r) => [1, 2, 4].flatMap((cols) => [16, 32].map((lanes) => ({ rows: r, cols, lanes }))));
}

const name = ({ tile, subgroups, stages, pad, direct, halves }: F16Tile) =>
  `${tile.join('×')} by ${subgroups.join('×')}, ${stages} stage${stages > 1 ? 's' : ''}, pad ${pad}${direct ? '' : ', through memory'}${halves ? ', halves' : ''}`;

/** Numbers that f16 holds exactly, so that every kernel computes the same products. */
function halves(count: number, seed: number): Float32Array {
  const random = new Random(seed);
  const block = Float32Array.from(
    { length: Math.min(count, 65_521) },
    () => Math.round((random.uniform() - 0.5) * 2048) / 1024,
  );
  const data = new Float32Array(count);
  for (let i = 0; i < count; i += block.length) data.set(block.subarray(0, Math.min(block.length, count - i)), i);
  return data;
}

interface Operands {
  key: string;
  args: MatmulArgs;
  a: Float32Array;
  b: Float32Array;
}

class Bench {
  readonly results: Result[] = [];
  /** Another one after a loss. */
  backend!: WebgpuBackend;
  private kept: Operands | undefined;

  constructor(
    private readonly repeats: number,
    private readonly smoke: boolean,
  ) {}

  get description(): string {
    return this.backend.description;
  }

  get matrixUnits(): boolean {
    return this.backend.gpu.subgroupMatrix;
  }

  async open(): Promise<void> {
    const backend = await createWebgpuBackend({ adapter: this.smoke ? 'any' : 'hardware', timeoutMs: 60_000 });
    if (!backend) throw new Error('no WebGPU adapter');
    this.backend = backend;
  }

  /** Operands of a shape, made once for all its variants; the host copies are for the check. */
  private operands(shape: Shape, dtype: DType): Operands {
    const { M, N, K, layout } = shape;
    const key = `${M} ${N} ${K} ${layout} ${dtype}`;
    if (this.kept?.key === key) return this.kept;
    this.release();
    const [a, b] = [halves(M * K, 1), halves(N * K, 2)];
    const put = (extents: number[], data: Float32Array) => {
      const t = this.backend.alloc(extents, dtype);
      this.backend.write(t, data);
      return t;
    };
    const args: MatmulArgs = {
      out: this.backend.alloc([M, N]),
      a: put(layout === 'TN' ? [K, M] : [M, K], a),
      b: put(layout === 'NT' ? [N, K] : [K, N], b),
      transposeA: layout === 'TN',
      transposeB: layout === 'NT',
    };
    this.kept = { key, args, a, b };
    return this.kept;
  }

  private release(): void {
    if (this.kept) for (const t of [this.kept.args.out, this.kept.args.a, this.kept.args.b]) this.backend.free(t);
    this.kept = undefined;
  }

  /** Largest error at 400 places spread over the result, corners included, relative to the root mean square there. */
  async check({ M, N, K, layout }: Shape, args: MatmulArgs, a: Float32Array, b: Float32Array): Promise<number> {
    const out = await this.backend.read(args.out);
    const random = new Random(3);
    let [worst, squares] = [0, 0];
    const places = 400;
    for (let i = 0; i < places; i++) {
      const m = i < 4 ? (i & 1) * (M - 1) : Math.floor(random.uniform() * M);
      const n = i < 4 ? (i >> 1) * (N - 1) : Math.floor(random.uniform() * N);
      let sum = 0;
      for (let k = 0; k < K; k++) {
        sum += a[layout === 'TN' ? k * M + m : m * K + k] * b[layout === 'NT' ? n * K + k : k * N + n];
      }
      const difference = Math.abs(sum - out[m * N + n]);
      worst = Number.isFinite(difference) ? Math.max(worst, difference) : Number.POSITIVE_INFINITY;
      squares += sum * sum;
    }
    return worst / Math.sqrt(squares / places);
  }

  /** Checks and times one variant; a failure becomes a row, and a lost device is replaced. */
  async measure(row: Result, shape: Shape, dtype: DType, launch: (args: MatmulArgs) => void): Promise<void> {
    const { M, N, K } = shape;
    try {
      const { args, a, b } = this.operands(shape, dtype);
      // Shows what a variant leaves out.
      this.backend.kernels.fill(args.out, 1e30);
      const plan = this.backend.record(() => {
        for (let i = 0; i < this.repeats; i++) launch(args);
      });
      try {
        plan.run();
        row.error = await this.check(shape, args, a, b);
        const launches = plan.commands / this.repeats;
        const times = (await plan.timings()).map(({ ms }) => ms);
        const calls = Array.from({ length: this.repeats }, (_, i) =>
          times.slice(i * launches, (i + 1) * launches).reduce((sum, ms) => sum + ms, 0),
        ).sort((x, y) => x - y);
        row.ms = calls[Math.floor(calls.length / 2)];
        row.best = calls[0];
        row.tflops = (2 * M * N * K) / row.ms / 1e9;
        row.gbps = ((dtype === 'f16' ? 2 : 4) * (M * K + N * K) + 4 * M * N) / row.ms / 1e6;
      } finally {
        plan.dispose();
      }
    } catch (error) {
      row.failure = (error as Error).message.split('\n')[0].slice(0, 160);
    }
    if (this.backend.gpu.lost) {
      this.kept = undefined;
      await this.backend.dispose();
      await this.open();
    }
    this.results.push(row);
    print(row);
  }

  async close(): Promise<void> {
    await this.backend.dispose();
  }
}

function print({ variant, dtype, ms, best, tflops, gbps, error, failure }: Result): void {
  const number = (value: number | undefined, digits: number) => (value === undefined ? '-' : value.toFixed(digits));
  const wrong = error !== undefined && !(error < 1e-4) ? '  WRONG' : '';
  console.log(
    `  ${dtype}  ${variant.padEnd(48)} ${number(ms, 4).padStart(9)} ms  best ${number(best, 4).padStart(9)}  ` +
      `${number(tflops, 1).padStart(6)} TFLOP/s  ${number(gbps, 0).padStart(5)} GB/s  error ${error?.toExponential(1) ?? '-'}${wrong}` +
      `${failure ? `  FAILED: ${failure}` : ''}`,
  );
}

async function main(argv: readonly string[]): Promise<void> {
  const option = (flag: string) => (argv.includes(flag) ? argv[argv.indexOf(flag) + 1] : undefined);
  const smoke = argv.includes('--smoke');
  const only = option('--only')?.split(',') ?? ['f16', 'f32', 'gemv'];
  const chosen = option('--shapes')?.split(',').map(Number);
  const bench = new Bench(Number(option('--repeats') ?? (smoke ? 1 : 30)), smoke);
  await bench.open();
  console.log(`${bench.description}\nDawn toggles: ${process.env.ADDER_DAWN_FEATURES ?? 'default'}`);
  const shrink = (shape: Shape): Shape =>
    smoke ? { ...shape, M: Math.min(shape.M, 130), N: Math.min(shape.N, 136), K: Math.min(shape.K, 72) } : shape;
  const shapes = SHAPES.filter((_, i) => chosen?.includes(i) ?? true).map(shrink);
  const heading = ({ use, M, N, K, layout }: Shape) => console.log(`${M}×${N}×${K} ${layout}  (${use})`);
  const label = ({ M, N, K, layout }: Shape) => `${M}×${N}×${K} ${layout}`;

  // After every shape, so that a run that is cut short leaves what it found.
  const save = () => {
    const out = option('--out');
    if (!out) return;
    const toggles = process.env.ADDER_DAWN_FEATURES ?? 'default';
    writeFileSync(out, `${JSON.stringify({ device: bench.description, toggles, results: bench.results }, null, 1)}\n`);
  };
  if (only.includes('f16')) {
    // The first shape tries everything; the others what was among the best there, and the small tiles.
    const tried: Record<string, F16Tile[]> = { f16: F16_VARIANTS, f32: F16_VARIANTS };
    for (const shape of smoke ? shapes.slice(0, 1) : shapes) {
      heading(shape);
      for (const dtype of ['f16', 'f32'] as const) {
        const times: [F16Tile, number][] = [];
        for (const variant of smoke ? [f16([64, 64, 32], [2, 2], 2)] : tried[dtype]) {
          const row: Result = { family: 'f16', variant: name(variant), use: shape.use, shape: label(shape), dtype };
          await bench.measure(row, shape, dtype, (args) =>
            launchF16(bench.backend, args, shape, variant, !bench.matrixUnits),
          );
          if ((row.error ?? 1) < 1e-4) times.push([variant, row.ms ?? Number.POSITIVE_INFINITY]);
        }
        if (tried[dtype] === F16_VARIANTS) {
          const best = times.sort((x, y) => x[1] - y[1]).slice(0, 6);
          const small = F16_VARIANTS.slice(-3).filter((variant) => best.every(([each]) => each !== variant));
          tried[dtype] = [...best.map(([variant]) => variant), ...small];
        }
      }
      save();
    }
  }
  if (only.includes('f32')) {
    for (const shape of smoke ? shapes.slice(0, 1) : shapes) {
      heading(shape);
      for (const [tile, depth] of smoke ? F32_VARIANTS.slice(3, 4) : F32_VARIANTS) {
        const row = { family: 'f32', variant: `${tile}×${tile}×${depth}`, use: shape.use, shape: label(shape) };
        await bench.measure({ ...row, dtype: 'f32' }, shape, 'f32', (args) =>
          launchTiled(bench.backend, args, shape, tile, depth),
        );
      }
      save();
    }
  }
  if (only.includes('gemv')) {
    for (const shape of GEMV_SHAPES.map(shrink).slice(0, smoke ? 2 : undefined)) {
      heading(shape);
      for (const variant of smoke ? [{ rows: 1, cols: 2, lanes: 8 }] : gemvVariants(shape.M)) {
        const { rows, cols, lanes } = variant;
        const row = { family: 'gemv', variant: `${rows} rows × ${cols} columns, ${lanes} lanes`, use: shape.use };
        await bench.measure({ ...row, shape: label(shape), dtype: 'f32' }, shape, 'f32', (args) =>
          launchGemv(bench.backend, args, shape, variant),
        );
      }
      save();
    }
  }

  console.log('\nfastest of each shape, right ones only');
  const best = new Map<string, Result>();
  for (const row of bench.results) {
    const key = `${row.family} ${row.dtype} ${row.shape}`;
    const champion = best.get(key);
    if (row.ms !== undefined && (row.error ?? 1) < 1e-4 && (!champion || row.ms < (champion.ms ?? 0)))
      best.set(key, row);
  }
  for (const [key, row] of best) {
    console.log(
      `${key.padEnd(36)} ${row.variant.padEnd(48)} ${row.ms?.toFixed(4)} ms  ${row.tflops?.toFixed(1)} TFLOP/s`,
    );
  }
  const failed = bench.results.filter(({ failure, error }) => failure !== undefined || !((error ?? 1) < 1e-4));
  if (failed.length > 0) console.log(`${failed.length} of ${bench.results.length} variants failed or were wrong`);
  await bench.close();
  process.exit(failed.length > 0 && smoke ? 1 : 0);
}

await main(process.argv.slice(2));
