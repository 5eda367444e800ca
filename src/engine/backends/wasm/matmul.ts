/** Matrix products on packed panels of b: chooses between streaming them (few rows) and tiles, and lays out the work. */
import { Op } from '../../kernels/assembly/opcodes.js';
import type { MatmulArgs } from '../../kernels.js';
import { columnsOf, rowsOf } from '../../tensor.js';
import { expectMatrix, expectOutput, expectVector, fail } from './check.js';
import type { Executor } from './executor.js';
import { PANEL, packed } from './packs.js';

/** Rows of a up to which the panels of b are streamed: a tile of the product of panels would be mostly padding. */
const STREAMED_ROWS = 3;
/** Panels a unit of the streamed product reads side by side. */
const STREAMED_PANELS = 4;
/** Rows of a panel of a, MR of the kernel. */
const TILE_ROWS = 5;
/** Bytes of packed rows of a that a unit works on: they are read once per panel of b and should stay in the second-level cache. */
const BLOCK_BYTES = 256 * 1024;

const FLAG_SILU = 1;
const FLAG_ACCUMULATE = 2;

export function matmul(executor: Executor, args: MatmulArgs): void {
  const { out, a, b, transposeA = false, transposeB = false, bias, residual } = args;
  const M = transposeA ? columnsOf(a) : rowsOf(a);
  const K = transposeA ? rowsOf(a) : columnsOf(a);
  const N = transposeB ? rowsOf(b) : columnsOf(b);
  if (transposeA) expectMatrix('matmul', 'a', a, K, M);
  else expectMatrix('matmul', 'a', a, M, K);
  if (transposeB) expectMatrix('matmul', 'b', b, N, K);
  else expectMatrix('matmul', 'b', b, K, N);
  expectOutput('matmul', 'out', out, M, N);
  if (bias) expectVector('matmul', 'bias', bias, N);
  if (residual) expectMatrix('matmul', 'residual', residual, M, N);
  if (out.storage === a.storage || out.storage === b.storage) {
    if (out.offset === a.offset || out.offset === b.offset) fail('matmul', 'out', 'out is also an operand');
  }
  if (M === 0 || N === 0) return;
  const flags = (args.activation === 'silu' ? FLAG_SILU : 0) | (args.accumulate ? FLAG_ACCUMULATE : 0);
  const [biasAt, residualAt] = [executor.optional(bias, 'bias'), executor.optional(residual, 'residual')];
  const residualStride = residual ? residual.stride * 4 : 0;

  const panels = packed(executor, b, transposeB);
  const allPanels = Math.ceil(N / PANEL);
  if (M <= STREAMED_ROWS) {
    executor.writer
      .begin(Op.Gemv, Math.ceil(allPanels / STREAMED_PANELS), M * K * STREAMED_PANELS * 2)
      .pointer(executor.output(out, 'out'))
      .pointer(out.stride * 4)
      .pointer(executor.input(a, 'a'))
      .pointer(a.stride * 4)
      .int(transposeA ? 1 : 0)
      .pointer(panels.at)
      .int(M)
      .int(N)
      .int(K)
      .pointer(biasAt)
      .pointer(residualAt)
      .pointer(residualStride)
      .int(flags);
    executor.emit(128 + (transposeA ? M * K * 4 : 0));
    panels.release();
    return;
  }

  const most = Math.max(1, Math.floor(BLOCK_BYTES / (Math.max(K, 1) * 4) / TILE_ROWS)) * TILE_ROWS;
  const rowBlocks = Math.ceil(M / most);
  // Blocks of equal height: the last one is as much work as the others.
  const rowsPerUnit = Math.ceil(M / rowBlocks / TILE_ROWS) * TILE_ROWS;
  const blocks = Math.ceil(M / rowsPerUnit);
  const columnUnits = Math.min(
    allPanels,
    Math.max(1, Math.ceil((executor.threads.count > 1 ? 4 * executor.threads.count : 1) / blocks)),
  );
  const panelsPerUnit = Math.ceil(allPanels / columnUnits);
  const units = blocks * Math.ceil(allPanels / panelsPerUnit);
  executor.writer
    .begin(Op.Gemm, units, rowsPerUnit * panelsPerUnit * K * 2)
    .pointer(executor.output(out, 'out'))
    .pointer(out.stride * 4)
    .pointer(executor.input(a, 'a'))
    .pointer(a.stride * 4)
    .int(transposeA ? 1 : 0)
    .pointer(panels.at)
    .int(M)
    .int(N)
    .int(K)
    .int(rowsPerUnit)
    .int(panelsPerUnit)
    .pointer(biasAt)
    .pointer(residualAt)
    .pointer(residualStride)
    .int(flags);
  executor.emit(256 + rowsPerUnit * K * 4);
  panels.release();
}
