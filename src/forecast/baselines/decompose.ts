import { autocorrelation, bridge } from '../series/season.js';

/** Seasonal indices and the history without them. */
export interface Decomposition {
  kind: 'none' | 'additive' | 'multiplicative';
  /** One index for each phase; `indices[i % m]` belongs to observation i of the history. */
  indices: Float64Array;
  /** The seasonally adjusted history. */
  adjusted: Float64Array;
}

/**
 * Classical decomposition as in the Theta method: seasonal if the autocorrelation at lag m passes the 90 % limit
 * |r_m| > 1.645 √((1 + 2Σ_{k<m} r_k²)/n); multiplicative indices if all values are positive and the indices stay so,
 * additive ones otherwise. Needs at least two seasons; expects no missing values.
 */
export function deseasonalise(y: Float64Array, m: number): Decomposition {
  const none: Decomposition = { kind: 'none', indices: new Float64Array(1), adjusted: y };
  if (m < 2 || y.length < 2 * m || !isSeasonal(y, m)) return none;
  const trend = movingAverage(y, m);
  if (y.every((v) => v > 0)) {
    const indices = phaseMeans(y, trend, m, (value, level) => value / level);
    const scale = indices.reduce((a, b) => a + b, 0) / m;
    for (let i = 0; i < m; i++) indices[i] = indices[i]! / scale;
    if (indices.every((s) => s > 0.01)) {
      return { kind: 'multiplicative', indices, adjusted: y.map((v, i) => v / indices[i % m]!) };
    }
  }
  const indices = additiveIndices(y, m, trend);
  return { kind: 'additive', indices, adjusted: y.map((v, i) => v - indices[i % m]!) };
}

/** Additive seasonal indices that sum to zero. */
export function additiveIndices(y: Float64Array, m: number, trend = movingAverage(y, m)): Float64Array {
  const indices = phaseMeans(y, trend, m, (value, level) => value - level);
  const mean = indices.reduce((a, b) => a + b, 0) / m;
  return indices.map((s) => s - mean);
}

/** The 90 % test of seasonality that the M3 and M4 competitions' benchmarks use. */
export function isSeasonal(y: Float64Array, m: number): boolean {
  const correlation = autocorrelation(y, m);
  let sum = 0;
  for (let k = 1; k < m; k++) sum += correlation[k]! ** 2;
  return Math.abs(correlation[m]!) > 1.645 * Math.sqrt((1 + 2 * sum) / y.length);
}

/** Centred moving average over one season, half weights at both ends when m is even; NaN near the ends. */
function movingAverage(y: Float64Array, m: number): Float64Array {
  const out = new Float64Array(y.length).fill(Number.NaN);
  const half = Math.floor(m / 2);
  for (let i = half; i < y.length - half; i++) {
    let sum = 0;
    for (let j = i - half; j <= i + half; j++) sum += y[j]!;
    if (m % 2 === 0) sum -= (y[i - half]! + y[i + half]!) / 2;
    out[i] = sum / m;
  }
  return out;
}

function phaseMeans(
  y: Float64Array,
  trend: Float64Array,
  m: number,
  relate: (value: number, level: number) => number,
): Float64Array {
  const sums = new Float64Array(m);
  const counts = new Float64Array(m);
  for (let i = 0; i < y.length; i++) {
    const ratio = relate(y[i]!, trend[i]!);
    if (!Number.isFinite(ratio)) continue;
    sums[i % m] = sums[i % m]! + ratio;
    counts[i % m] = counts[i % m]! + 1;
  }
  return sums.map((sum, i) => sum / Math.max(1, counts[i]!));
}

/**
 * The history without missing values at the ends, inner ones filled: by the mean of the neighbouring seasons' values of
 * the same phase where both are there, by a straight line otherwise.
 */
export function fillMissing(history: Float64Array, m: number): Float64Array {
  if (!history.some(Number.isNaN)) return history;
  const lined = bridge(history);
  if (m < 2) return lined;
  let first = 0;
  while (Number.isNaN(history[first]!)) first++;
  for (let i = 0; i < lined.length; i++) {
    if (!Number.isNaN(history[first + i]!)) continue;
    const before = history[first + i - m];
    const after = history[first + i + m];
    const inside = i - m >= 0 && i + m < lined.length;
    if (inside && Number.isFinite(before) && Number.isFinite(after)) lined[i] = (before! + after!) / 2;
  }
  return lined;
}
