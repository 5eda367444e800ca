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
  /** Frames from each labelled onset to the first frame that says speech; Infinity when none does before it ends. */
  onset: number[];
  /**
   * Frames from each labelled offset to the frame from which on silence is said; negative when the score fell before the
   * label did. Offsets of segments that were never found are left out.
   */
  offset: number[];
}

/**
 * Delay at every labelled onset and offset for one threshold (a score at or above it says speech).
 *
 * A delay of d means that d whole frames passed first. After an offset the score must stay below for the rest of the
 * silence, of which at most `settle` frames are looked at. Segments and silences shorter than `minimum` frames are not
 * asked about.
 */
export function delays(
  scores: ArrayLike<number>,
  labels: Uint8Array,
  threshold: number,
  minimum = 10,
  settle = 100,
): Delays {
  const out: Delays = { onset: [], offset: [] };
  const endOf = (from: number) => {
    let end = from;
    while (end < labels.length && labels[end] === labels[from]) end++;
    return end;
  };
  for (let i = 1, start = 0; i < labels.length; i++) {
    if (labels[i] === labels[i - 1]) continue;
    const end = endOf(i);
    if (end - i >= minimum) {
      if (labels[i] === 1) {
        let j = i;
        while (j < end && scores[j] < threshold) j++;
        out.onset.push(j < end ? j - i : Number.POSITIVE_INFINITY);
      } else {
        let last = Math.min(end, i + settle) - 1;
        while (last >= start && scores[last] < threshold) last--;
        if (last >= start) out.offset.push(last + 1 - i);
      }
    }
    start = i;
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
