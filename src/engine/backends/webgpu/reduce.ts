/** Sums in a fixed order: over everything, and over rows. */
import { columnsOf, rowsOf, sizeOf, type Tensor } from '../../tensor.js';
import type { Recorder } from './recorder.js';

/** Elements a workgroup adds up in one pass. */
const PART = 8192;

function total(recorder: Recorder, out: Tensor, x: Tensor, squares: boolean): void {
  const size = sizeOf(x.shape);
  const parts = Math.max(1, Math.ceil(size / PART));
  const pass = (to: Tensor, from: Tensor, part: number, count: number, square: boolean) =>
    recorder.dispatch({
      kernel: 'sum',
      constants: { THREADS: 256, SQUARES: square },
      bindings: { out: to, values: from },
      params: { size: sizeOf(from.shape), columns: Math.max(1, columnsOf(from)), part, parts: count },
      workgroups: count,
    });
  if (parts === 1) {
    pass(out, x, PART, 1, squares);
    return;
  }
  const partial = recorder.alloc([parts]);
  pass(partial, x, PART, parts, squares);
  if (parts > PART) total(recorder, out, partial, false);
  else pass(out, partial, parts, 1, false);
  recorder.free(partial);
}

export function sumSquares(recorder: Recorder, out: Tensor, x: Tensor): void {
  total(recorder, out, x, true);
}

/** out[1] = Σ x. */
export function sum(recorder: Recorder, out: Tensor, x: Tensor): void {
  total(recorder, out, x, false);
}

export function columnSum(recorder: Recorder, out: Tensor, x: Tensor, accumulate = false): void {
  const [rows, columns] = [rowsOf(x), columnsOf(x)];
  const strips = Math.ceil(columns / 64);
  const pass = (to: Tensor, from: Tensor, count: number, part: number, add: boolean) =>
    recorder.dispatch({
      kernel: 'column-sum',
      constants: { ROWS: 4, ACCUMULATE: add },
      bindings: { out: to, values: from },
      params: { rows: rowsOf(from), columns, part },
      workgroups: [strips, count, 1],
    });
  // Enough parts to fill a large GPU, each long enough to be worth a workgroup.
  const parts = Math.max(1, Math.min(Math.ceil(rows / 64), Math.ceil(1056 / strips), 512));
  if (parts === 1) {
    pass(out, x, 1, Math.max(1, rows), accumulate);
    return;
  }
  const partial = recorder.alloc([parts, columns]);
  pass(partial, x, parts, Math.ceil(rows / parts), false);
  pass(out, partial, 1, parts, accumulate);
  recorder.free(partial);
}
