/**
 * The right-hand side of a matrix product, repacked for the kernel (kernels/assembly/gemm.ts). A weight is packed once
 * and the copy kept with it: it is packed anew when the weight was written, and goes when the weight is freed. Only what
 * a living plan computes is packed inside the plan, every time.
 */
import { Op } from '../../kernels/assembly/opcodes.js';
import { columnsOf, rowsOf, type Tensor } from '../../tensor.js';
import { blockOf, type Pack } from './block.js';
import type { Executor } from './executor.js';
import { classOf } from './pool.js';

/** Columns of a panel, NR of the kernel. */
export const PANEL = 8;

/** Address of the panels of b. `release` must be called when the product is emitted. */
export function packed(executor: Executor, b: Tensor, transposed: boolean): { at: number; release(): void } {
  const block = blockOf(b, executor.pool, 'b');
  if (block.planWriters > 0) {
    const panels = executor.alloc([panelBytes(b, transposed) / 4], 'f32');
    writePack(executor, executor.output(panels, 'b'), b, transposed);
    executor.emit();
    return { at: executor.input(panels, 'b'), release: () => executor.free(panels) };
  }
  const key = `${b.offset} ${rowsOf(b)} ${columnsOf(b)} ${b.stride} ${transposed}`;
  let pack = block.packs?.find((candidate) => candidate.key === key);
  if (!pack) {
    const size = classOf(panelBytes(b, transposed));
    pack = { at: executor.takeBytes(size), size, key, stale: true, source: b, transposed };
    block.packs ??= [];
    block.packs.push(pack);
  }
  if (executor.recording) executor.recording.packs.add(pack);
  else if (pack.stale) fillPack(executor, pack);
  return { at: pack.at, release: () => undefined };
}

/** Pack now, also while recording. */
export function fillPack(executor: Executor, pack: Pack): void {
  writePack(executor, pack.at, pack.source, pack.transposed);
  executor.runNow(executor.writer.words);
  pack.stale = false;
}

function panelBytes(b: Tensor, transposed: boolean): number {
  const [K, N] = transposed ? [columnsOf(b), rowsOf(b)] : [rowsOf(b), columnsOf(b)];
  return Math.ceil(N / PANEL) * PANEL * K * 4;
}

function writePack(executor: Executor, at: number, b: Tensor, transposed: boolean): void {
  const [K, N] = transposed ? [columnsOf(b), rowsOf(b)] : [rowsOf(b), columnsOf(b)];
  const source = executor.input(b, 'b');
  executor.writer
    .begin(Op.PackWeights, Math.ceil(N / PANEL), K * 4)
    .pointer(at)
    .pointer(source)
    .pointer(b.stride * 4)
    .int(K)
    .int(N)
    .int(transposed ? 1 : 0);
}
