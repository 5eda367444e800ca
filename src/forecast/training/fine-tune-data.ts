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
/** Tails judged at most, the latest first: more would cost time and change little. */
const MOST_TAILS = 256;

export interface FineTuneData {
  /** All series without their tails. */
  corpus: Corpus;
  part: PartOptions;
  tails: { part: PartOptions; buffers: PartBuffers; series: number; steps: number };
}

/**
 * The last `tail` values of every series long enough are held out; the rest is the corpus. A tail is two seasons, or two
 * patches without one, at most a fifth of the series.
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
  const tails = cleaned.map(({ values, season }) => {
    const wanted = Math.min(season > 1 ? 2 * season : 2 * config.patch, LONGEST / 4);
    const steps = Math.min(wanted, Math.floor(values.length / 5));
    return values.length - steps >= SHORTEST && values.subarray(values.length - steps).some(isNumber) ? steps : 0;
  });
  const corpus = corpusOf(
    cleaned.map((one, i) => ({ ...one, values: one.values.subarray(0, one.values.length - tails[i]!) })),
  );
  const longest = corpus.length.reduce((a, b) => Math.max(a, b), 0);
  const judged = tails.flatMap((steps, i) => (steps > 0 ? [i] : [])).slice(0, MOST_TAILS);
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
    longestRollout: Math.max(2, Math.ceil(Math.max(...tails) / patch)),
    lookAhead: 0.2,
  };
  const steps = judged.reduce((sum, i) => sum + tails[i]!, 0);
  return {
    corpus,
    part,
    tails: { ...tailWindows(cleaned, tails, judged, part, config), series: judged.length, steps },
  };
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
  tails: readonly number[],
  judged: readonly number[],
  { lookAhead: _, ...training }: PartOptions,
  config: ForecasterConfig,
): { part: PartOptions; buffers: PartBuffers } {
  const { patch } = config;
  const ahead = (i: number) => Math.ceil(tails[i]! / patch);
  const past = (i: number) => Math.min(Math.ceil((series[i]!.values.length - tails[i]!) / patch), LONGEST / patch);
  const tokens = Math.max(...judged.map((i) => past(i) + ahead(i) - 1));
  const part: PartOptions = { ...training, lookAhead: 0, length: tokens * patch, windows: judged.length };
  const buffers = allocatePart(part);
  const state = new FeatureState(config);
  const [F, C] = [buffers.features, buffers.candidates].map((a) => a.length / (judged.length * tokensOf(part)));
  let count = 0;
  judged.forEach((i, row) => {
    const { values, season, frequencyClass } = series[i]!;
    const end = values.length - tails[i]!;
    const used = past(i) + ahead(i) - 1;
    state.reset(season);
    let next = end - past(i) * patch;
    for (let j = 0; j < used; j++) {
      for (let p = 0; p < patch; p++, next++) state.push(next >= 0 && next < end ? values[next]! : Number.NaN);
      const token = row * tokens + j;
      const ready = state.emit(buffers.features, token * F!, buffers.candidates, token * C!);
      for (let p = 0; p < patch; p++) {
        const value = ready && j >= past(i) - 1 ? (values[next + p] ?? Number.NaN) : Number.NaN;
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
