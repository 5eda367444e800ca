/** Comparisons that cannot pass by accident: NaN agrees with nothing, and an error says what was compared. */
import { relativeErrors } from '../../src/engine/models/language-model-verify.js';

/** The larger of the relative errors in the Euclidean and the maximum norm; Infinity for NaN. */
export function relativeError(ours: ArrayLike<number>, expected: ArrayLike<number>): number {
  const { relative, maximum } = relativeErrors(ours, expected);
  const error = Math.max(relative, maximum);
  return Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
}

/** The smallest normal float32: below it numbers lose bits, and GPUs may flush them to zero. */
const SMALLEST = 2 ** -126;

/**
 * Throws unless `ours` is within `tolerance` of `expected`, naming the worst element.
 *
 * @param floor where terms of about this size may cancel to nothing, what is left over is judged against them
 */
export function expectClose(
  ours: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  what: string,
  shape: readonly number[] = [],
  floor = 0,
): void {
  const error = relativeError(ours, expected);
  if (error <= tolerance || absolute(ours, expected) <= Math.max(SMALLEST, tolerance * floor)) return;
  let worst = 0;
  let wrong = 0;
  let scale = 0;
  for (let i = 0; i < expected.length; i++) scale = Math.max(scale, Math.abs(expected[i]));
  const difference = (i: number) => {
    const d = Math.abs(ours[i] - expected[i]);
    return Number.isNaN(d) ? Number.POSITIVE_INFINITY : d;
  };
  for (let i = 0; i < expected.length; i++) {
    if (difference(i) > difference(worst)) worst = i;
    if (difference(i) > tolerance * scale) wrong++;
  }
  const where = shape.length > 0 ? ` of [${shape}]` : '';
  throw new Error(
    `${what}: relative error ${error.toExponential(2)} > ${tolerance}; ${wrong} of ${expected.length} elements off, ` +
      `worst at ${worst}${where}: ${ours[worst]}, expected ${expected[worst]}`,
  );
}

function absolute(ours: ArrayLike<number>, expected: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < expected.length; i++) largest = Math.max(largest, Math.abs(ours[i] - expected[i]));
  return largest;
}

/** Throws unless both hold the same bits (NaN equals NaN, 0 differs from −0). */
export function expectSame(ours: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  if (ours.length !== expected.length) throw new Error(`${what}: ${ours.length} numbers against ${expected.length}`);
  for (let i = 0; i < expected.length; i++) {
    if (!Object.is(ours[i], expected[i])) throw new Error(`${what}: element ${i} is ${ours[i]}, was ${expected[i]}`);
  }
}
