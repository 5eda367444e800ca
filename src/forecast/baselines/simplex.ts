/**
 * Minimises a function of a few variables without derivatives: the simplex method of Nelder & Mead (1965) with the usual
 * coefficients (reflection 1, expansion 2, contraction ½, shrinkage ½).
 *
 * @param step edge of the first simplex
 * @param maxEvaluations calls of `f`, give or take one iteration
 * @returns the best point found
 */
export function minimise(
  f: (x: Float64Array) => number,
  start: Float64Array,
  step: number,
  maxEvaluations: number,
): Float64Array {
  const d = start.length;
  let evaluations = 0;
  const evaluate = (x: Float64Array) => {
    evaluations++;
    const value = f(x);
    return { x, value: Number.isNaN(value) ? Number.POSITIVE_INFINITY : value };
  };
  const simplex = [evaluate(start.slice())];
  for (let i = 0; i < d; i++) {
    const x = start.slice();
    x[i] = x[i]! + step;
    simplex.push(evaluate(x));
  }
  while (evaluations < maxEvaluations) {
    simplex.sort((a, b) => a.value - b.value);
    const best = simplex[0]!;
    const worst = simplex[d]!;
    const flat = worst.value - best.value <= 1e-8 * (Math.abs(best.value) + 1e-300);
    if (flat && simplex.every(({ x }) => x.every((v, i) => Math.abs(v - best.x[i]!) < 1e-4))) break;
    const centre = new Float64Array(d);
    for (const { x } of simplex.slice(0, d)) for (let i = 0; i < d; i++) centre[i] = centre[i]! + x[i]! / d;
    const towards = (factor: number) => evaluate(centre.map((c, i) => c + factor * (worst.x[i]! - c)));
    const reflected = towards(-1);
    if (reflected.value < best.value) {
      const expanded = towards(-2);
      simplex[d] = expanded.value < reflected.value ? expanded : reflected;
    } else if (reflected.value < simplex[d - 1]!.value) {
      simplex[d] = reflected;
    } else {
      const outside = reflected.value < worst.value;
      const contracted = towards(outside ? -0.5 : 0.5);
      if (contracted.value < Math.min(reflected.value, worst.value)) simplex[d] = contracted;
      else for (let k = 1; k <= d; k++) simplex[k] = evaluate(simplex[k]!.x.map((v, i) => (v + best.x[i]!) / 2));
    }
  }
  return simplex.reduce((a, b) => (b.value < a.value ? b : a)).x;
}
