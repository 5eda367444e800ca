/** Counts at one threshold: a score at or above it says positive. Labels other than 0 and 1 are left out. */
export interface Confusion {
  truePositives: number;
  falsePositives: number;
  trueNegatives: number;
  falseNegatives: number;
}

export function confusion(scores: ArrayLike<number>, labels: ArrayLike<number>, threshold: number): Confusion {
  const c = { truePositives: 0, falsePositives: 0, trueNegatives: 0, falseNegatives: 0 };
  for (let i = 0; i < scores.length; i++) {
    if (labels[i] === 1) scores[i] >= threshold ? c.truePositives++ : c.falseNegatives++;
    else if (labels[i] === 0) scores[i] >= threshold ? c.falsePositives++ : c.trueNegatives++;
  }
  return c;
}

/** Mean of the shares of positives and of negatives that are right. */
export function balancedAccuracy(c: Confusion): number {
  const sensitivity = c.truePositives / (c.truePositives + c.falseNegatives);
  const specificity = c.trueNegatives / (c.trueNegatives + c.falsePositives);
  return (sensitivity + specificity) / 2;
}

export function accuracy(c: Confusion): number {
  const right = c.truePositives + c.trueNegatives;
  return right / (right + c.falsePositives + c.falseNegatives);
}

/** 2·TP/(2·TP + FP + FN). Depends on the share of positives: never quote it alone. */
export function f1(c: Confusion): number {
  return (2 * c.truePositives) / (2 * c.truePositives + c.falsePositives + c.falseNegatives);
}

/** Largest balanced accuracy over all thresholds, and the threshold. Chosen on the data it is reported on: optimistic. */
export function bestBalancedAccuracy(scores: ArrayLike<number>, labels: ArrayLike<number>) {
  const order: number[] = [];
  let positives = 0;
  for (let i = 0; i < scores.length; i++) {
    if (labels[i] !== 0 && labels[i] !== 1) continue;
    order.push(i);
    positives += labels[i];
  }
  order.sort((a, b) => scores[b] - scores[a]);
  const negatives = order.length - positives;
  let best = { value: 0.5, threshold: Number.POSITIVE_INFINITY };
  let tp = 0;
  let fp = 0;
  for (let i = 0; i < order.length; i++) {
    labels[order[i]] === 1 ? tp++ : fp++;
    const score = scores[order[i]];
    if (i + 1 < order.length && scores[order[i + 1]] === score) continue;
    const value = (tp / positives + 1 - fp / negatives) / 2;
    if (value > best.value) best = { value, threshold: score };
  }
  return best;
}
