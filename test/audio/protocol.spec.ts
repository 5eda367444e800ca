import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { energy } from '../../bench/audio/peers/scorers.js';
import { judge, listen, onGrid, readRecordings } from '../../bench/audio/protocol.js';
import { forecast } from '../../bench/audio/spectra.js';
import { MEL_BANDS } from '../../src/audio/features/index.js';

describe('evaluation protocol', () => {
  it('spreads hops over the grid: aligned by the middle of a frame, causal by its end', () => {
    // Hops of 32 ms: frame i has its middle at 10i + 5 ms and ends at 10i + 10.
    const { aligned, causal } = onGrid([1, 2, 3], 512, 9);
    expect([...aligned]).toEqual([1, 1, 1, 2, 2, 2, 3, 3, 3]);
    // The first hop is finished at 32 ms, the second at 64 ms: frames ending at 40 and 70 ms have them.
    expect([...causal]).toEqual([1, 1, 1, 1, 1, 1, 2, 2, 2]);
  });

  it('gives the causal view the lowest score before any hop is finished', () => {
    expect([...onGrid([5, 2, 7], 512, 4).causal]).toEqual([2, 2, 2, 5]);
  });

  it('judges a perfect and a blind detector as it should', () => {
    const labels = Uint8Array.from({ length: 2000 }, (_, i) => (Math.floor(i / 130) % 2 ? 1 : 0));
    const perfect = { aligned: Float32Array.from(labels), causal: Float32Array.from(labels) };
    const v = judge([perfect], [labels], 0.01);
    expect([v.auc, v.aucCausal, v.bestBalancedAccuracy, v.onsetDelay, v.offsetDelay]).toEqual([1, 1, 1, 0, 0]);
    // A persisted label knows nothing of when it will end.
    expect(v.endWithin['200']).toBe(0.5);
    const blind = { aligned: new Float32Array(2000), causal: new Float32Array(2000) };
    expect(judge([blind], [labels], 0.01)).toMatchObject({ auc: 0.5, missedOnsets: 1 });
  });

  it('a ridge forecast is the product of weights and the last frames', () => {
    const frames = 18;
    const x = Float32Array.from({ length: frames * MEL_BANDS }, (_, i) => Math.sin(i));
    const inputs = 16 * MEL_BANDS;
    const weights = new Float64Array((inputs + 1) * MEL_BANDS);
    // Band 3 = 2 · (band 5 of the newest frame) + 7.
    weights[(15 * MEL_BANDS + 5) * MEL_BANDS + 3] = 2;
    weights[inputs * MEL_BANDS + 3] = 7;
    const out = forecast(x, weights);
    expect(out[17 * MEL_BANDS + 3]).toBeCloseTo(2 * x[17 * MEL_BANDS + 5] + 7, 5);
    expect(out[14 * MEL_BANDS + 3]).toBe(0);
  });

  const root = process.env.ADDER_SPEECH_DATA;
  const folder = root && join(root, 'dev', 'ami_excerpts');
  if (!folder) console.warn('ADDER_SPEECH_DATA is not set: the test on hand-labelled recordings is skipped');
  (folder && existsSync(folder) ? it : it.skip)(
    'reads hand-labelled recordings, on which energy is a known floor',
    async () => {
      const recordings = await readRecordings(folder!);
      expect(recordings.length).toBeGreaterThanOrEqual(9);
      const tracks = [];
      for (const recording of recordings) tracks.push((await listen(energy(), recording)).track);
      const labels = recordings.map((r) => r.labels);
      // .793 on the nine excerpts, .807 on all fourteen.
      expect(judge(tracks, labels, 0.05).auc).toBeCloseTo(0.8, 1);
    },
  );
});
