/** From a frame's logits and forecast to the numbers people ask for. */
import { HORIZONS } from '../data/example.js';
import { FEATURES, MEL_BANDS } from '../features/index.js';
import { HAZARD_BINS, HAZARD_EDGES } from '../hazard.js';
import { END_AT, type SpeechCalibration, START_AT } from './config.js';

/** Milliseconds within which ends and starts are told. */
export const LEADS = [100, 200, 500] as const;

/**
 * Columns of a track row, one row a 10 ms hop, in order:
 *   speech, speech_50 … speech_1000   P(somebody speaks now, and that much later)
 *   end_100, end_200, end_500         P(speech ends within the lead), given that somebody speaks now
 *   start_100, start_200, start_500   P(speech starts within the lead), given that nobody speaks now
 *   ends_in                           expected milliseconds until the end, given that somebody speaks; at most 2000
 *   surprise                          how much less likely the hop's spectrum was than forecast 10 ms ago, in nats a band:
 *                                     ½·(mean squared error in standard deviations − 1); 0 as expected, NaN before a forecast
 */
export const TRACKS = [
  'speech',
  'speech_50',
  'speech_100',
  'speech_200',
  'speech_500',
  'speech_1000',
  'end_100',
  'end_200',
  'end_500',
  'start_100',
  'start_200',
  'start_500',
  'ends_in',
  'surprise',
] as const;

export type TrackName = (typeof TRACKS)[number];
export type SpeechFrame = Record<TrackName, number>;

/** Rows of tracks, one a hop. */
export interface SpeechTracks {
  /** Index of the first row since the start of the stream. */
  first: number;
  count: number;
  /** [count, TRACKS.length] */
  values: Float32Array;
}

/** One track as an array of its own. */
export function trackOf({ count, values }: SpeechTracks, name: TrackName): Float32Array {
  const column = TRACKS.indexOf(name);
  const out = new Float32Array(count);
  for (let i = 0; i < count; i++) out[i] = values[i * TRACKS.length + column];
  return out;
}

/** Row `i` by names. */
export function frameAt({ values }: SpeechTracks, i: number): SpeechFrame {
  return Object.fromEntries(TRACKS.map((name, c) => [name, values[i * TRACKS.length + c]])) as SpeechFrame;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/**
 * Writes a row of tracks.
 *
 * @param logits at `from`, EVENT_LOGITS of them
 * @param surprise of the same hop, see `surpriseOf`
 */
export function writeTracks(
  out: Float32Array,
  at: number,
  logits: ArrayLike<number>,
  from: number,
  calibration: SpeechCalibration,
  surprise: number,
): void {
  HORIZONS.forEach((_, h) => {
    const { scale, offset } = calibration.speech[h];
    out[at + h] = sigmoid(scale * logits[from + h] + offset);
  });
  const survival = new Float64Array(HAZARD_BINS + 1);
  const within = (first: number, { scale, offset }: { scale: number; offset: number }, to: number) => {
    survival[0] = 1;
    for (let k = 0; k < HAZARD_BINS; k++) {
      // 1 − σ(x) = σ(−x)
      survival[k + 1] = survival[k] * sigmoid(-(scale * logits[from + first + k] + offset));
    }
    LEADS.forEach((ms, i) => {
      out[to + i] = 1 - survivalAt(survival, ms / 10);
    });
  };
  within(START_AT, calibration.start, at + HORIZONS.length + LEADS.length);
  within(END_AT, calibration.end, at + HORIZONS.length);
  let expected = 0;
  for (let k = 0; k < HAZARD_BINS; k++) {
    expected += ((HAZARD_EDGES[k + 1] - HAZARD_EDGES[k]) * (survival[k] + survival[k + 1])) / 2;
  }
  out[at + HORIZONS.length + 2 * LEADS.length] = expected * 10;
  out[at + HORIZONS.length + 2 * LEADS.length + 1] = surprise;
}

/** Survival after `frames`, falling geometrically inside a bin. */
function survivalAt(survival: Float64Array, frames: number): number {
  let k = 0;
  while (HAZARD_EDGES[k + 1] <= frames) k++;
  const share = (frames - HAZARD_EDGES[k]) / (HAZARD_EDGES[k + 1] - HAZARD_EDGES[k]);
  return share === 0 ? survival[k] : survival[k] ** (1 - share) * survival[k + 1] ** share;
}

/** What one hop forecasts of the next: [80] log-mel as (ln + 8)/4 and [80] −2 ln σ, from the offset `at`. */
export interface NextHop {
  mean: ArrayLike<number>;
  logPrecision: ArrayLike<number>;
  at: number;
}

/**
 * Surprise of the feature row [83] at `from`, forecast by `next` one hop before.
 *
 * @param interval calibrated half width of the 80 % interval; errors are measured in the deviations it implies
 */
export function surpriseOf(next: NextHop, features: ArrayLike<number>, from: number, interval: number): number {
  const { mean, logPrecision, at } = next;
  const level = features[from + FEATURES - 1];
  let sum = 0;
  for (let b = 0; b < MEL_BANDS; b++) {
    const error = features[from + b] + level - mean[at + b];
    sum += error * error * Math.exp(logPrecision[at + b]);
  }
  return 0.5 * (((NORMAL_90 / interval) ** 2 * sum) / MEL_BANDS - 1);
}

/** Nine tenths of a normal variable lie below this many deviations. */
const NORMAL_90 = 1.2815515655446004;
