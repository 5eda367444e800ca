/** Observations from which a history can be said to be whole-numbered or never negative. */
const ENOUGH = 8;

/**
 * Quantiles within what the history shows: none below zero where no observation was, and whole numbers where all
 * observations are. (The best quantile of counts is a count; a rounded one loses nothing.)
 */
export function withinLimits(history: Float64Array, quantiles: Float64Array[]): Float64Array[] {
  const { nonNegative, whole } = natureOf(history);
  if (!nonNegative && !whole) return quantiles;
  return quantiles.map((values) =>
    values.map((v) => {
      const kept = nonNegative && v < 0 ? 0 : v;
      return whole ? Math.round(kept) : kept;
    }),
  );
}

/** Whether no observation is negative, and whether all are whole numbers; neither of a history too short to say. */
function natureOf(history: Float64Array): { nonNegative: boolean; whole: boolean } {
  let count = 0;
  let nonNegative = true;
  let whole = true;
  for (const v of history) {
    if (Number.isNaN(v)) continue;
    count++;
    if (v < 0) nonNegative = false;
    if (!Number.isInteger(v)) whole = false;
    if (!nonNegative && !whole) break;
  }
  const enough = count >= ENOUGH;
  return { nonNegative: enough && nonNegative, whole: enough && whole };
}
