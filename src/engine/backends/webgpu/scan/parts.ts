/** Second pass of a sum that workgroups have begun: their parts are added in a fixed order. */
import type { Tensor } from '../../../tensor.js';
import type { Recorder } from '../recorder.js';

/** A sum over parts: see selective-scan-sum. */
interface PartSum {
  out: Tensor;
  columns: number;
  total: number;
  /** Terms of each sum, and elements from one to the next. */
  rows: number;
  step: number;
  /** Element of the first term, and elements from one row of the output to the next. */
  partsAt: number;
  rowStep: number;
  aLog?: Tensor;
}

export function sumParts(recorder: Recorder, parts: Tensor, sum: PartSum, label: string): void {
  const { out, aLog, ...params } = sum;
  // Few elements with many terms would leave the GPU idle, so several invocations share them.
  const elements = sum.rows <= 64 && sum.total >= 8192 ? 256 : sum.total >= 4096 ? 32 : 4;
  recorder.dispatch({
    kernel: 'selective-scan-sum',
    label,
    constants: { ELEMENTS: elements, SPLIT: 256 / elements, TIMES_A: aLog !== undefined },
    bindings: { parts, aLog, out },
    params,
    workgroups: Math.ceil(sum.total / elements),
  });
}
