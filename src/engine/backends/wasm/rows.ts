/** Kernels over whole rows: embedding, norms, reductions, the quantile head. */
import { Op } from '../../kernels/assembly/opcodes.js';
import type { EmbeddingArgs, GatedRmsNormArgs, QuantileMixtureArgs, RmsNormArgs } from '../../kernels.js';
import { columnsOf, rowsOf, sizeOf, type Tensor } from '../../tensor.js';
import { divide, expectMatrix, expectOutput, expectVector } from './check.js';
import type { Executor } from './executor.js';
import { inferenceOnly } from './unsupported.js';

export function embedding(executor: Executor, { out, ids, table }: EmbeddingArgs): void {
  const [count, columns] = [rowsOf(out), columnsOf(out)];
  expectVector('embedding', 'ids', ids, count, 'i32');
  expectMatrix('embedding', 'table', table, rowsOf(table), columns);
  expectOutput('embedding', 'out', out, count, columns);
  executor.writer
    .begin(Op.Embedding, count, columns / 2)
    .pointer(executor.output(out, 'out'))
    .pointer(out.stride * 4)
    .pointer(executor.input(ids, 'ids'))
    .pointer(4)
    .pointer(executor.input(table, 'table'))
    .pointer(table.stride * 4)
    .int(columns)
    .int(rowsOf(table));
  executor.emit();
}

export function rmsNorm(executor: Executor, { out, x, weight, eps }: RmsNormArgs): void {
  const [count, columns] = [rowsOf(x), columnsOf(x)];
  expectMatrix('rmsNorm', 'x', x, count, columns);
  expectOutput('rmsNorm', 'out', out, count, columns);
  expectVector('rmsNorm', 'weight', weight, columns);
  executor.writer
    .begin(Op.RmsNorm, count, columns)
    .pointer(executor.output(out, 'out'))
    .pointer(out.stride * 4)
    .pointer(executor.input(x, 'x'))
    .pointer(x.stride * 4)
    .pointer(executor.input(weight, 'weight'))
    .int(columns)
    .float(eps);
  executor.emit();
}

export function gatedRmsNorm(executor: Executor, args: GatedRmsNormArgs): void {
  const { out, x, z, weight, eps, groupSize } = args;
  const [count, columns] = [rowsOf(x), columnsOf(x)];
  expectMatrix('gatedRmsNorm', 'x', x, count, columns);
  expectMatrix('gatedRmsNorm', 'z', z, count, columns);
  expectOutput('gatedRmsNorm', 'out', out, count, columns);
  expectVector('gatedRmsNorm', 'weight', weight, columns);
  divide('gatedRmsNorm', 'groupSize', columns, groupSize);
  executor.writer
    .begin(Op.GatedRmsNorm, count, columns * 8)
    .pointer(executor.output(out, 'out'))
    .pointer(out.stride * 4)
    .pointer(executor.input(x, 'x'))
    .pointer(x.stride * 4)
    .pointer(executor.input(z, 'z'))
    .pointer(z.stride * 4)
    .pointer(executor.input(weight, 'weight'))
    .int(columns)
    .float(eps)
    .int(groupSize);
  executor.emit();
}

export function columnSum(executor: Executor, out: Tensor, x: Tensor, accumulate = false): void {
  const [count, columns] = [rowsOf(x), columnsOf(x)];
  expectMatrix('columnSum', 'x', x, count, columns);
  expectVector('columnSum', 'out', out, columns);
  executor.writer
    .begin(Op.ColumnSum, Math.ceil(columns / 16), count * 8)
    .pointer(executor.output(out, 'out'))
    .pointer(executor.input(x, 'x'))
    .pointer(x.stride * 4)
    .int(count)
    .int(columns)
    .int(accumulate ? 1 : 0);
  executor.emit();
}

export function sumSquares(executor: Executor, out: Tensor, x: Tensor): void {
  const [count, columns] = [rowsOf(x), columnsOf(x)];
  expectMatrix('sumSquares', 'x', x, count, columns);
  expectVector('sumSquares', 'out', out, 1);
  executor.writer
    .begin(Op.SumSquares, 1, count * columns)
    .pointer(executor.output(out, 'out'))
    .pointer(executor.input(x, 'x'))
    .pointer(x.stride * 4)
    .int(count)
    .int(columns);
  executor.emit();
}

export function quantileMixture(executor: Executor, args: QuantileMixtureArgs): void {
  const { raw, candidates, levels, patch, nCandidates, quantiles, target, weights, loss, dRaw } = args;
  if (loss || dRaw || target || weights) inferenceOnly('quantileMixture with a loss');
  if (!quantiles) return;
  const [count, nLevels] = [rowsOf(raw), sizeOf(levels.shape)];
  expectMatrix('quantileMixture', 'raw', raw, count, patch * (nLevels + nCandidates) + 1);
  expectMatrix('quantileMixture', 'candidates', candidates, count, patch * nCandidates);
  expectOutput('quantileMixture', 'quantiles', quantiles, count, patch * nLevels);
  executor.writer
    .begin(Op.QuantileMixture, count, 30 + patch * (20 + nLevels + 8 * nCandidates))
    .pointer(executor.output(quantiles, 'quantiles'))
    .pointer(quantiles.stride * 4)
    .pointer(executor.input(raw, 'raw'))
    .pointer(raw.stride * 4)
    .pointer(executor.input(candidates, 'candidates'))
    .pointer(candidates.stride * 4)
    .int(patch)
    .int(nLevels)
    .int(nCandidates);
  executor.emit();
}
