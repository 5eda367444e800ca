/** Measures of change on a grid of frames: labels ahead, ends within a horizon, and delays at onsets and offsets. */

/** Value that metrics leave out: past the end, or not in question. */
export const IGNORE = 255;

/** Label `ahead` frames later; IGNORE where the recording has ended. */
export function labelAhead(labels: Uint8Array, ahead: number): Uint8Array {
  const out = new Uint8Array(labels.length).fill(IGNORE);
  if (ahead < labels.length) out.set(labels.subarray(ahead));
  return out;
}

/**
 * Whether the state `from` (1 speech, 0 silence) changes within the next `within` frames; IGNORE where the frame is not
 * in that state or the recording ends before that is known.
 */
export function changeWithin(labels: Uint8Array, from: 0 | 1, within: number): Uint8Array {
  const out = new Uint8Array(labels.length).fill(IGNORE);
  let change = Number.POSITIVE_INFINITY;
  for (let i = labels.length - 1; i >= 0; i--) {
    if (i + 1 < labels.length && labels[i + 1] !== labels[i]) change = i + 1;
    if (labels[i] !== from) continue;
    if (change - i <= within) out[i] = 1;
    else if (i + within < labels.length) out[i] = 0;
  }
  return out;
}

export interface Delays {
  /** Frames from each labelled change to the first frame that says so; Infinity when none does before the next change. */
  onset: number[];
  offset: number[];
}

/**
 * Delay at every labelled onset and offset for one threshold.
 *
 * An onset at frame i (labels[i−1] = 0, labels[i] = 1) is found by the first score ≥ threshold in its segment; an offset
 * by the first score < threshold in the silence after it. A delay of d means d whole frames passed first. Segments and
 * silences shorter than `minimum` frames are not asked about.
 */
export function delays(scores: ArrayLike<number>, labels: Uint8Array, threshold: number, minimum = 10): Delays {
  const out: Delays = { onset: [], offset: [] };
  for (let i = 1; i < labels.length; i++) {
    if (labels[i] === labels[i - 1]) continue;
    let end = i;
    while (end < labels.length && labels[end] === labels[i]) end++;
    if (end - i < minimum) continue;
    const speech = labels[i] === 1;
    let found = Number.POSITIVE_INFINITY;
    for (let j = i; j < end; j++) {
      if (scores[j] >= threshold !== speech) continue;
      found = j - i;
      break;
    }
    (speech ? out.onset : out.offset).push(found);
  }
  return out;
}

/** Middle value (mean of the two middle ones); Infinity counts as the largest; NaN of nothing. */
export function median(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
