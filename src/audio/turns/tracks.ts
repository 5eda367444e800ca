/** From the turn network's logits to the numbers people ask for. */
import { BACKCHANNEL_AT, NEXT_AT, type TurnCalibration } from './config.js';

/**
 * Columns of a track row, one row a frame of 20 ms, in order:
 *   a_200 … a_2000, b_200 … b_2000   P(the side talks for most of 0–200, 200–600, 600–1200, 1200–2000 ms from now)
 *   backchannel_a, backchannel_b     P(a back-channel of the side begins within 500 ms)
 *   shift                            while both are silent: P(who spoke last is not the next to speak); NaN otherwise
 */
export const TURN_TRACKS = [
  'a_200',
  'a_600',
  'a_1200',
  'a_2000',
  'b_200',
  'b_600',
  'b_1200',
  'b_2000',
  'backchannel_a',
  'backchannel_b',
  'shift',
] as const;

export type TurnTrackName = (typeof TURN_TRACKS)[number];

export interface TurnTracks {
  /** Index of the first frame since the start of the conversation. */
  first: number;
  count: number;
  /** [count, TURN_TRACKS.length] */
  values: Float32Array;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** Who talks, and who talked alone last; what the shift is told from. */
export interface Floor {
  silent: boolean;
  /** 0 or 1; undefined before anybody talked alone. */
  last: 0 | 1 | undefined;
}

/**
 * Writes a row of tracks from the logits of both orders: the network heard the sides as A, B and as B, A, and what it says
 * is the mean of the two, so that names mean nothing.
 *
 * @param ab,ba logits as A, B and as B, A, from these offsets
 */
export function writeTurnTracks(
  out: Float32Array,
  at: number,
  logits: ArrayLike<number>,
  ab: number,
  ba: number,
  { silent, last }: Floor,
  calibration: TurnCalibration,
): void {
  for (let k = 0; k < BACKCHANNEL_AT; k++) {
    const { scale, offset } = calibration.projection[k % 4];
    out[at + k] = sigmoid(scale * 0.5 * (logits[ab + k] + logits[ba + ((k + 4) % 8)]) + offset);
  }
  for (const s of [0, 1]) {
    const { scale, offset } = calibration.backchannel;
    const mean = 0.5 * (logits[ab + BACKCHANNEL_AT + s] + logits[ba + BACKCHANNEL_AT + 1 - s]);
    out[at + BACKCHANNEL_AT + s] = sigmoid(scale * mean + offset);
  }
  const toB = 0.5 * (logits[ab + NEXT_AT] - logits[ba + NEXT_AT]);
  const { scale, offset } = calibration.shift;
  out[at + NEXT_AT] = silent && last !== undefined ? sigmoid(scale * (last === 0 ? toB : -toB) + offset) : Number.NaN;
}

/** One track as an array of its own. */
export function turnTrackOf({ count, values }: TurnTracks, name: TurnTrackName): Float32Array {
  const column = TURN_TRACKS.indexOf(name);
  return Float32Array.from({ length: count }, (_, i) => values[i * TURN_TRACKS.length + column]);
}
