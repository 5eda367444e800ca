/** A user's series as a small training corpus, and their tails as fixed windows to be judged by. */
import { AdderError } from '../../platform/errors.js';
import type { ForecasterConfig } from '../model/config.js';
import { FeatureState } from '../model/features.js';
import { frequencyClass } from '../model/frequency.js';
import { allocatePart, type PartBuffers, type PartOptions, tokensOf } from './batch.js';
import type { Corpus } from './corpus.js';

/** One series to be fine-tuned on. */
export interface FineTuneSeries {
  /** On a regular grid; NaN is missing. */
  values: ArrayLike<number>;
  season: number;
  frequency?: string | undefined;
}

/** Longest window; what training used. */
const LONGEST = 1152;
/** Values before the tail that a series needs to be judged, and that the corpus needs at all. */
const SHORTEST = 16;
/** Windows that a tail is cut into where it is long enough: one alone is a small sample. */
const WINDOWS = 4;
/** Windows judged at most, over all series: more would cost time and change little. */
const MOST_WINDOWS = 256;

export interface FineTuneData {
  /** All series without their tails. */
  corpus: Corpus;
  part: PartOptions;
  tails: { part: PartOptions; buffers: PartBuffers; series: number; steps: number };
}

/** One forecast that is judged: of the series with this index, of `steps` values from `end` on. */
interface TailWindow {
  series: number;
  end: number;
  steps: number;
}

/**
 * The tail of every series long enough is held out; the rest is the corpus. A tail is up to four windows of two seasons,
 * or of two patches without a season, at most a fifth of the series.
 *
 * @param tokens tokens of one training batch, about
 * @throws AdderError `NO_VALUES` or `TOO_SHORT` if there is nothing to train on or to be judged by
 */
export function fineTuneData(
  series: readonly FineTuneSeries[],
  config: ForecasterConfig,
  tokens: number,
): FineTuneData {
  const cleaned = series.map(clean);
  const tails = cleaned.map(({ values, season }, i) => tailOf(values, season, config.patch, i));
  const corpus = corpusOf(
    cleaned.map((one, i) => ({ ...one, values: one.values.subarray(0, tails[i]![0]?.end ?? one.values.length) })),
  );
  const longest = corpus.length.reduce((a, b) => Math.max(a, b), 0);
  const judged = tails.flat().slice(0, MOST_WINDOWS);
  if (judged.length === 0 || longest < SHORTEST) {
    throw new AdderError({
      code: 'TOO_SHORT',
      message: `no series has ${Math.ceil((SHORTEST * 5) / 4)} values, so there is nothing to learn from and to be judged by`,
      where: { field: 'series' },
      fix: 'give longer series, or forecast without fine-tuning',
    });
  }
  const { patch, lags } = config;
  const length = patch * Math.max(2, Math.min(Math.floor(LONGEST / patch), Math.ceil((longest + patch) / patch)));
  const part: PartOptions = {
    patch,
    lags,
    length,
    windows: Math.max(4, Math.min(256, Math.round((tokens * patch) / length))),
    synthetic: 0,
    augment: true,
    full: 0.6,
    shortest: Math.min(12, longest),
    weighting: 'long',
    shortestSeries: Math.min(SHORTEST, longest),
    rollout: 0.3,
    longestRollout: Math.max(2, Math.ceil(Math.max(...judged.map(({ steps }) => steps)) / patch)),
    lookAhead: 0.2,
  };
  return {
    corpus,
    part,
    tails: {
      ...tailWindows(cleaned, judged, part, config),
      series: new Set(judged.map((window) => window.series)).size,
      steps: judged.reduce((sum, { steps }) => sum + steps, 0),
    },
  };
}

/** The windows of a series' tail, the earliest first; none where the series is too short or the tail holds no value. */
function tailOf(values: Float64Array, season: number, patch: number, series: number): TailWindow[] {
  const room = Math.floor(values.length / 5);
  const steps = Math.min(season > 1 ? 2 * season : 2 * patch, LONGEST / 4, room);
  const count = steps > 0 ? Math.min(WINDOWS, Math.floor(room / steps)) : 0;
  if (values.length - count * steps < SHORTEST) return [];
  return Array.from({ length: count }, (_, k) => ({ series, end: values.length - (count - k) * steps, steps }));
}

const isNumber = (v: number) => !Number.isNaN(v);

