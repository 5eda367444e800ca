/** Targets of turn models on 50 Hz activity of two sides: projection bins, shifts and holds, back-channels. */
import { IGNORE } from '../metrics/transitions.js';
import { type Call, isBackchannel, TURN_RATE } from './turns.js';

/** Projection bins in frames of 20 ms: 0–200, 200–600, 600–1200, 1200–2000 ms (Ekstedt & Skantze 2022). */
export const VAP_BINS: readonly (readonly [number, number])[] = [
  [0, 10],
  [10, 30],
  [30, 60],
  [60, 100],
];
/** Frames a projection reaches ahead: 2 s. */
export const VAP_HORIZON = 100;

/**
 * For every frame t, side s and bin [a, b): 1 if the side is active in at least half of the frames t+1+a … t+b.
 * The frame t itself is history. [frames, sides · bins] with the four bins of side A first; IGNORE where the bin reaches
 * over the end.
 */
export function vapLabels(activity: readonly [Uint8Array, Uint8Array]): Uint8Array {
  const frames = activity[0].length;
  const bins = VAP_BINS.length;
  const out = new Uint8Array(frames * 2 * bins).fill(IGNORE);
  for (let s = 0; s < 2; s++) {
    const sums = new Uint32Array(frames + 1);
    for (let t = 0; t < frames; t++) sums[t + 1] = sums[t] + activity[s][t];
    for (let b = 0; b < bins; b++) {
      const [from, to] = VAP_BINS[b];
      for (let t = 0; t + to < frames; t++) {
        out[t * 2 * bins + s * bins + b] = 2 * (sums[t + 1 + to] - sums[t + 1 + from]) >= to - from ? 1 : 0;
      }
    }
  }
  return out;
}

/** A silence of both sides between talk of one and talk of one. */
export interface SilenceEvent {
  /** First silent frame, and the first frame that is not. */
  start: number;
  end: number;
  /** Who spoke before: 0 or 1. */
  before: 0 | 1;
  kind: 'shift' | 'hold';
}

/**
 * Shifts and holds: silences of both sides of at least `minimum` frames, where one side alone was active in the `window`
 * frames before (and only it), and one side alone is active in the `window` frames after the silence (Ekstedt & Skantze
 * 2022, with their 1 s windows).
 */
export function silenceEvents(
  activity: readonly [Uint8Array, Uint8Array],
  minimum = 0.2 * TURN_RATE,
  window = TURN_RATE,
): SilenceEvent[] {
  const [a, b] = activity;
  const frames = a.length;
  const out: SilenceEvent[] = [];
  for (let start = 1; start < frames; start++) {
    if (a[start] || b[start] || !(a[start - 1] || b[start - 1])) continue;
    let end = start;
    while (end < frames && !a[end] && !b[end]) end++;
    if (end < frames && end - start >= minimum && start >= window && end + window <= frames) {
      const before = onlySide(a, b, start - window, start);
      const after = onlySide(a, b, end, end + window);
      if (before !== undefined && after !== undefined) {
        out.push({ start, end, before, kind: before === after ? 'hold' : 'shift' });
      }
    }
    start = end;
  }
  return out;
}

function onlySide(a: Uint8Array, b: Uint8Array, from: number, to: number): 0 | 1 | undefined {
  let anyA = false;
  let anyB = false;
  for (let t = from; t < to; t++) {
    anyA ||= a[t] === 1;
    anyB ||= b[t] === 1;
  }
  return anyA === anyB ? undefined : anyA ? 0 : 1;
}

/**
 * Whether a back-channel of each side begins within the next `within` frames: talk of at most 1 s whose words are all
 * back-channels, with no other talk of that side in the second before and after. [frames, 2].
 */
export function backchannelLabels(call: Call, frames: number, within = 0.5 * TURN_RATE): Uint8Array {
  const out = new Uint8Array(frames * 2);
  call.sides.forEach((side, s) => {
    side.forEach((talk, i) => {
      const alone =
        (i === 0 || talk.from - side[i - 1].to >= 1000) &&
        (i + 1 === side.length || side[i + 1].from - talk.to >= 1000);
      if (!isBackchannel(talk) || talk.to - talk.from > 1000 || !alone) return;
      const onset = Math.ceil((talk.from * TURN_RATE) / 1000 - 0.5);
      for (let t = Math.max(0, onset - within); t < Math.min(onset, frames); t++) out[t * 2 + s] = 1;
    });
  });
  return out;
}
