/**
 * Binary cross-entropy of many logits at once, out of the engine's element-wise kernels.
 *
 * With weights W and targets T (both as [rows, columns], W zero where a target is not known) the loss is
 * Σ W·(softplus(l) − T·l), and its gradient W·(σ(l) − T). Given W and D = −W·T, that is softplus(l)·W + l·D and σ(l)·W + D.
 */
import type { Graph } from '../../engine/graph.js';
import type { Tensor } from '../../engine/tensor.js';

/**
 * @param logits [..., columns]
 * @param weights,shifted [..., columns]: W and D = −W·T
 * @param sums [1, columns] receives the loss of each column
 * @param train start the reverse pass at the logits
 */
export function binaryLoss(
  g: Graph,
  { logits, weights, shifted, sums }: { logits: Tensor; weights: Tensor; shifted: Tensor; sums: Tensor },
  train: boolean,
): void {
  const { kernels } = g.backend;
  const a = g.alloc(logits.shape);
  const b = g.alloc(logits.shape);
  kernels.unary({ out: a, x: logits, fn: 'softplus' });
  kernels.binary({ out: a, a, b: weights, fn: 'mul' });
  kernels.binary({ out: b, a: logits, b: shifted, fn: 'mul' });
  kernels.binary({ out: a, a, b, fn: 'add' });
  kernels.columnSum({ ...sums, shape: [logits.shape[logits.shape.length - 1]] }, a);
  if (train) {
    kernels.unary({ out: a, x: logits, fn: 'sigmoid' });
    kernels.binary({ out: a, a, b: weights, fn: 'mul' });
    kernels.binary({ out: a, a, b: shifted, fn: 'add' });
    g.seed(logits, a);
  }
  g.release(a);
  g.release(b);
}

/** W and D of every label code: two tables [codes, columns], to be looked up by one number a frame. */
export function labelTables(
  codes: number,
  columns: number,
  label: (code: number, column: number) => 0 | 1 | undefined,
  weight: (column: number) => number,
): { weights: Float32Array; shifted: Float32Array } {
  const weights = new Float32Array(codes * columns);
  const shifted = new Float32Array(codes * columns);
  for (let code = 0; code < codes; code++) {
    for (let c = 0; c < columns; c++) {
      const target = label(code, c);
      if (target === undefined) continue;
      weights[code * columns + c] = weight(c);
      shifted[code * columns + c] = -target * weight(c);
    }
  }
  return { weights, shifted };
}
