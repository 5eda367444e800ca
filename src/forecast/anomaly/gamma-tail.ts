/** Tail probabilities of gamma distributions, as logarithms so that the smallest ones still differ. */

/** ln Γ(z) for z > 0: Stirling's series (Abramowitz & Stegun 6.1.41) from 8 on, the recurrence Γ(z + 1) = zΓ(z) below. */
function logGamma(z: number): number {
  let shift = 0;
  let x = z;
  while (x < 8) shift += Math.log(x++);
  const x2 = x * x;
  const series = 1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * x2)) / x2) / x2;
  return (x - 0.5) * Math.log(x) - x + Math.log(2 * Math.PI) / 2 + series / x - shift;
}

const ENOUGH = 1e-12;
const MOST_TERMS = 1000;

/**
 * −log₁₀ of the probability that a gamma variable of this shape and scale 1 exceeds x (Abramowitz & Stegun 6.5.29 below the
 * bulk, the continued fraction 6.5.31 above it).
 */
export function gammaTail(shape: number, x: number): number {
  if (x <= 0) return 0;
  const density = shape * Math.log(x) - x - logGamma(shape);
  if (x < shape + 1) {
    let term = 1 / shape;
    let sum = term;
    for (let k = 1; k < MOST_TERMS && term > ENOUGH * sum; k++) {
      term *= x / (shape + k);
      sum += term;
    }
    return -Math.log10(Math.max(Number.MIN_VALUE, 1 - Math.exp(density) * sum));
  }
  // From the front, as a ratio of successive convergents (Lentz 1976).
  let b = x + 1 - shape;
  let c = Number.POSITIVE_INFINITY;
  let d = 1 / b;
  let fraction = d;
  for (let k = 1; k < MOST_TERMS; k++) {
    const a = k * (shape - k);
    b += 2;
    d = 1 / (b + a * d);
    c = b + a / c;
    fraction *= c * d;
    if (Math.abs(c * d - 1) < ENOUGH) break;
  }
  return -(density + Math.log(fraction)) * Math.LOG10E;
}
