/**
 * A request that each operation accepts. Random changes of it get past the first check, which random bodies rarely do. An
 * operation that is missing here is fuzzed by its schema alone.
 */
import { weekly } from '../../http/app.js';

const values = weekly(40).map((v, i) => (i === 5 ? null : v));
const frame = { series: { y: weekly(60), sizes: [60] }, freq: 'D' };
const inputs = [{ name: 'history', shape: [2, 30], datatype: 'FP32', data: weekly(60) }];
const points = {
  timestamps: ['2024-01-01', '2024-01-02T00:00:00Z', 1704240000000],
  values: [1, null, 3.5],
};

export const EXAMPLES: Record<string, object> = {
  'POST /v1/forecasts': {
    series: [
      { id: 'a', values, start: '2024-01-01', frequency: 'D' },
      { stored: 'stored', last: 30 },
      {
        values: weekly(20),
        season: 7,
        timestamps: weekly(20).map((_, i) => i * 3_600_000),
        futureCovariates: { price: weekly(23, 3), day: weekly(23).map((_, i) => `d${i % 7}`) },
        pastCovariates: { load: weekly(20, 5) },
      },
    ],
    horizon: 3,
    levels: [80, 95],
    model: 'theta',
  },
  'POST /v1/anomalies': { series: [{ id: 'a', values: weekly(60), frequency: 'D' }] },
  'POST /v1/backtests': { series: [{ id: 'a', values: weekly(60), frequency: 'D' }], horizon: 5, windows: 2 },
  'POST /v1/series': { id: 'made', frequency: 'H', season: 24, metadata: { place: 'roof', height: 3, used: true } },
  'PATCH /v1/series/{id}': { frequency: 'D', season: null, metadata: { place: 'cellar' } },
  'POST /v1/series/{id}/points': points,
  'POST /v1/points': { series: [{ id: 'stored', ...points }] },
  'POST /v2/forecast': { ...frame, h: 4, level: [80], model: 'timegpt-1' },
  'POST /v2/cross_validation': { ...frame, h: 4, n_windows: 2, step_size: 4, level: [80] },
  'POST /v2/historic_forecast': { ...frame, level: [80] },
  'POST /v2/anomaly_detection': { ...frame, level: 99 },
  'POST /v2/online_anomaly_detection': { ...frame, h: 2, detection_size: 10, level: 99 },
  'POST /v2/models/{model}/infer': { id: '1', inputs, parameters: { horizon: 4, quantiles: [0.1, 0.5], season: 7 } },
  'POST /v2/models/{model}/versions/1/infer': { inputs, outputs: [{ name: 'quantiles' }], parameters: { horizon: 2 } },
  'POST /v2/forecast/async': { ...frame, h: 4, level: [80], job_options: { timeout_seconds: 20 } },
  'POST /v2/cross_validation/async': { ...frame, h: 4, n_windows: 2, job_options: { timeout_seconds: 20 } },
  'POST /v2/historic_forecast/async': { ...frame, job_options: { timeout_seconds: 20 } },
  'POST /v2/anomaly_detection/async': { ...frame, level: 99, job_options: { timeout_seconds: 20 } },
  'POST /v2/online_anomaly_detection/async': {
    ...frame,
    h: 2,
    detection_size: 10,
    job_options: { timeout_seconds: 20 },
  },
  'POST /v1/jobs': { kind: 'backtest', series: ['stored'], horizon: 1, levels: [80] },
  'POST /v1/keys': { name: 'a key', scopes: ['read'], limits: { ratePerMinute: 5 } },
};

/** Values of path parameters that exist. */
export const PATHS: Record<string, Record<string, string>> = {
  '/v1/series/{id}': { id: 'stored' },
  '/v1/series/{id}/points': { id: 'stored' },
  '/v2/models/{model}': { model: 'theta' },
  '/v2/models/{model}/versions/1': { model: 'theta' },
  '/v2/models/{model}/ready': { model: 'theta' },
  '/v2/models/{model}/versions/1/ready': { model: 'theta' },
  '/v2/models/{model}/infer': { model: 'theta' },
  '/v2/models/{model}/versions/1/infer': { model: 'theta' },
  '/v1/models/{name}': { name: 'theta' },
};

/** Queries without which an operation does nothing. */
export const QUERIES: Record<string, string> = {
  'DELETE /v1/series/{id}/points': '?from=1970-01-01&to=1970-01-03',
};
