/** Table look-up and its gradient. */
import type { EmbeddingArgs, EmbeddingBackwardArgs } from '../../kernels.js';
import { columnsOf, isContiguous, reshape, rowsOf, sizeOf, type Tensor } from '../../tensor.js';
import { fill } from './elementwise.js';
import type { Recorder } from './recorder.js';
import { columnSum } from './reduce.js';

/** Bits of the NaN that an unknown id gives; WGSL cannot write one down. */
const NAN_BITS = 0x7fc00000;
/** Largest table whose gradient is made from one copy a chunk of tokens. */
const SMALL_TABLE = 1024;
const MOST_CHUNKS = 64;
/** Floats that the copies may take. */
const COPIES_LIMIT = 2 ** 24;

export function embedding(recorder: Recorder, { out, ids, table }: EmbeddingArgs): void {
  const size = sizeOf(out.shape);
  recorder.dispatch({
    kernel: 'embedding',
    bindings: { out, ids, table },
    params: { size, columns: columnsOf(out), vocabulary: rowsOf(table), nan: NAN_BITS },
    workgroups: Math.ceil(size / 256),
  });
}

export function embeddingBackward(recorder: Recorder, args: EmbeddingBackwardArgs): void {
  const { dTable, dOut, ids, accumulate } = args;
  const [vocabulary, width, tokens] = [rowsOf(dTable), columnsOf(dTable), rowsOf(dOut)];
  if (vocabulary === 0 || width === 0) return;
  const isSmall = vocabulary <= SMALL_TABLE && vocabulary * width <= COPIES_LIMIT && isContiguous(dTable);
  if (isSmall && tokens > 0) small(recorder, args, tokens, vocabulary, width);
  else {
    if (!accumulate) fill(recorder, dTable, 0);
    recorder.dispatch({
      kernel: 'embedding-backward',
      bindings: { dTable, dOut, ids },
      params: { tokens, columns: width, vocabulary },
      workgroups: tokens,
    });
  }
}

function small(
  recorder: Recorder,
  { dTable, dOut, ids, accumulate }: EmbeddingBackwardArgs,
  tokens: number,
  vocabulary: number,
  width: number,
): void {
  const most = Math.max(1, Math.min(MOST_CHUNKS, Math.floor(COPIES_LIMIT / (vocabulary * width))));
  const chunk = Math.ceil(tokens / Math.min(most, Math.ceil(tokens / 64)));
  const chunks = Math.ceil(tokens / chunk);
  const partial: Tensor = recorder.alloc([chunks, vocabulary * width]);
  recorder.dispatch({
    kernel: 'embedding-backward-small',
    bindings: { partial, dOut, ids },
    params: { tokens, columns: width, vocabulary, chunk },
    workgroups: [Math.ceil(width / 64), chunks, 1],
  });
  columnSum(recorder, reshape(dTable, [vocabulary * width]), partial, accumulate);
  recorder.free(partial);
}
