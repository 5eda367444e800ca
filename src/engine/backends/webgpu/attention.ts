/** Windowed causal attention. */
import { EngineError } from '../../errors.js';
import type { AttentionArgs, AttentionBackwardArgs } from '../../kernels.js';
import { columnsOf, reshape, sizeOf } from '../../tensor.js';
import type { Recorder } from './recorder.js';
import { columnSum } from './reduce.js';

/** Threads of a workgroup; also the distances or queries taken at a time. */
const THREADS = 64;
/** Tokens whose share of dBias one workgroup adds up. */
const BIAS_CHUNK = 16;

const flag = (value: unknown): number => (value ? 1 : 0);

/** The power of two, THREADS at least, that a kernel is compiled for; every variant costs a compilation. */
function limit(extent: number): number {
  return Math.max(THREADS, 2 ** Math.ceil(Math.log2(extent)));
}

function dimensions({ q, nHeads, kvHeads, window }: AttentionArgs | AttentionBackwardArgs) {
  const [batch, length, width] = q.shape;
  if (width % nHeads !== 0 || nHeads % kvHeads !== 0 || window < 1) {
    throw new EngineError({
      code: 'KERNEL_CALL',
      message: `attention: ${width} columns, ${nHeads} heads, ${kvHeads} key-value heads, window ${window}`,
      fix: 'columns must be a multiple of the heads, and those of the key-value heads',
    });
  }
  const headDim = width / nHeads;
  return { batch, length, headDim, headsPerKv: nHeads / kvHeads, scale: 1 / Math.sqrt(headDim) };
}

export function attention(recorder: Recorder, args: AttentionArgs): void {
  const { out, q, k, v, bias, nHeads, kvHeads, window, cacheK, cacheV, cacheCount, lengths } = args;
  const { batch, length, headDim, headsPerKv, scale } = dimensions(args);
  const cacheWidth = kvHeads * headDim;
  const hasCache = cacheK !== undefined && cacheV !== undefined && cacheCount !== undefined;
  // A window of 1 has caches without rows, of which no launch may take notice.
  const caches = hasCache && window > 1 ? { cacheK, cacheV, cacheCount } : {};
  const reads = { cacheK: caches.cacheK, cacheV: caches.cacheV, cacheCount: caches.cacheCount };
  recorder.dispatch({
    kernel: 'attention',
    constants: { THREADS, HEAD_LIMIT: limit(headDim) },
    bindings: { out, q, k, v, bias, ...reads, lengths },
    params: {
      batch,
      length,
      nHeads,
      headsPerKv,
      window,
      scale,
      headDim,
      hasCache: flag(caches.cacheK),
      hasLengths: flag(lengths),
      cacheWidth,
    },
    workgroups: batch * length * nHeads,
  });
  if (!caches.cacheK) return;
  recorder.dispatch({
    kernel: 'attention-cache',
    bindings: { ...reads, k, v, lengths },
    params: { length, width: cacheWidth, past: window - 1, hasLengths: flag(lengths) },
    workgroups: [batch, 1, 1],
  });
}

export function attentionBackward(recorder: Recorder, args: AttentionBackwardArgs): void {
  const { dOut, dQ, dK, dV, dBias, q, k, v, bias, nHeads, kvHeads, window, lengths } = args;
  const { batch, length, headDim, headsPerKv, scale } = dimensions(args);
  const chunks = Math.max(1, Math.ceil(length / BIAS_CHUNK));
  const stats = recorder.alloc([Math.max(1, batch * length), nHeads * 2]);
  const partial = recorder.alloc([batch * chunks, nHeads * window]);
  recorder.dispatch({
    kernel: 'attention-backward-q',
    constants: { THREADS, HEAD_LIMIT: limit(headDim), WINDOW_LIMIT: limit(window) },
    bindings: { dQ, partial, stats, dOut, q, k, v, bias, lengths },
    params: {
      length,
      nHeads,
      headsPerKv,
      window,
      chunk: BIAS_CHUNK,
      chunks,
      scale,
      headDim,
      hasLengths: flag(lengths),
    },
    workgroups: [nHeads, chunks, batch],
  });
  recorder.dispatch({
    kernel: 'attention-backward-kv',
    constants: { THREADS, HEAD_LIMIT: limit(headDim) },
    bindings: { dK, dV, stats, dOut, q, k, v, bias, lengths },
    params: { batch, length, nHeads, kvHeads, headsPerKv, window, scale, headDim, hasLengths: flag(lengths) },
    workgroups: batch * length * kvHeads,
  });
  recorder.free(stats);
  if (columnsOf(dBias) !== dBias.stride && sizeOf(dBias.shape) !== columnsOf(dBias)) {
    throw new RangeError('dBias must be contiguous');
  }
  columnSum(recorder, reshape(dBias, [nHeads * window]), partial);
  recorder.free(partial);
}
