import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { call, startApp, type TestApp, weekly } from './app.js';
import { zstdCompressSync } from './compress.js';

/** Each rule of the protocol as its clients rely on it, over the wire. */
let app: TestApp;
beforeAll(async () => {
  app = await startApp();
});
afterAll(async () => {
  expect(await app.stop()).toBe(0);
});

interface Result {
  mean: number[];
  sizes: number[];
  idxs: number[];
  intervals: Record<string, number[]> | null;
  anomaly: boolean[];
  anomaly_score: number[];
  accumulated_anomaly_score: number[] | null;
  weights_x: number[] | null;
  feature_contributions: number[][] | null;
  detail: { loc: unknown[]; msg: string; type: string }[];
}

const post = (path: string, body: unknown, headers?: Record<string, string>) =>
  call<Result>(app, 'POST', path, body, {
    'nixtla-client-version': '0.8.0',
    authorization: 'Bearer anything',
    ...headers,
  });

const a = weekly(70);
const b = weekly(90, 50);
const series = { y: [...a, ...b], sizes: [70, 90], X: null };
/** As the Python client sends it: everything that is not set is null. */
const payload = {
  series: { ...series, X_future: null },
  model: 'timegpt-1',
  h: 7,
  freq: 'D',
  clean_ex_first: true,
  level: null,
  finetune_steps: 0,
  finetune_depth: 1,
  finetune_loss: 'default',
  finetuned_model_id: null,
  feature_contributions: false,
  multivariate: false,
};
/** As nixtlar sends it: what is not set is absent, sizes first. */
const sparse = { series: { sizes: [70, 90], y: series.y }, freq: 'D', h: 7 };

