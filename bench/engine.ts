/** The engine's benchmarks: kernels and whole models on the GPU, and on the CPU beside onnxruntime-node. */
import type { Backend } from '../src/engine/backend.js';
import { createWebgpuBackend } from '../src/engine/backends/webgpu/index.js';
import { AdderError } from '../src/platform/errors.js';
import { runCpuBench } from './cpu/main.js';
import { matmulRows, selectiveScanRows, ssdRows } from './gpu/kernels.js';
import { blockRows, decodeRows, lengthRows, positionRows, recomputeRows } from './gpu/model.js';
import type { SuiteOptions } from './main.js';
import { publish, type Row, report } from './measure.js';

type Part = (backend: Backend) => Promise<Row[]>;

const powers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => 2 ** (from + i));

const GPU_PARTS: Record<string, Part> = {
  matmul: (backend) => matmulRows(backend, true),
  scan: (backend) => selectiveScanRows(backend),
  ssd: (backend) => ssdRows(backend, ['f32', 'f16']),
  block: (backend) => blockRows(backend, ['f16', 'f32']),
  decode: (backend) => decodeRows(backend, [1, 64]),
  length: (backend) => lengthRows(backend, powers(10, 18), 'f16'),
  position: (backend) => positionRows(backend, 1000, 1_000_000),
  recompute: (backend) => recomputeRows(backend, 12, 8, 1024, 'f16'),
};

/** Measure the chosen parts one after another, saying on stderr which one is under way. */
async function measure(
  name: string,
  backend: Backend,
  parts: Record<string, Part>,
  options: SuiteOptions,
  out: string | undefined,
): Promise<void> {
  const rows: Row[] = [];
  for (const [part, run] of Object.entries(parts)) {
    if (options.only && !options.only.includes(part)) continue;
    console.error(`bench ${name}: ${part} …`);
    rows.push(...(await run(backend)));
  }
  publish(report(name, backend.description, rows), out);
}

export async function run(options: SuiteOptions): Promise<void> {
  const { backend, out } = options;
  if (backend !== undefined && backend !== 'webgpu' && backend !== 'wasm') {
    throw new AdderError({
      code: 'UNKNOWN_BACKEND',
      message: `unknown backend ${JSON.stringify(backend)}`,
      fix: 'name webgpu or wasm',
    });
  }
  const suffixed = (suffix: string) => out && (backend ? out : `${out.replace(/\.json$/, '')}-${suffix}`);
  if (backend !== 'wasm') {
    const gpu = await createWebgpuBackend({ adapter: 'hardware' });
    if (gpu) {
      await measure('engine on the GPU', gpu, GPU_PARTS, options, suffixed('gpu'));
      await gpu.dispose();
    } else if (backend === 'webgpu') {
      throw new AdderError({
        code: 'NO_ADAPTER',
        message: 'no GPU found for WebGPU',
        fix: 'check the driver, or measure --backend wasm',
      });
    } else console.error('bench engine: no GPU found, measuring the CPU alone');
  }
  if (backend !== 'webgpu') {
    const { device, rows } = await runCpuBench({ only: options.only });
    publish(report('engine on the CPU', device, rows), suffixed('cpu'));
  }
}
