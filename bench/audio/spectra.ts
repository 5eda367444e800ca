/**
 * Log-mel forecasts: persistence and ridge regression on the last 16 frames, the floors of the spectral outlook, and the
 * speech model.
 */
import { join } from 'node:path';
import { Composer } from '../../src/audio/data/compose.js';
import { loadLibrary } from '../../src/audio/data/pack.js';
import { readCalls, turnStatistics } from '../../src/audio/data/turns.js';
import { loadResampler } from '../../src/audio/decode/index.js';
import { extractAll, type Frames, MEL_BANDS } from '../../src/audio/features/index.js';
import { Ridge } from '../../src/audio/floors/ridge.js';
import { forecastError, persistenceError, standardise, standardiser } from '../../src/audio/metrics/index.js';
import { forecastSpectra, type SpeechModel } from '../../src/audio/model/index.js';
import { readRecordings } from './protocol.js';

const CONTEXT = 16;
/** Composed training streams of 20 to 30 s. */
const STREAMS = 100;
export const AHEAD = [1, 3, 5, 10, 20, 50];

/**
 * Weights for every lead, from standardised recordings [frames, 80]; every `step`-th frame is a row. The inputs are the
 * same for all leads, so the normal equations are gathered and factorised once.
 */
export function fitRidge(recordings: readonly Float32Array[], step: number, lambda = 100): Float64Array[] {
  const inputs = CONTEXT * MEL_BANDS;
  const outputs = AHEAD.length * MEL_BANDS;
  const ridge = new Ridge(inputs, outputs);
  const farthest = Math.max(...AHEAD);
  const y = new Float32Array(outputs);
  for (const x of recordings) {
    const frames = x.length / MEL_BANDS;
    for (let t = CONTEXT - 1; t + farthest < frames; t += step) {
      AHEAD.forEach((ahead, a) => {
        y.set(x.subarray((t + ahead) * MEL_BANDS, (t + ahead + 1) * MEL_BANDS), a * MEL_BANDS);
      });
      ridge.add(x, (t - CONTEXT + 1) * MEL_BANDS, y, 0);
    }
  }
  const all = ridge.solve(lambda);
  return AHEAD.map((_, a) => {
    const weights = new Float64Array((inputs + 1) * MEL_BANDS);
    for (let i = 0; i <= inputs; i++) {
      const from = i * outputs + a * MEL_BANDS;
      weights.set(all.subarray(from, from + MEL_BANDS), i * MEL_BANDS);
    }
    return weights;
  });
}

/** Forecasts [frames, 80]; rows before the context is full are zeros (the mean). */
export function forecast(x: Float32Array, weights: Float64Array): Float32Array {
  const inputs = CONTEXT * MEL_BANDS;
  const out = new Float32Array(x.length);
  const row = new Float64Array(MEL_BANDS);
  for (let t = CONTEXT - 1; t < x.length / MEL_BANDS; t++) {
    for (let b = 0; b < MEL_BANDS; b++) row[b] = weights[inputs * MEL_BANDS + b];
    for (let i = 0, at = (t - CONTEXT + 1) * MEL_BANDS; i < inputs; i++) {
      const v = x[at + i];
      for (let b = 0, w = i * MEL_BANDS; b < MEL_BANDS; b++) row[b] += weights[w + b] * v;
    }
    out.set(row, t * MEL_BANDS);
  }
  return out;
}

export interface SpectralFloor {
  aheadMs: number;
  persistence: number;
  ridge: number;
  /** Error of forecasting the training mean: the scale of the others. */
  mean: number;
  /** The speech model, and the share of its 80 % intervals that held. */
  model?: number;
  coverage?: number;
}

/** The model's forecasts of the same recordings, in the same scale. */
export async function measureModelSpectra(
  model: SpeechModel,
  floors: readonly SpectralFloor[],
  train: readonly Float32Array[],
  test: readonly Frames[],
): Promise<SpectralFloor[]> {
  const by = standardiser(train, MEL_BANDS);
  const sums = AHEAD.map(() => ({ square: 0, held: 0, count: 0 }));
  for (const { features, logMel, count } of test) {
    const { mean, halfWidth } = await forecastSpectra(model, features);
    AHEAD.forEach((ahead, a) => {
      const sum = sums[a];
      for (let t = CONTEXT - 1; t + ahead < count; t++) {
        for (let b = 0; b < MEL_BANDS; b++) {
          const i = (t * AHEAD.length + a) * MEL_BANDS + b;
          const error = logMel[(t + ahead) * MEL_BANDS + b] - mean[i];
          sum.square += (error / by.deviation[b]) ** 2;
          sum.held += Math.abs(error) <= halfWidth[i] ? 1 : 0;
          sum.count++;
        }
      }
    });
  }
  return floors.map((floor, a) => {
    const { square, held, count } = sums[a];
    return { ...floor, model: square / count, coverage: held / count };
  });
}

export function measureSpectra(
  train: readonly Float32Array[],
  test: readonly Float32Array[],
  step: number,
): SpectralFloor[] {
  const by = standardiser(train, MEL_BANDS);
  const x = train.map((r) => standardise(r, by));
  const y = test.map((r) => standardise(r, by));
  const mean = y.reduce((s, r) => s + r.reduce((a, v) => a + v * v, 0), 0) / y.reduce((s, r) => s + r.length, 0);
  const fitted = fitRidge(x, step);
  return AHEAD.map((ahead, a) => {
    const weights = fitted[a];
    let sum = 0;
    let count = 0;
    for (const r of y) {
      const error = forecastError(r, forecast(r, weights), MEL_BANDS, ahead, CONTEXT - 1);
      sum += error.sum;
      count += error.count;
    }
    return { aheadMs: ahead * 10, persistence: persistenceError(y, MEL_BANDS, ahead), ridge: sum / count, mean };
  });
}

/** Floors and, if there is one, the model on the hand-labelled recordings, everything fitted on composed training streams. */
export async function spectraRows(root: string, model?: SpeechModel): Promise<SpectralFloor[]> {
  await loadResampler();
  const test = (await readRecordings(join(root, 'dev', 'ami_excerpts'))).map((r) => extractAll(r.samples));
  const packs = ['wakeword', 'fsdd', 'asterisk_en', 'train_room', 'train_music_moh'];
  const library = await loadLibrary({ root, split: 'train', packs });
  const turns = turnStatistics(readCalls(join(root, 'swb_turns', 'train.jsonl.gz')));
  const composer = new Composer(library, turns, { seed: 11 });
  const train = Array.from({ length: STREAMS }, (_, i) => extractAll(composer.compose(i).samples).logMel);
  const recordings = test.map((r) => r.logMel);
  const floors = measureSpectra(train, recordings, 10);
  return model ? measureModelSpectra(model, floors, train, test) : floors;
}

export function spectraTable(rows: readonly SpectralFloor[]): string {
  const p = (v: number | undefined) => (v === undefined ? '–' : v.toFixed(4));
  return [
    '| ahead ms | persistence | ridge on 16 frames | training mean | model | model ÷ ridge | 80 % intervals held |',
    '|---|---|---|---|---|---|---|',
    ...rows.map(
      (r) =>
        `| ${r.aheadMs} | ${p(r.persistence)} | ${p(r.ridge)} | ${p(r.mean)} | ${p(r.model)} | ` +
        `${p(r.model && r.model / r.ridge)} | ${p(r.coverage)} |`,
    ),
  ].join('\n');
}