describe('POST v2/forecast', () => {
  it('answers flat, series-major means, with every key that clients read', async () => {
    const { status, body } = await post('/v2/forecast', payload);
    expect(status).toBe(200);
    expect(Object.keys(body).sort()).toEqual(
      [
        'feature_contributions',
        'finetune_tokens',
        'input_tokens',
        'intervals',
        'mean',
        'output_tokens',
        'weights_x',
      ].sort(),
    );
    expect(body).toMatchObject({ intervals: null, weights_x: null, input_tokens: 160, output_tokens: 14 });
    expect(body.mean).toHaveLength(14);
    // The second series runs at half the level of the first.
    for (const value of body.mean.slice(0, 7)) expect(Math.abs(value - 107)).toBeLessThan(25);
    for (const value of body.mean.slice(7)) expect(Math.abs(value - 59)).toBeLessThan(25);
    expect(body).not.toHaveProperty('data');
  });

  it('takes a payload without anything optional, and answers the same', async () => {
    const [full, bare] = [await post('/v2/forecast', payload), await post('/v2/forecast', sparse)];
    expect(bare.status).toBe(200);
    expect(bare.body.mean).toEqual(full.body.mean);
  });

  it('names intervals after the levels exactly as sent, each once', async () => {
    const { body } = await post('/v2/forecast', { ...payload, level: [80, 99.5, 80] });
    expect(Object.keys(body.intervals!).sort()).toEqual(['hi-80', 'hi-99.5', 'lo-80', 'lo-99.5']);
    body.mean.forEach((mean, i) => {
      const at = (key: string) => body.intervals![key]![i]!;
      expect(at('lo-99.5')).toBeLessThan(at('lo-80'));
      expect(at('lo-80')).toBeLessThan(mean);
      expect(mean).toBeLessThan(at('hi-80'));
      expect(at('hi-80')).toBeLessThan(at('hi-99.5'));
    });
  });

  it('takes level 0, which is what the quantile 0.5 is sent as', async () => {
    const { status, body } = await post('/v2/forecast', { ...payload, level: [0, 80] });
    expect(status).toBe(200);
    expect(body.intervals!['lo-0']).toEqual(body.intervals!['hi-0']);
    expect((await post('/v2/forecast', { ...payload, level: [100] })).status).toBe(422);
  });

  it('takes null for missing values, and says which series has nothing else', async () => {
    const y = series.y.map((value, i) => (i % 9 === 4 ? null : value));
    expect((await post('/v2/forecast', { ...payload, series: { ...series, y } })).status).toBe(200);
    const none = series.y.map((value, i) => (i < 70 ? value : null));
    const { status, body } = await post('/v2/forecast', { ...payload, series: { ...series, y: none } });
    expect(status).toBe(422);
    expect(body.detail[0]).toMatchObject({
      loc: ['body', 'series', 'y', 70],
      msg: expect.stringContaining('series 1'),
    });
  });

  it('answers strict JSON for the largest float32', async () => {
    const y = series.y.map((value) => (value > 100 ? 3.4028235e38 : value));
    const { status, body } = await post('/v2/forecast', { ...payload, series: { ...series, y } });
    expect(status).toBe(200);
    expect(body.mean.every((value) => value === null || Number.isFinite(value))).toBe(true);
  });

  it.each([
    'D',
    'h',
    'H',
    '15min',
    '15T',
    'W-SUN',
    'MS',
    'ME',
    'M',
    'QS-DEC',
    'B',
    's',
    'ms',
    '30min',
    '1d',
    '1h',
    '15m',
    '1mo',
    '2w',
    'BME',
    'SM',
    'YE-DEC',
  ])('takes the frequency %s', async (freq) => {
    const { status, body } = await post('/v2/forecast', { ...payload, freq });
    expect(status).toBe(200);
    expect(body.mean).toHaveLength(14);
  });

  it('takes start_datetime and fields that newer clients may send', async () => {
    const extended = {
      ...payload,
      series: { ...series, start_datetime: ['2024-01-01T00:00:00', '2024-01-01'] },
      new_option: 1,
    };
    expect((await post('/v2/forecast', extended)).status).toBe(200);
  });

  it('uses features, those with a future first, and explains them on request', async () => {
    const n = series.y.length;
    const promotion = Array.from({ length: n }, (_, i) => ((i * 7919) % 5 === 0 ? 1 : 0));
    const noise = Array.from({ length: n }, (_, i) => Math.sin(i * 12.9898) * 3);
    const y = series.y.map((value, i) => value + 40 * promotion[i]!);
    const future = Array.from({ length: 14 }, (_, i) => (i === 2 || i === 9 ? 1 : 0));
    const { status, body } = await post('/v2/forecast', {
      ...payload,
      series: { y, sizes: [70, 90], X: [promotion, noise], X_future: [future] },
      feature_contributions: true,
    });
    expect(status).toBe(200);
    expect(body.weights_x).toHaveLength(2);
    expect(body.weights_x![0]).toBeGreaterThan(body.weights_x![1]!);
    // One row a feature and the rest; together they are the forecast.
    expect(body.feature_contributions).toHaveLength(3);
    body.mean.forEach((mean, i) => {
      expect(body.feature_contributions!.reduce((sum, row) => sum + row[i]!, 0)).toBeCloseTo(mean, 6);
    });
    const [effect] = body.feature_contributions!;
    expect(effect![2]! - effect![1]!).toBeGreaterThan(30);
    expect(effect![9]! - effect![8]!).toBeGreaterThan(30);
  });

  it('takes categories as features', async () => {
    const days = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];
    const X = [Array.from({ length: 160 }, (_, i) => days[i % 7]!)];
    const X_future = [Array.from({ length: 14 }, (_, i) => days[i % 7]!)];
    const { status, body } = await post('/v2/forecast', {
      ...payload,
      series: { ...series, X, X_future, categorical_exog: [0] },
      feature_contributions: true,
    });
    expect(status).toBe(200);
    expect(body.feature_contributions).toHaveLength(2);
  });

  it('reads zstd and gzip bodies', async () => {
    const text = Buffer.from(JSON.stringify(payload));
    const plain = await post('/v2/forecast', payload);
    for (const [encoding, bytes] of [
      ['zstd', zstdCompressSync(text)],
      ['gzip', gzipSync(text)],
    ] as const) {
      expect((await post('/v2/forecast', bytes, { 'content-encoding': encoding })).body).toEqual(plain.body);
    }
  });

  it('reads payloads of more than a thousand series, whose sizes travel between threads', async () => {
    const one = a.slice(0, 20);
    const y = Array.from({ length: 2000 }, () => one).flat();
    const { status, body } = await post('/v2/forecast', {
      ...sparse,
      model: 'naive',
      series: { sizes: Array(2000).fill(20), y },
    });
    expect(status).toBe(200);
    expect(body.mean).toHaveLength(14_000);
    expect(new Set(body.mean)).toEqual(new Set([one.at(-1)]));
  });

  it.each([
    [{ ...sparse, h: 0 }, ['body', 'h']],
    [{ ...sparse, h: undefined }, ['body', 'h']],
    [{ ...sparse, freq: 'fortnight' }, ['body', 'freq']],
    [{ ...sparse, series: { y: [1, 2, 'x'], sizes: [3] } }, ['body', 'series', 'y', 2]],
    [{ ...sparse, series: { y: [1, 2, 3], sizes: [2] } }, ['body', 'series', 'sizes']],
    [{ ...sparse, series: { y: [1, 2, 3], sizes: [3], X: [[1, 2]] } }, ['body', 'series', 'X', 0]],
    [
      { ...sparse, series: { y: [1, 2, 3], sizes: [3], X: [[1, 2, 3]], X_future: [[1]] } },
      ['body', 'series', 'X_future', 0],
    ],
    [{ ...sparse, finetuned_model_id: 'a b' }, ['body', 'finetuned_model_id']],
    [{ ...sparse, finetune_steps: 100_000 }, ['body', 'finetune_steps']],
    [{ ...sparse, finetune_depth: 6 }, ['body', 'finetune_depth']],
    [{ ...sparse, model: 'nobody' }, ['body', 'model']],
  ])('refuses case %# with 422 in the shape of FastAPI', async (body, loc) => {
    const answer = await post('/v2/forecast', body);
    expect(answer.status).toBe(422);
    expect(answer.body.detail[0]).toEqual({ loc, msg: expect.stringMatching(/./), type: expect.stringMatching(/./) });
  });

  it('answers 404, which is not retried, for a fine-tuned model that does not exist', async () => {
    const { status, body } = await post('/v2/forecast', { ...sparse, finetuned_model_id: 'mine' });
    expect(status).toBe(404);
    expect(body).toMatchObject({ message: expect.stringContaining('mine'), code: 'UNKNOWN_MODEL' });
  });
});

