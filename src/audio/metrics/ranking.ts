/**
 * Area under the ROC curve: the probability that a positive scores above a negative, ties counting one half.
 * Exact, by the rank sum with mid-ranks (Hanley & McNeil 1982).
 *
 * @param scores higher means more likely positive; must be finite
 * @param labels 1 positive, 0 negative; anything else (for example 255) is left out
 * @returns NaN when either class is empty
 */
export function auc(scores: ArrayLike<number>, labels: ArrayLike<number>): number {
  const { order, positives, negatives } = ranked(scores, labels);
  let rankSum = 0;
  for (let i = 0; i < order.length; ) {
    let j = i;
    let inTie = 0;
    while (j < order.length && scores[order[j]] === scores[order[i]]) inTie += labels[order[j++]];
    // Ranks i+1 … j share their mean.
    rankSum += (inTie * (i + 1 + j)) / 2;
    i = j;
  }
  return (rankSum - (positives * (positives + 1)) / 2) / (positives * negatives);
}

/** Average precision: the mean over positives of the precision at their score, ties taken together. */
export function averagePrecision(scores: ArrayLike<number>, labels: ArrayLike<number>): number {
  const { order, positives } = ranked(scores, labels);
  let hits = 0;
  let sum = 0;
  for (let i = order.length - 1; i >= 0; ) {
    let j = i;
    let inTie = 0;
    while (j >= 0 && scores[order[j]] === scores[order[i]]) inTie += labels[order[j--]];
    hits += inTie;
    sum += inTie * (hits / (order.length - 1 - j));
    i = j;
  }
  return sum / positives;
}

/** Threshold whose share of negatives at or above it is at most `rate`, and as near to it as scores allow. */
export function thresholdAtFalseAlarms(scores: ArrayLike<number>, labels: ArrayLike<number>, rate: number): number {
  const negatives: number[] = [];
  for (let i = 0; i < scores.length; i++) if (labels[i] === 0) negatives.push(scores[i]);
  negatives.sort((a, b) => b - a);
  const allowed = Math.floor(rate * negatives.length);
  if (allowed >= negatives.length) return Number.NEGATIVE_INFINITY;
  // Just above the first negative that must stay below.
  const bound = negatives[allowed];
  return nextUp(bound);
}

/** Smallest number above x (64-bit). */
function nextUp(x: number): number {
  if (!Number.isFinite(x)) return x;
  if (x === 0) return Number.MIN_VALUE;
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, x);
  view.setBigInt64(0, view.getBigInt64(0) + (x > 0 ? 1n : -1n));
  return view.getFloat64(0);
}

function ranked(scores: ArrayLike<number>, labels: ArrayLike<number>) {
  let positives = 0;
  let kept = 0;
  const all = new Uint32Array(scores.length);
  for (let i = 0; i < scores.length; i++) {
    if (labels[i] !== 0 && labels[i] !== 1) continue;
    positives += labels[i];
    all[kept++] = i;
  }
  const order = all.subarray(0, kept).sort((a, b) => scores[a] - scores[b]);
  return { order, positives, negatives: kept - positives };
}