/** Without missing values at the ends. */
function clean({ values, season, frequency }: FineTuneSeries, index: number) {
  const all = Float64Array.from(values);
  const wrong = all.findIndex((v) => v === Number.POSITIVE_INFINITY || v === Number.NEGATIVE_INFINITY);
  if (wrong >= 0 || !(Number.isFinite(season) && season >= 1)) {
    throw new AdderError({
      code: wrong >= 0 ? 'NOT_FINITE' : 'BAD_SEASON',
      message: wrong >= 0 ? `value ${wrong} is infinite` : `a season is a number of steps from 1, not ${season}`,
      where: { field: `series[${index}]` },
      fix: wrong >= 0 ? 'mark missing values as NaN' : 'give 1 where there is no season',
    });
  }
  const from = all.findIndex(isNumber);
  const to = all.findLastIndex(isNumber) + 1;
  if (from < 0) {
    throw new AdderError({
      code: 'NO_VALUES',
      message: 'a series holds no value',
      where: { field: `series[${index}]` },
      fix: 'leave it out',
    });
  }
  return { values: all.subarray(from, to), season: Math.round(season), frequencyClass: frequencyClass(frequency) };
}

function corpusOf(series: { values: Float64Array; season: number; frequencyClass: number }[]): Corpus {
  const count = series.length;
  const total = series.reduce((sum, { values }) => sum + values.length, 0);
  const corpus: Corpus = {
    datasets: ['series'],
    values: new Float32Array(total),
    start: new Uint32Array(count),
    length: new Uint32Array(count),
    season: new Uint32Array(count),
    frequencyClass: new Uint8Array(count),
    dataset: new Uint16Array(count),
    validation: new Uint8Array(count),
  };
  let at = 0;
  series.forEach(({ values, season, frequencyClass }, i) => {
    corpus.values.set(standardised(values), at);
    corpus.start[i] = at;
    corpus.length[i] = values.length;
    corpus.season[i] = season;
    corpus.frequencyClass[i] = frequencyClass;
    at += values.length;
  });
  return corpus;
}

/** (x − mean)/sd over the observed values, which no feature can see and which keeps 1e9 ± 1 exact in float32. */
function standardised(values: Float64Array): Float64Array {
  const seen = values.filter(isNumber);
  const mean = seen.reduce((a, b) => a + b, 0) / Math.max(1, seen.length);
  const variance = seen.reduce((sum, v) => sum + (v - mean) ** 2, 0) / Math.max(1, seen.length);
  const scale = variance > 0 ? 1 / Math.sqrt(variance) : 0;
  return values.map((v) => (v - mean) * scale);
}

/** Each tail as it would be forecast: its history ends at a patch boundary, its own patches are hidden but are targets. */
function tailWindows(
  series: { values: Float64Array; season: number; frequencyClass: number }[],
  judged: readonly TailWindow[],
  { lookAhead: _, ...training }: PartOptions,
  config: ForecasterConfig,
): { part: PartOptions; buffers: PartBuffers } {
  const { patch } = config;
  const patches = ({ end, steps }: TailWindow) => {
    const past = Math.min(Math.ceil(end / patch), LONGEST / patch);
    return { past, used: past + Math.ceil(steps / patch) - 1 };
  };
  const tokens = Math.max(...judged.map((window) => patches(window).used));
  const part: PartOptions = { ...training, lookAhead: 0, length: tokens * patch, windows: judged.length };
  const buffers = allocatePart(part);
  const state = new FeatureState(config);
  const [F, C] = [buffers.features, buffers.candidates].map((a) => a.length / (judged.length * tokensOf(part)));
  let count = 0;
  judged.forEach((window, row) => {
    const { values, season, frequencyClass } = series[window.series]!;
    const { end } = window;
    const stop = end + window.steps;
    const { past, used } = patches(window);
    state.reset(season);
    let next = end - past * patch;
    for (let j = 0; j < used; j++) {
      for (let p = 0; p < patch; p++, next++) state.push(next >= 0 && next < end ? values[next]! : Number.NaN);
      const token = row * tokens + j;
      const ready = state.emit(buffers.features, token * F!, buffers.candidates, token * C!);
      for (let p = 0; p < patch; p++) {
        const value = ready && j >= past - 1 && next + p < stop ? values[next + p]! : Number.NaN;
        if (Number.isNaN(value)) continue;
        buffers.target[token * patch + p] = state.toUnits(value);
        buffers.weights[token * patch + p] = 1;
        count++;
      }
    }
    buffers.lengths[row] = used;
    buffers.frequency.fill(frequencyClass, row * tokens, row * tokens + used);
  });
  buffers.counts[0] = count;
  return { part, buffers };
}