describe('POST v2/cross_validation', () => {
  it('answers contiguous windows with absolute positions in the flat y', async () => {
    const { status, body } = await post('/v2/cross_validation', {
      ...sparse,
      h: 5,
      n_windows: 3,
      step_size: 4,
      level: [90],
      refit: true,
    });
    expect(status).toBe(200);
    expect(body.sizes).toEqual([15, 15]);
    const windows = (end: number) => [13, 9, 5].flatMap((back) => Array.from({ length: 5 }, (_, k) => end - back + k));
    expect(body.idxs).toEqual([...windows(70), ...windows(160)]);
    expect(body.mean).toHaveLength(30);
    expect(body.intervals!['lo-90']).toHaveLength(30);
  });

  it('takes one window of h where nothing is said', async () => {
    const { body } = await post('/v2/cross_validation', sparse);
    expect(body.sizes).toEqual([7, 7]);
    expect(body.idxs[0]).toBe(63);
  });

  it('does not see what it forecasts', async () => {
    const y = series.y.slice();
    y[69] = 1e6;
    const changed = await post('/v2/cross_validation', { ...sparse, series: { y, sizes: [70, 90] }, h: 1 });
    expect(changed.body.mean).toEqual((await post('/v2/cross_validation', { ...sparse, h: 1 })).body.mean);
  });

  it('says which series is too short', async () => {
    const { status, body } = await post('/v2/cross_validation', { ...sparse, h: 40, n_windows: 2 });
    expect(status).toBe(422);
    expect(body.detail[0]!.loc).toEqual(['body', 'series', 'sizes', 0]);
  });

  it('with full_history answers the tail of each series', async () => {
    const { status, body } = await post('/v2/cross_validation', {
      ...sparse,
      h: 1,
      n_windows: 1,
      full_history: true,
      level: [80],
    });
    expect(status).toBe(200);
    expect(body.mean).toHaveLength(body.sizes[0]! + body.sizes[1]!);
    expect(body.intervals!['hi-80']).toHaveLength(body.mean.length);
    expect(body.sizes[0]).toBeGreaterThan(30);
    const near = body.mean
      .slice(0, body.sizes[0])
      .filter((value, i) => Math.abs(value - a[70 - body.sizes[0]! + i]!) < 15);
    expect(near.length).toBeGreaterThan(0.9 * body.sizes[0]!);
    const historic = await post('/v2/historic_forecast', { ...sparse, h: undefined, level: [80] });
    expect(historic.body).toMatchObject({
      mean: body.mean,
      sizes: body.sizes,
      intervals: body.intervals,
      weights_x: null,
    });
  });
});

