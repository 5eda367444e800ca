/** Smallest probability a logarithm is taken of. */
const EPSILON = 1e-7;

/** Mean of −ln p(label), in nats; p is kept within [1e-7, 1 − 1e-7]. Labels other than 0 and 1 are left out. */
export function logLoss(probabilities: ArrayLike<number>, labels: ArrayLike<number>): number {
  let sum = 0;
  let count = 0;
  for (let i = 0; i < probabilities.length; i++) {
    if (labels[i] !== 0 && labels[i] !== 1) continue;
    const p = Math.min(1 - EPSILON, Math.max(EPSILON, probabilities[i]));
    sum -= Math.log(labels[i] === 1 ? p : 1 - p);
    count++;
  }
  return sum / count;
}

export interface CalibrationBin {
  count: number;
  /** Mean probability that was said. */
  said: number;
  /** Share of positives that came. */
  came: number;
}

/**
 * Expected calibration error: over equal-width bins of the probability, Σ (count/n)·|said − came|
 * (Naeini et al. 2015; Guo et al. 2017).
 */
export function calibration(
  probabilities: ArrayLike<number>,
  labels: ArrayLike<number>,
  bins = 15,
): { error: number; bins: CalibrationBin[] } {
  const table = Array.from({ length: bins }, () => ({ count: 0, said: 0, came: 0 }));
  let total = 0;
  for (let i = 0; i < probabilities.length; i++) {
    if (labels[i] !== 0 && labels[i] !== 1) continue;
    const bin = table[Math.min(bins - 1, Math.max(0, Math.floor(probabilities[i] * bins)))];
    bin.count++;
    bin.said += probabilities[i];
    bin.came += labels[i];
    total++;
  }
  let error = 0;
  for (const bin of table) {
    if (bin.count === 0) continue;
    error += Math.abs(bin.said - bin.came) / total;
    bin.said /= bin.count;
    bin.came /= bin.count;
  }
  return { error, bins: table };
}
