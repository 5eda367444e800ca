import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { surprise } from '../anomaly/surprise.js';
import { STANDARD_LEVELS } from '../forecaster.js';
import type { NeuralForecaster } from '../model/forecaster.js';
import { loadForecaster } from '../model/load.js';
import { NeuralRoller } from '../model/roll.js';
import { evaluateNab, evaluateSkab, surprises } from './anomalies.js';
import type { LabelledSeries } from './dataset.js';

let forecaster: NeuralForecaster;
let roller: NeuralRoller;
beforeAll(async () => {
  forecaster = await loadForecaster({ backend: 'wasm' });
  roller = new NeuralRoller(forecaster);
});
afterAll(async () => {
  await roller.close();
  await forecaster.close();
});

const rhythm = (i: number) => 50 + 10 * Math.sin((2 * Math.PI * i) / 24) + ((i * 7919) % 13) / 8;
const labelled = (id: string, length: number, change: (x: Float64Array) => void, anomalies: [number, number][]) => {
  const values = Float64Array.from({ length }, (_, i) => rhythm(i));
  change(values);
  return { id, frequency: 'H', season: 24, values, anomalies } satisfies LabelledSeries;
};

describe('anomalies', () => {
  it('are judged by the forecast one step before, in every block of a long series', async () => {
    const series = labelled('long', 1300, (x) => x.fill(Number.NaN, 200, 203), []);
    const { step: all, block } = await surprises(roller, series);
    expect([all.length, Number.isNaN(all[0]!), Number.isNaN(all[201]!)]).toEqual([1300, true, true]);
    expect(all.subarray(203).every(Number.isFinite)).toBe(true);
    for (const t of [30, 1024, 1025, 1299]) {
      // A block sees what comes before it, 1,024 values at least where there are so many.
      const from = t <= 1024 ? 0 : 1;
      const [alone] = await forecaster.forecast([
        {
          history: series.values.subarray(from, t),
          horizon: 1,
          season: 24,
          frequency: 'H',
          quantiles: [...STANDARD_LEVELS],
        },
      ]);
      const expected = surprise(
        series.values[t]!,
        alone!.quantiles.map((q) => q[0]!),
      );
      expect(all[t]!).toBeCloseTo(expected, 1);
    }
    // The last four values by the forecast before them, over a boundary of blocks and without what is missing.
    expect([Number.isNaN(block[3]!), Number.isNaN(block[4]!)]).toEqual([true, false]);
    for (const t of [150, 204, 1026, 1299]) {
      const origin = t - 3;
      const [alone] = await forecaster.forecast([
        {
          history: series.values.subarray(Math.max(0, origin - 1024), origin),
          horizon: 4,
          season: 24,
          frequency: 'H',
          quantiles: [...STANDARD_LEVELS],
        },
      ]);
      const known = [0, 1, 2, 3].filter((h) => !Number.isNaN(series.values[origin + h]!));
      const each = known.map((h) =>
        surprise(
          series.values[origin + h]!,
          alone!.quantiles.map((q) => q[h]!),
        ),
      );
      expect(block[t]!).toBeCloseTo(each.reduce((a, b) => a + b, 0) / each.length, 1);
    }
  });

  it('of the kind that both benchmarks label are found', async () => {
    const spike = labelled(
      'spike',
      800,
      (x) => {
        x[600] = 140;
      },
      [[595, 620]],
    );
    const quiet = labelled('quiet', 800, () => {}, []);
    const nab = await evaluateNab(roller, [spike, quiet]);
    expect(nab).toMatchObject({ files: 2, windows: 1 });
    expect(nab!.scores.standard).toBeGreaterThan(80);
    const channel = (name: string) =>
      labelled(
        `run:${name}`,
        900,
        (x) => {
          for (let i = 600; i < 700; i++) x[i] = 50 + 60 * Math.sin(i * i);
        },
        [[600, 699]],
      );
    const skab = await evaluateSkab(forecaster, [channel('a'), channel('b'), labelled('calm:a', 900, () => {}, [])]);
    expect(skab!.runs).toBe(2);
    expect(skab!.f1).toBeGreaterThan(0.6);
    expect(skab!.falseAlarmRate).toBeLessThan(0.1);
  });
});
