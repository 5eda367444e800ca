import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { call, startApp, type TestApp, weekly } from './app.js';

let app: TestApp;
beforeAll(async () => {
  app = await startApp();
});
afterAll(async () => {
  expect(await app.stop()).toBe(0);
});

interface Forecast {
  id: string;
  frequency: string | null;
  season: number;
  seasonSource: string;
  notices: string[];
  timestamps: string[] | null;
  median: number[];
  intervals: Record<string, { low: number[]; high: number[] }>;
  quantiles: Record<string, number[]>;
  covariates: Record<string, { coefficient: number; contribution: number[] }>;
}

const forecast = async (body: object) => {
  const answer = await call<{ model: string; backend: string; forecasts: Forecast[] }>(
    app,
    'POST',
    '/v1/forecasts',
    body,
  );
  expect(answer.status).toBe(200);
  return answer.body;
};
const hour = (i: number) => new Date(Date.UTC(2024, 0, 1, i)).toISOString();

describe('POST /v1/forecasts', () => {
  it('infers frequency and season, continues the times, and names what computed', async () => {
    const values = Array.from({ length: 96 }, (_, i) => 50 + 20 * Math.sin((2 * Math.PI * i) / 24));
    const { forecasts, model, backend } = await forecast({
      series: [{ id: 'a', values, timestamps: values.map((_, i) => hour(i)) }],
      horizon: 3,
    });
    expect([model, backend]).toEqual(['theta', 'javascript']);
    expect(forecasts[0]).toMatchObject({ id: 'a', frequency: 'H', season: 24, seasonSource: 'frequency', notices: [] });
    expect(forecasts[0]!.timestamps).toEqual([96, 97, 98].map((i) => hour(i).replace('.000Z', 'Z')));
    forecasts[0]!.median.forEach((value, i) => {
      expect(Math.abs(value - values[i]!)).toBeLessThan(8);
    });
  });

  it('answers the levels or the quantiles that were asked for', async () => {
    const series = [{ values: weekly(60) }];
    const [levels] = (await forecast({ series, horizon: 2, levels: [50, 99] })).forecasts;
    expect(Object.keys(levels!.intervals)).toEqual(['50', '99']);
    expect(levels!.intervals['99']!.low[0]).toBeLessThan(levels!.intervals['50']!.low[0]!);
    const [quantiles] = (await forecast({ series, horizon: 2, quantiles: [0.9, 0.05] })).forecasts;
    expect(Object.keys(quantiles!.quantiles).sort()).toEqual(['0.05', '0.9']);
    expect(quantiles!.intervals).toBeUndefined();
    const both = await call(app, 'POST', '/v1/forecasts', { series, horizon: 2, levels: [80], quantiles: [0.5] });
    expect(both.status).toBe(422);
  });

  it('resamples irregular times and says so', async () => {
    const minutes = Array.from({ length: 200 }, (_, i) => i * 60 + ((i * 37) % 50));
    const timestamps = minutes.map((m) => new Date(Date.UTC(2024, 0, 1) + m * 60_000).toISOString());
    const [answer] = (await forecast({ series: [{ values: minutes.map((m) => m / 60), timestamps }], horizon: 2 }))
      .forecasts;
    expect(answer!.frequency).toBe('H');
    expect(answer!.notices.join()).toMatch(/resampled to H/);
  });

  it('uses known covariates, and forecasts those that are not', async () => {
    const n = 100;
    const promotion = Array.from({ length: n + 4 }, (_, i) => ((i * 7919) % 6 === 0 || i === n + 1 ? 1 : 0));
    const values = weekly(n).map((value, i) => value + 40 * promotion[i]!);
    const series = { values, season: 7 };
    const [known] = (await forecast({ series: [{ ...series, futureCovariates: { promotion } }], horizon: 4 }))
      .forecasts;
    expect(known!.covariates.promotion!.coefficient).toBeGreaterThan(35);
    expect(known!.median[1]! - known!.median[0]!).toBeGreaterThan(20);
    const past = { promotion: promotion.slice(0, n) };
    const [unknown] = (await forecast({ series: [{ ...series, pastCovariates: past }], horizon: 4 })).forecasts;
    expect(Math.abs(unknown!.covariates.promotion!.contribution[1]!)).toBeLessThan(25);
    const short = { series: [{ ...series, futureCovariates: past }], horizon: 4 };
    const refused = await call(app, 'POST', '/v1/forecasts', short);
    expect(refused.body).toMatchObject({
      code: 'LENGTH_MISMATCH',
      index: 0,
      field: 'series[0].futureCovariates.promotion',
    });
  });

  it('refuses names of models that are none, paths above all', async () => {
    const ask = (model: string) =>
      call(app, 'POST', '/v1/forecasts', { series: [{ values: [1, 2] }], horizon: 1, model });
    expect((await ask('nobody')).status).toBe(404);
    expect((await ask('..')).status).toBe(404);
    expect((await ask('../models/forecaster-5m')).status).toBe(422);
    expect((await ask('naive')).status).toBe(200);
  });

  it('answers a thousand series of 200 points without holding others up', async () => {
    const series = Array.from({ length: 1000 }, (_, i) => ({ id: `s${i}`, values: weekly(200, i), season: 7 }));
    const work = forecast({ series, horizon: 12 });
    let worst = 0;
    let done = false;
    void work.then(() => {
      done = true;
    });
    while (!done) {
      const start = performance.now();
      await call(app, 'GET', '/health/live');
      worst = Math.max(worst, performance.now() - start);
    }
    expect((await work).forecasts).toHaveLength(1000);
    // The loop of this process is in the measure, too.
    expect(worst).toBeLessThan(500);
  });
});

