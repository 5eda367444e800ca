/**
 * Log-mel forecasts: persistence and ridge regression on the last 16 frames, the floors of the spectral outlook.
 *
 *   node dist/bench/audio/spectra.js --data DIR [--out FILE]      DIR: the speech data with `train`, `dev/ami_excerpts`
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { clipSamples, loadPack } from '../../src/audio/data/pack.js';
import { loadResampler } from '../../src/audio/decode/index.js';
import { extractAll, MEL_BANDS } from '../../src/audio/features/index.js';
import { Ridge } from '../../src/audio/floors/ridge.js';
import { forecastError, persistenceError, standardise, standardiser } from '../../src/audio/metrics/index.js';
import { parseCommandLine } from '../../src/commands/command.js';
import { AdderError } from '../../src/platform/errors.js';
import { readRecordings } from './protocol.js';

const CONTEXT = 16;
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
}

export function measureSpectra(
  train: readonly Float32Array[],
  test: readonly Float32Array[],
  step: number,
): SpectralFloor[] {
  const by = standardiser(train, MEL_BANDS);
  // The test is standardised by itself, as the published figures are: the mean forecast then has an error of 1.
  const own = standardiser(test, MEL_BANDS);
  const x = train.map((r) => standardise(r, by));
  const y = test.map((r) => standardise(r, own));
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
    return { aheadMs: ahead * 10, persistence: persistenceError(y, MEL_BANDS, ahead), ridge: sum / count };
  });
}

export async function main(args: string[]): Promise<void> {
  const { values } = parseCommandLine('bench audio', args, { data: { type: 'string' }, out: { type: 'string' } }, 0);
  const root = values.data ?? process.env.ADDER_SPEECH_DATA;
  if (!root)
    throw new AdderError({
      code: 'NO_DATA',
      message: 'no data named',
      fix: 'give --data DIR or set ADDER_SPEECH_DATA',
    });
  await loadResampler();
  const logMel = (samples: Float32Array) => extractAll(samples).logMel;
  const test = (await readRecordings(join(root, 'dev', 'ami_excerpts'))).map((r) => logMel(r.samples));
  const pack = await loadPack(join(root, 'train'), 'asterisk_en');
  const train = pack.clips.slice(0, 250).map((clip) => logMel(clipSamples(pack, clip)));
  const result = measureSpectra(train, test, 8);
  console.log('| ahead ms | persistence | ridge on 16 frames |\n|---|---|---|');
  for (const r of result) console.log(`| ${r.aheadMs} | ${r.persistence.toFixed(4)} | ${r.ridge.toFixed(4)} |`);
  if (values.out) writeFileSync(values.out, `${JSON.stringify(result, null, 2)}\n`);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await main(process.argv.slice(2));
