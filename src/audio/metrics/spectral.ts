/** Forecasts of log-mel frames and their measures. Frames are rows of `bands` numbers, 10 ms apart. */

/** Mean and deviation of every band over training frames; deviations are at least 1e-3. */
export interface Standardiser {
  mean: Float64Array;
  deviation: Float64Array;
}

export function standardiser(recordings: readonly Float32Array[], bands: number): Standardiser {
  const mean = new Float64Array(bands);
  const square = new Float64Array(bands);
  let count = 0;
  for (const frames of recordings) {
    count += frames.length / bands;
    for (let i = 0; i < frames.length; i++) {
      mean[i % bands] += frames[i];
      square[i % bands] += frames[i] * frames[i];
    }
  }
  const deviation = new Float64Array(bands);
  for (let b = 0; b < bands; b++) {
    mean[b] /= count;
    deviation[b] = Math.max(1e-3, Math.sqrt(Math.max(0, square[b] / count - mean[b] ** 2)));
  }
  return { mean, deviation };
}

export function standardise(frames: Float32Array, by: Standardiser): Float32Array {
  const bands = by.mean.length;
  return frames.map((v, i) => (v - by.mean[i % bands]) / by.deviation[i % bands]);
}

/** Sum over recordings of squared errors of "as it is now" `ahead` frames later, per number. */
export function persistenceError(recordings: readonly Float32Array[], bands: number, ahead: number): number {
  let sum = 0;
  let count = 0;
  for (const x of recordings) {
    for (let i = ahead * bands; i < x.length; i++) sum += (x[i] - x[i - ahead * bands]) ** 2;
    count += Math.max(0, x.length - ahead * bands);
  }
  return sum / count;
}

/** Mean squared error of forecasts: row t of `forecasts` speaks of row t + ahead; rows before `from` are left out. */
export function forecastError(
  frames: Float32Array,
  forecasts: Float32Array,
  bands: number,
  ahead: number,
  from = 0,
): { sum: number; count: number } {
  let sum = 0;
  const last = frames.length / bands - ahead;
  for (let t = from; t < last; t++) {
    for (let b = 0; b < bands; b++) sum += (frames[(t + ahead) * bands + b] - forecasts[t * bands + b]) ** 2;
  }
  return { sum, count: Math.max(0, last - from) * bands };
}

/** Share of values inside [low, high]. */
export function coverage(values: ArrayLike<number>, low: ArrayLike<number>, high: ArrayLike<number>): number {
  let inside = 0;
  for (let i = 0; i < values.length; i++) if (values[i] >= low[i] && values[i] <= high[i]) inside++;
  return inside / values.length;
}