describe('anomalies', () => {
  const spiked = series.y.slice();
  spiked[60] = 500;
  spiked[150] = -300;

  it('of a history are flags of the tail of each series, at level 99 where none is given', async () => {
    const { status, body } = await post('/v2/anomaly_detection', {
      series: { y: spiked, sizes: [70, 90] },
      freq: 'D',
      model: 'theta',
    });
    expect(status).toBe(200);
    expect(Object.keys(body.intervals!).sort()).toEqual(['hi-99', 'lo-99']);
    const start = 70 - body.sizes[0]!;
    const second = 160 - body.sizes[1]!;
    const flagged = body.anomaly.flatMap((flag, i) =>
      flag ? [i < body.sizes[0]! ? start + i : second + i - body.sizes[0]!] : [],
    );
    expect(flagged).toContain(60);
    expect(flagged).toContain(150);
    expect(body.mean).toHaveLength(body.anomaly.length);
    expect(body).toHaveProperty('weights_x', null);
    const other = await post('/v2/anomaly_detection', { series: { y: spiked, sizes: [70, 90] }, freq: 'D', level: 80 });
    expect(Object.keys(other.body.intervals!).sort()).toEqual(['hi-80', 'lo-80']);
    expect(other.body.anomaly.filter(Boolean).length).toBeGreaterThanOrEqual(flagged.length);
  });

  const online = { series: { y: spiked, sizes: [70, 90] }, freq: 'D', h: 5, detection_size: 20, level: 99 };

  it('online are those of the last detection_size values, with scores', async () => {
    const { status, body } = await post('/v2/online_anomaly_detection', { ...online, threshold_method: 'univariate' });
    expect(status).toBe(200);
    expect(body.sizes).toEqual([20, 20]);
    expect(body.idxs).toEqual([
      ...Array.from({ length: 20 }, (_, i) => 50 + i),
      ...Array.from({ length: 20 }, (_, i) => 140 + i),
    ]);
    expect(body.anomaly[10]).toBe(true);
    expect(body.anomaly[30]).toBe(true);
    expect(Math.abs(body.anomaly_score[10]!)).toBeGreaterThan(5);
    expect(body.accumulated_anomaly_score).toBeNull();
    expect(body.intervals!['lo-99']).toHaveLength(40);
  });

  it('online and multivariate flag steps of all series together, with an accumulated score and no intervals', async () => {
    const { body } = await post('/v2/online_anomaly_detection', { ...online, threshold_method: 'multivariate' });
    expect(body.anomaly.slice(0, 20)).toEqual(body.anomaly.slice(20));
    expect(body.anomaly[10]).toBe(true);
    expect(body.accumulated_anomaly_score).toHaveLength(40);
    expect(body.intervals).toBeNull();
  });

  it('online take missing values among the judged ones', async () => {
    const y = spiked.map((value, i) => (i === 65 ? null : value));
    const { status, body } = await post('/v2/online_anomaly_detection', { ...online, series: { y, sizes: [70, 90] } });
    expect(status).toBe(200);
    expect(body.anomaly[15]).toBe(false);
    expect(body.anomaly_score[15]).toBe(0);
  });

  it('online refuse a detection_size that leaves no history', async () => {
    const { status, body } = await post('/v2/online_anomaly_detection', { ...online, detection_size: 70 });
    expect(status).toBe(422);
    expect(body.detail[0]!.loc).toEqual(['body', 'detection_size']);
  });
});

describe('the other endpoints', () => {
  const get = (path: string) => call<Record<string, unknown>>(app, 'GET', path);

  it('model_params has input_size and horizon inside detail', async () => {
    const { status, body } = await get('/model_params?model=timegpt-1&freq=W-SUN');
    expect(status).toBe(200);
    expect(body).toEqual({ detail: { input_size: 1024, horizon: 52 } });
    expect((await get('/model_params?model=timegpt-1&freq=nonsense')).status).toBe(422);
  });

  it('validate_api_key has a detail of text', async () => {
    const { status, body } = await get('/validate_api_key');
    expect(status).toBe(200);
    expect(typeof body.detail).toBe('string');
  });

  it('usage has whole numbers for minute and month', async () => {
    const { status, body } = await get('/usage');
    expect(status).toBe(200);
    for (const period of ['minute', 'month']) {
      const counts = Object.values(body[period] as Record<string, number>);
      expect(counts.length).toBeGreaterThan(0);
      for (const value of counts) expect(Number.isInteger(value)).toBe(true);
    }
  });

  it('finetuned_models lists none and knows none', async () => {
    expect((await get('/v2/finetuned_models')).body).toEqual({ finetuned_models: [] });
    expect((await get('/v2/finetuned_models/mine')).status).toBe(404);
    expect(
      (await call(app, 'DELETE', '/v2/finetuned_models/mine', undefined, { 'accept-encoding': 'identity' })).status,
    ).toBe(404);
  });

  it('an unknown path under /v2 is 404, not a redirect', async () => {
    expect((await post('/v2/forecasts', sparse)).status).toBe(404);
  });
});
