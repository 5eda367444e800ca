/** The module: dispatch of commands, and the threads that share them. */
import { attention, attentionCache, attentionCount } from './attention';
import { COMMAND_BYTES } from './common';
import { conv, convState, convStep } from './conv';
import { binary, copy, fill, swiglu, unary } from './elementwise';
import { gemm, packWeights } from './gemm';
import { gemv } from './gemv';
import { quantileMixture } from './mixture';
import { Op } from './opcodes';
import { columnSum, embedding, gatedRmsNorm, rmsNorm, sumSquares } from './rows';
import { selectiveScan } from './selective-scan';
import { ssd, ssdStep } from './ssd';
import { ssdChunked } from './ssd-chunk';
import { close, isQuitting, join, leave, nextUnits, offer, scratchOf, waitForOffer } from './threads';

/**
 * Not for calling from outside: an exported function is not inlined into its only caller, and these hot loops need the
 * registers for themselves (inlined, the matrix product runs at half the speed).
 */
export { multiplyPanels } from './gemm';
export { fourPanels } from './gemv';
export { eulerBlock } from './selective-scan';
export { chunkBlock } from './ssd';
export { addPanels } from './ssd-chunk';

function execute(cmd: usize, from: i32, to: i32, scratch: usize): void {
  switch (load<i32>(cmd)) {
    case Op.Fill:
      return fill(cmd, from, to);
    case Op.Copy:
      return copy(cmd, from, to);
    case Op.Unary:
      return unary(cmd, from, to);
    case Op.Binary:
      return binary(cmd, from, to);
    case Op.Swiglu:
      return swiglu(cmd, from, to);
    case Op.Embedding:
      return embedding(cmd, from, to);
    case Op.RmsNorm:
      return rmsNorm(cmd, from, to);
    case Op.GatedRmsNorm:
      return gatedRmsNorm(cmd, from, to);
    case Op.ColumnSum:
      return columnSum(cmd, from, to);
    case Op.SumSquares:
      return sumSquares(cmd);
    case Op.QuantileMixture:
      return quantileMixture(cmd, from, to);
    case Op.Conv:
      return conv(cmd, from, to, scratch);
    case Op.ConvState:
      return convState(cmd, from, to);
    case Op.ConvStep:
      return convStep(cmd, from, to);
    case Op.SelectiveScan:
      return selectiveScan(cmd, from, to, scratch);
    case Op.Ssd:
      return ssd(cmd, from, to, scratch);
    case Op.SsdChunked:
      return ssdChunked(cmd, from, to, scratch);
    case Op.SsdStep:
      return ssdStep(cmd, from, to);
    case Op.Attention:
      return attention(cmd, from, to, scratch);
    case Op.AttentionCache:
      return attentionCache(cmd, from, to);
    case Op.AttentionCount:
      return attentionCount(cmd);
    case Op.Gemv:
      return gemv(cmd, from, to, scratch);
    case Op.PackWeights:
      return packWeights(cmd, from, to);
    case Op.Gemm:
      return gemm(cmd, from, to, scratch);
    default:
      unreachable();
  }
}

/**
 * Run `count` commands from `list` on, in order. The loop does nothing but call, and keeps clear of what V8 11.3's
 * baseline compiler makes of atomic operations (threads.ts): inlined there, the loop ended early.
 */
export function run(list: usize, count: i32, threads: i32): void {
  const end = list + <usize>count * COMMAND_BYTES;
  for (let cmd = list; cmd < end; cmd += COMMAND_BYTES) runOne(cmd, threads);
}

/** Run one command, offered to the workers if it is marked parallel. Exported so that it is not inlined. */
export function runOne(cmd: usize, threads: i32): void {
  if (threads > 1 && load<i32>(cmd, 12)) {
    offer(cmd);
    work(cmd, 0);
    close();
  } else {
    execute(cmd, 0, load<i32>(cmd, 4), scratchOf(0));
  }
}

/** Take units of the command on offer until none are left. Exported for the same reason. */
export function work(cmd: usize, thread: i32): void {
  const units = load<i32>(cmd, 4);
  const grain = load<i32>(cmd, 8);
  const scratch = scratchOf(thread);
  for (let from = nextUnits(grain); from < units; from = nextUnits(grain)) {
    execute(cmd, from, min(units, from + grain), scratch);
  }
}

/** The life of a worker: wait for a command, help with it. Returns when the backend is disposed. */
export function serve(thread: i32): void {
  let seen = 0;
  while (!isQuitting()) {
    seen = waitForOffer(seen);
    const cmd = join();
    if (cmd) {
      work(cmd, thread);
      leave();
    }
  }
}
