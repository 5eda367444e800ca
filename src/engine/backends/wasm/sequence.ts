/** Kernels along the sequence: causal convolution, selective scan, SSD, windowed attention. */
import { Op } from '../../kernels/assembly/opcodes.js';
import type { AttentionArgs, ConvArgs, SelectiveScanArgs, SsdArgs } from '../../kernels.js';
import { columnsOf, rowsOf, type Tensor } from '../../tensor.js';
import { divide, expectMatrix, expectOutput, expectVector, fail, sequenceOf } from './check.js';
import type { Executor } from './executor.js';

/** Tokens a unit of the convolution and of attention covers. */
const CONV_TOKENS = 64;
const ATTENTION_TOKENS = 16;
const STEP_CHANNELS = 256;
/** Channels a unit of the selective scan covers; a multiple of 4. */
const SCAN_CHANNELS = 32;
/** Tokens of a chunk, TOKENS and SCAN_TOKENS of the kernels. */
const CHUNK = 32;
/** The same of the chunked SSD, and the shortest sequence it is used for. */
const SSD_CHUNK = 40;
const LEAST_CHUNKED = 12;

function checkLengths(kernel: string, lengths: Tensor | undefined, batch: number): void {
  if (lengths) expectVector(kernel, 'lengths', lengths, batch, 'i32');
}

export function conv(executor: Executor, args: ConvArgs): void {
  const { out, x, weight, bias, activation, state, lengths } = args;
  const [batch, length] = sequenceOf('conv', 'x', x);
  const [C, K] = [columnsOf(x), columnsOf(weight)];
  const T = batch * length;
  expectMatrix('conv', 'x', x, T, C);
  expectMatrix('conv', 'weight', weight, C, K);
  expectOutput('conv', 'out', out, T, C);
  if (out.storage === x.storage && out.offset === x.offset) fail('conv', 'out', 'out is also x');
  if (bias) expectVector('conv', 'bias', bias, C);
  if (state) expectVector('conv', 'state', state, batch * (K - 1) * C);
  checkLengths('conv', lengths, batch);
  const step = length === 1 && K === 4 && state !== undefined;
  const width = step ? STEP_CHANNELS : CONV_TOKENS;
  const units = batch * Math.ceil((step ? C : length) / width);
  const { writer } = executor;
  const stateAt = state ? (step ? executor.output(state, 'state') : executor.input(state, 'state')) : 0;
  const lengthsAt = executor.optional(lengths, 'lengths');
  writer
    .begin(step ? Op.ConvStep : Op.Conv, units, (((step ? 1 : C) * width) / 4) * (K * 3 + 25))
    .pointer(executor.output(out, 'out'))
    .pointer(out.stride * 4)
    .pointer(executor.input(x, 'x'))
    .pointer(x.stride * 4)
    .pointer(executor.input(weight, 'weight'))
    .pointer(weight.stride * 4)
    .pointer(executor.optional(bias, 'bias'))
    .pointer(stateAt)
    .pointer(lengthsAt)
    .int(length)
    .int(C)
    .int(K)
    .int(activation === 'silu' ? 1 : 0)
    .int(width);
  executor.emit(step ? 0 : (K + 1) * C * 4 + K * 4);
  if (!state || step || length === 0) return;
  writer
    .begin(Op.ConvState, batch, (K * C) / 2)
    .pointer(executor.input(x, 'x'))
    .pointer(x.stride * 4)
    .pointer(executor.output(state, 'state'))
    .pointer(lengthsAt)
    .int(length)
    .int(C)
    .int(K);
  executor.emit();
}

