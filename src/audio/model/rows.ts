/** From passes of the network to rows of tracks: the same for live sessions and whole recordings. */
import { FEATURES, MEL_BANDS } from '../features/index.js';
import { EVENT_LOGITS } from './config.js';
import type { SpeechModel } from './model.js';
import type { PassOutput } from './pass.js';
import { surpriseOf, TRACKS, writeTracks } from './tracks.js';

/** The last hop's forecast of the next, which a stream carries from pass to pass. */
export interface Pending {
  mean: Float32Array;
  logPrecision: Float32Array;
}

/**
 * Tracks of `count` rows of sequence `index` of a pass, whose length was `length`.
 *
 * @param features of the pass, [batch, length, 83]
 * @param pending forecast made before the first row; undefined at the start of a stream
 * @returns values [count, TRACKS.length], and the forecast made by the last row
 */
export function rowsToTracks(
  { calibration }: SpeechModel,
  output: PassOutput,
  features: Float32Array,
  { index, length, count }: { index: number; length: number; count: number },
  pending: Pending | undefined,
): { values: Float32Array; pending: Pending | undefined } {
  const values = new Float32Array(count * TRACKS.length);
  const { logits, mean, logPrecision } = output;
  const first = index * length;
  for (let i = 0; i < count; i++) {
    const row = first + i;
    const next = i > 0 ? { mean, logPrecision, at: (row - 1) * MEL_BANDS } : pending && { ...pending, at: 0 };
    const surprise = next ? surpriseOf(next, features, row * FEATURES, calibration.interval[0]) : Number.NaN;
    writeTracks(values, i * TRACKS.length, logits, row * EVENT_LOGITS, calibration, surprise);
  }
  if (count === 0) return { values, pending };
  const at = (first + count - 1) * MEL_BANDS;
  const last = (a: PassOutput['mean']) => new Float32Array(a.subarray(at, at + MEL_BANDS));
  return { values, pending: { mean: last(mean), logPrecision: last(logPrecision) } };
}
