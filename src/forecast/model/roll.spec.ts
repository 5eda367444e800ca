import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { NeuralForecaster } from './forecaster.js';
import { loadForecaster } from './load.js';
import { NeuralRoller } from './roll.js';

const quantiles = [0.05, 0.5, 0.9];
const series = (length: number, seed: number) =>
  Float64Array.from({ length }, (_, i) => 50 + 10 * Math.sin((2 * Math.PI * i) / 24) + ((i * 7919 * seed) % 13));

let forecaster: NeuralForecaster;
let roller: NeuralRoller;
afterAll(async () => {
  await roller.close();
  await forecaster.close();
});

describe.each([false, true])('origins of one scan, mirrored too: %s', (flip) => {
  beforeAll(async () => {
    await roller?.close();
    await forecaster?.close();
    forecaster = await loadForecaster({ backend: 'wasm', context: 4096, flip });
    roller = new NeuralRoller(forecaster);
  });

  it('forecast what the history up to each of them is forecast to be', async () => {
    const gappy = series(300, 3);
    for (const i of [40, 41, 42, 130, 299]) gappy[i] = Number.NaN;
    const late = series(90, 5);
    late.fill(Number.NaN, 0, 21);
    const requests = [
      {
        history: series(200, 1),
        season: 24,
        frequency: 'H',
        quantiles,
        horizon: 1,
        origins: [1, 2, 17, 100, 184, 200],
      },
      { history: gappy, season: 1, frequency: undefined, quantiles, horizon: 16, origins: [43, 44, 60, 300] },
      { history: late, season: 7, frequency: 'D', quantiles, horizon: 5, origins: [10, 21, 22, 38, 90] },
    ];
    const rolled = await roller.roll(requests);
    for (const [r, request] of requests.entries()) {
      const { history, origins, horizon } = request;
      for (const [o, origin] of origins.entries()) {
        const got = rolled[r]!.quantiles.map((values) => [...values.subarray(o * horizon, (o + 1) * horizon)]);
        if (history.subarray(0, origin).every(Number.isNaN)) {
          expect(got.flat().every(Number.isNaN)).toBe(true);
          continue;
        }
        const [alone] = await forecaster.forecast([{ ...request, history: history.subarray(0, origin) }]);
        for (const [q, values] of alone!.quantiles.entries()) {
          for (const [i, value] of values.entries()) expect(Math.abs(got[q]![i]! - value)).toBeLessThan(1e-3);
        }
      }
    }
  });

  it('look no further ahead than a token does, and lie within the history', async () => {
    const one = { history: series(50, 1), season: 1, frequency: undefined, quantiles };
    await expect(roller.roll([{ ...one, horizon: roller.step + 1, origins: [50] }])).rejects.toMatchObject({
      code: 'BAD_HORIZON',
    });
    for (const origin of [0, 51, 1.5]) {
      await expect(roller.roll([{ ...one, horizon: 1, origins: [origin] }])).rejects.toMatchObject({
        code: 'BAD_ORIGIN',
      });
    }
  });
});