export function selectiveScan(executor: Executor, args: SelectiveScanArgs): void {
  const name = 'selectiveScan';
  const { out, x, dt, aLog, B, C, skip, dtBias, z, dtLimit, discretisation, state, lengths } = args;
  const [batch, length] = sequenceOf(name, 'x', x);
  const [D, N, T] = [columnsOf(x), columnsOf(B), batch * length];
  for (const [field, t] of [['x', x] as const, ['dt', dt] as const, ...(z ? [['z', z] as const] : [])]) {
    expectMatrix(name, field, t, T, D);
  }
  expectMatrix(name, 'B', B, T, N);
  expectMatrix(name, 'C', C, T, N);
  expectMatrix(name, 'aLog', aLog, D, N);
  expectOutput(name, 'out', out, T, D);
  if (skip) expectVector(name, 'skip', skip, D);
  if (dtBias) expectVector(name, 'dtBias', dtBias, D);
  if (state) expectVector(name, 'state', state, batch * D * N);
  checkLengths(name, lengths, batch);
  if (args.checkpoints) fail(name, 'checkpoints', 'this backend keeps none');
  const padded = Math.ceil(N / 16) * 16;
  executor.writer
    .begin(Op.SelectiveScan, batch * Math.ceil(D / SCAN_CHANNELS), length * SCAN_CHANNELS * padded * 6)
    .pointer(executor.output(out, 'out'))
    .pointer(out.stride * 4)
    .pointer(executor.input(x, 'x'))
    .pointer(x.stride * 4)
    .pointer(executor.input(dt, 'dt'))
    .pointer(dt.stride * 4)
    .pointer(executor.input(aLog, 'aLog'))
    .pointer(aLog.stride * 4)
    .pointer(executor.input(B, 'B'))
    .pointer(B.stride * 4)
    .pointer(executor.input(C, 'C'))
    .pointer(C.stride * 4)
    .pointer(executor.optional(skip, 'skip'))
    .pointer(executor.optional(dtBias, 'dtBias'))
    .pointer(executor.optional(z, 'z'))
    .pointer(z ? z.stride * 4 : 0)
    .pointer(state ? executor.output(state, 'state') : 0)
    .pointer(executor.optional(lengths, 'lengths'))
    .int(length)
    .int(D)
    .int(N)
    .float(dtLimit?.[0] ?? 0)
    .float(dtLimit?.[1] ?? Number.POSITIVE_INFINITY)
    .int(discretisation === 'zoh' ? 1 : 0)
    .int(SCAN_CHANNELS);
  executor.emit(4 * (3 * CHUNK * SCAN_CHANNELS + 2 * CHUNK * padded + 2 * SCAN_CHANNELS * padded));
}

export function ssd(executor: Executor, args: SsdArgs): void {
  const { out, x, dt, aLog, B, C, skip, dtBias, nHeads: H, nGroups: G, dtLimit, state, lengths } = args;
  const [batch, length] = sequenceOf('ssd', 'x', x);
  const T = batch * length;
  const P = divide('ssd', 'nHeads', columnsOf(x), H);
  const N = divide('ssd', 'nGroups', columnsOf(B), G);
  divide('ssd', 'nGroups', H, G);
  expectMatrix('ssd', 'x', x, T, H * P);
  expectMatrix('ssd', 'dt', dt, T, H);
  expectMatrix('ssd', 'B', B, T, G * N);
  expectMatrix('ssd', 'C', C, T, G * N);
  expectOutput('ssd', 'out', out, T, H * P);
  expectVector('ssd', 'aLog', aLog, H);
  if (skip) expectVector('ssd', 'skip', skip, H);
  if (dtBias) expectVector('ssd', 'dtBias', dtBias, H);
  if (state) expectVector('ssd', 'state', state, batch * H * P * N);
  checkLengths('ssd', lengths, batch);
  if (args.checkpoints) fail('ssd', 'checkpoints', 'this backend keeps none');
  const step = length === 1 && state !== undefined;
  const chunked = length >= LEAST_CHUNKED;
  const heads = chunked ? headsTogether(H / G, batch * H, executor.threads.count) : 1;
  const units = (batch * H) / heads;
  executor.writer
    .begin(step ? Op.SsdStep : chunked ? Op.SsdChunked : Op.Ssd, units, heads * length * P * N)
    .pointer(executor.output(out, 'out'))
    .pointer(out.stride * 4)
    .pointer(executor.input(x, 'x'))
    .pointer(x.stride * 4)
    .pointer(executor.input(dt, 'dt'))
    .pointer(dt.stride * 4)
    .pointer(executor.input(aLog, 'aLog'))
    .pointer(executor.input(B, 'B'))
    .pointer(B.stride * 4)
    .pointer(executor.input(C, 'C'))
    .pointer(C.stride * 4)
    .pointer(executor.optional(skip, 'skip'))
    .pointer(executor.optional(dtBias, 'dtBias'))
    .pointer(state ? executor.output(state, 'state') : 0)
    .pointer(executor.optional(lengths, 'lengths'))
    .int(length)
    .int(H)
    .int(G)
    .int(P)
    .int(N)
    .float(dtLimit?.[0] ?? 0)
    .float(dtLimit?.[1] ?? Number.POSITIVE_INFINITY)
    .int(args.discretisation === 'zoh' ? 1 : 0)
    .int(heads);
  executor.emit(step ? 0 : chunked ? chunkedScratch(P, N, heads) : recurrentScratch(P, N));
}