it('POST /v1/anomalies finds a spike, and does not judge by what it had seen', async () => {
  const values: (number | null)[] = weekly(120);
  values[90] = 400;
  values[95] = null;
  const { status, body } = await call<{
    series: { anomalies: boolean[]; scores: (number | null)[]; expected: (number | null)[] }[];
  }>(app, 'POST', '/v1/anomalies', { series: [{ id: 'a', values, frequency: 'D' }], stride: 1 });
  expect(status).toBe(200);
  const { anomalies, scores, expected } = body.series[0]!;
  expect(anomalies[90]).toBe(true);
  expect(scores[90]).toBeGreaterThan(10);
  expect([scores[95], anomalies[95]]).toEqual([null, false]);
  expect(expected[90]).toBeLessThan(130);
  expect([expected[0], scores[0]]).toEqual([null, null]);
});

it('POST /v1/backtests scores windows against what came', async () => {
  const values = weekly(120);
  const { body } = await call<{
    scores: { mase: number; mae: number; coverage: Record<string, number> };
    series: { windows: { cutoff: number; actual: number[]; median: number[] }[] }[];
  }>(app, 'POST', '/v1/backtests', { series: [{ values, frequency: 'D' }], horizon: 7, windows: 3, levels: [80] });
  const { windows } = body.series[0]!;
  expect(windows.map(({ cutoff }) => cutoff)).toEqual([99, 106, 113]);
  expect(windows[2]!.actual).toEqual(values.slice(113));
  const errors = windows.flatMap(({ actual, median }) => actual.map((y, i) => Math.abs(y - median[i]!)));
  expect(body.scores.mae).toBeCloseTo(errors.reduce((sum, e) => sum + e, 0) / errors.length, 9);
  expect(body.scores.mase).toBeGreaterThan(0);
  expect(body.scores.coverage['80']).toBeGreaterThanOrEqual(0);
  const short = await call(app, 'POST', '/v1/backtests', { series: [{ values: [1, 2, 3] }], horizon: 7 });
  expect(short.body).toMatchObject({ status: 422, code: 'TOO_SHORT', index: 0 });
});

describe('KServe v2', () => {
  it('describes server and models beside the Nixtla protocol', async () => {
    expect((await call(app, 'GET', '/v2')).body).toMatchObject({ name: 'adder' });
    expect((await call(app, 'GET', '/v2/health/live')).body).toEqual({ live: true });
    expect((await call(app, 'GET', '/v2/health/ready')).body).toEqual({ ready: true });
    expect((await call(app, 'GET', '/v2/models/theta')).body).toMatchObject({
      name: 'theta',
      platform: 'adder_javascript',
    });
    expect((await call(app, 'GET', '/v2/models/theta/versions/1/ready')).body).toMatchObject({ ready: true });
    const unknown = await call<{ error: string }>(app, 'GET', '/v2/models/nobody');
    expect([unknown.status, typeof unknown.body.error]).toEqual([404, 'string']);
  });

  it('infers quantiles of every row', async () => {
    const [a, b] = [weekly(40), weekly(40, 10)];
    const body = {
      id: '42',
      inputs: [{ name: 'history', shape: [2, 40], datatype: 'FP32', data: [...a, ...b] }],
      parameters: { horizon: 5, season: 7, quantiles: [0.1, 0.5] },
    };
    const { status, body: answer } = await call<{
      id: string;
      outputs: { name: string; shape: number[]; data: number[] }[];
    }>(app, 'POST', '/v2/models/theta/infer', body);
    expect(status).toBe(200);
    expect(answer.id).toBe('42');
    const [quantiles, levels] = answer.outputs;
    expect(quantiles).toMatchObject({ name: 'quantiles', shape: [2, 2, 5] });
    expect(quantiles!.data).toHaveLength(20);
    expect(levels).toMatchObject({ shape: [2], data: [0.1, 0.5] });
    const own = await forecast({ series: [{ values: a, season: 7 }], horizon: 5, quantiles: [0.1] });
    expect(quantiles!.data.slice(0, 5)).toEqual(own.forecasts[0]!.quantiles['0.1']);
    body.inputs[0]!.shape = [2, 41];
    const wrong = await call<{ error: string }>(app, 'POST', '/v2/models/theta/infer', body);
    expect(wrong.status).toBe(400);
    expect(wrong.body.error).toContain('82');
  });
});