/** Heads of a group that a unit of the chunked SSD takes together: they share products, as long as all threads have work. */
function headsTogether(perGroup: number, all: number, threads: number): number {
  const fits = (heads: number) => perGroup % heads === 0 && (threads === 1 || all / heads >= 4 * threads);
  return [8, 4, 2].find(fits) ?? 1;
}

/** Bytes that `ssd` lays out. */
function recurrentScratch(P: number, N: number): number {
  const padded = Math.ceil(N / 16) * 16;
  return 4 * (14 * CHUNK + 2 * CHUNK * padded + (P + 1) * padded);
}

/** Bytes that `ssdChunked` lays out. */
function chunkedScratch(P: number, N: number, heads: number): number {
  const Q = SSD_CHUNK;
  const rows = Math.ceil(N / 5) * 5;
  const columns = Math.ceil(P / 8) * 8;
  return 4 * (4 * Q + Q * Q + 48 + 2 * Q * N + rows * Q + Q * Q + 2 * columns * Q + heads * columns * rows);
}

export function attention(executor: Executor, args: AttentionArgs): void {
  const name = 'attention';
  const { out, q, k, v, bias, nHeads: H, kvHeads: KV, window, cacheK, cacheV, cacheCount, lengths } = args;
  const [batch, length] = sequenceOf(name, 'q', q);
  const T = batch * length;
  const E = divide(name, 'nHeads', columnsOf(q), H);
  divide(name, 'kvHeads', H, KV);
  expectMatrix(name, 'q', q, T, H * E);
  expectMatrix(name, 'k', k, T, KV * E);
  expectMatrix(name, 'v', v, T, KV * E);
  expectOutput(name, 'out', out, T, H * E);
  expectMatrix(name, 'bias', bias, H, window);
  const caches = [cacheK, cacheV, cacheCount].filter(Boolean).length;
  if (caches !== 0 && caches !== 3) fail(name, 'cacheK', 'cacheK, cacheV and cacheCount come together');
  for (const [field, cache] of [['cacheK', cacheK] as const, ['cacheV', cacheV] as const]) {
    if (cache) expectVector(name, field, cache, batch * (window - 1) * KV * E);
  }
  if (cacheCount) expectVector(name, 'cacheCount', cacheCount, batch, 'i32');
  checkLengths(name, lengths, batch);
  const { writer } = executor;
  const lengthsAt = executor.optional(lengths, 'lengths');
  const countAt = executor.optional(cacheCount, 'cacheCount');
  const reach = Math.min(window, length + window - 1);
  writer
    .begin(Op.Attention, batch * H * Math.ceil(length / ATTENTION_TOKENS), ATTENTION_TOKENS * reach * (E + 12))
    .pointer(executor.output(out, 'out'))
    .pointer(out.stride * 4)
    .pointer(executor.input(q, 'q'))
    .pointer(q.stride * 4)
    .pointer(executor.input(k, 'k'))
    .pointer(k.stride * 4)
    .pointer(executor.input(v, 'v'))
    .pointer(v.stride * 4)
    .pointer(executor.input(bias, 'bias'))
    .pointer(bias.stride * 4)
    .pointer(executor.optional(cacheK, 'cacheK'))
    .pointer(executor.optional(cacheV, 'cacheV'))
    .pointer(countAt)
    .pointer(lengthsAt)
    .int(length)
    .int(H)
    .int(KV)
    .int(E)
    .int(window)
    .int(ATTENTION_TOKENS);
  executor.emit(window * 4 + 64);
  if (!cacheK || !cacheV || !cacheCount || length === 0) return;
  for (const [x, cache] of [[k, cacheK] as const, [v, cacheV] as const]) {
    writer
      .begin(Op.AttentionCache, batch, window * columnsOf(x))
      .pointer(executor.input(x, 'k'))
      .pointer(x.stride * 4)
      .pointer(executor.output(cache, 'cacheK'))
      .pointer(countAt)
      .pointer(lengthsAt)
      .int(length)
      .int(KV * E)
      .int(window - 1);
    executor.emit();
  }
  writer
    .begin(Op.AttentionCount, 1, rowsOf(cacheCount) * batch)
    .pointer(executor.output(cacheCount, 'cacheCount'))
    .pointer(lengthsAt)
    .int(length)
    .int(window - 1)
    .int(batch);
  executor.emit();
}
