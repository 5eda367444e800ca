import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { call, startApp, type TestApp, weekly } from './app.js';
import { zstdCompressSync } from './compress.js';

/** The asynchronous endpoints and fine-tuning of the protocol, as its clients use them. */
let app: TestApp;
beforeAll(async () => {
  app = await startApp({ ADDER_MODEL: 'adder', ADDER_BACKEND: 'wasm', ADDER_MAX_SERIES_PER_REQUEST: '2000' });
});
afterAll(async () => {
  expect(await app.stop()).toBe(0);
});

interface Polled {
  job_id: string;
  status: string;
  result?: Record<string, unknown>;
  error: { code: string; message: string } | null;
}

const a = weekly(70);
const b = weekly(90, 50);
const series = { y: [...a, ...b], sizes: [70, 90], X: null };
const payload = {
  series,
  model: 'timegpt-1',
  h: 7,
  freq: 'D',
  level: [80],
  finetune_steps: 0,
  finetuned_model_id: null,
};

const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
  call<Polled & { detail: { loc: unknown[] }[] }>(app, 'POST', path, body, {
    'nixtla-client-version': '0.8.0',
    ...headers,
  });

/** Polls as the client does: anything but 200 and a known status is an error. */
async function poll(endpoint: string, id: string): Promise<Polled> {
  for (let i = 0; i < 600; i++) {
    const { status, body } = await call<Polled>(app, 'GET', `/v2/${endpoint}/jobs/${id}`);
    expect(status).toBe(200);
    expect(body).not.toHaveProperty('data');
    expect(body.job_id).toBe(id);
    expect(['pending', 'running', 'succeeded', 'failed', 'cancelled']).toContain(body.status);
    if (!['pending', 'running'].includes(body.status)) return body;
    expect(body).not.toHaveProperty('result');
    await sleep(100);
  }
  throw new Error('the job did not finish');
}

describe('asynchronous', () => {
  it.each([
    ['forecast', payload],
    ['cross_validation', { ...payload, n_windows: 2 }],
    ['cross_validation', { ...payload, full_history: true }],
    ['historic_forecast', { ...payload, h: undefined }],
    ['anomaly_detection', { ...payload, h: undefined, level: 99 }],
    ['online_anomaly_detection', { ...payload, level: 99, detection_size: 10 }],
  ])('%s gives what the synchronous request gives', async (endpoint, body) => {
    const { status, body: submitted } = await post(`/v2/${endpoint}/async`, { ...body, model: 'theta' });
    expect([200, 202]).toContain(status);
    expect(Object.keys(submitted)).toEqual(['job_id']);
    const { status: state, result } = await poll(endpoint, submitted.job_id);
    expect(state).toBe('succeeded');
    expect(result).toEqual((await post(`/v2/${endpoint}`, { ...body, model: 'theta' })).body);
  });

  it('takes zstd bodies and job_options', async () => {
    const body = { ...payload, job_options: { timeout_seconds: 60 } };
    const packed = zstdCompressSync(Buffer.from(JSON.stringify(body)));
    const { body: submitted } = await post('/v2/forecast/async', packed, { 'content-encoding': 'zstd' });
    expect((await poll('forecast', submitted.job_id)).status).toBe('succeeded');
    expect((await post('/v2/forecast/async', { ...payload, job_options: null })).status).toBe(202);
  });

  it('ends a job that takes longer than timeout_seconds', async () => {
    const body = { ...payload, series: { y: weekly(40_000), sizes: [40_000] }, n_windows: 400, h: 2 };
    const { body: submitted } = await post('/v2/cross_validation/async', {
      ...body,
      job_options: { timeout_seconds: 0.2 },
    });
    const { status, error } = await poll('cross_validation', submitted.job_id);
    expect(status).toBe('failed');
    expect(error!.code).toBe('DEADLINE_EXCEEDED');
  });

  it('answers 422, which is not retried, for what is wrong or too large', async () => {
    const refused = await post('/v2/forecast/async', { ...payload, freq: 'fortnight' });
    expect(refused.status).toBe(422);
    expect(refused.body.detail[0]!.loc).toEqual(['body', 'freq']);
    expect((await post('/v2/forecast/async', { ...payload, h: 100_000 })).status).toBe(422);
    const large = { ...payload, series: { y: new Array(2001).fill(1), sizes: new Array(2001).fill(1) } };
    const tooLarge = await post('/v2/forecast/async', large);
    expect(tooLarge.status).toBe(422);
    expect(tooLarge.body.detail[0]!.loc).toEqual(['body', 'series', 'sizes']);
    expect((await post('/v2/forecast/async', { ...payload, finetuned_model_id: 'nobody' })).status).toBe(404);
  });

  it('says what was wrong with a job that failed', async () => {
    const { body } = await post('/v2/cross_validation/async', { ...payload, h: 70 });
    const { status, error } = await poll('cross_validation', body.job_id);
    expect(status).toBe('failed');
    expect(error!.message).toMatch(/too few/);
  });

  it('answers 404 at once for a job that does not exist, or is of another endpoint', async () => {
    const { body } = await post('/v2/forecast/async', { ...payload, model: 'naive' });
    for (const path of [
      '/v2/forecast/jobs/no-such-job',
      '/v2/forecast/jobs/00000000-0000-4000-8000-000000000000',
      `/v2/cross_validation/jobs/${body.job_id}`,
    ]) {
      expect((await call(app, 'GET', path)).status).toBe(404);
    }
    await poll('forecast', body.job_id);
  });

  it('cancels a job under the other prefix, without a body', async () => {
    const body = { ...payload, series: { y: weekly(40_000), sizes: [40_000] }, n_windows: 2000, h: 2, step_size: 2 };
    const { body: submitted } = await post('/v2/cross_validation/async', body);
    const cancelled = await call<Polled>(app, 'POST', `/v2/async/jobs/${submitted.job_id}/cancel`);
    expect([200, 202, 204]).toContain(cancelled.status);
    expect((await poll('cross_validation', submitted.job_id)).status).toBe('cancelled');
  });
});

describe('fine-tuning', () => {
  const spiky = Array.from({ length: 400 }, (_, i) => (i % 7 === 3 ? 90 : 10) + Math.sin(i));
  const tune = {
    series: { y: [...spiky, ...spiky.map((v) => 3 * v)], sizes: [400, 400], X: null },
    model: 'timegpt-1',
    freq: 'D',
    finetune_steps: 20,
    finetune_depth: 1,
    finetune_loss: 'default',
    output_model_id: 'spikes',
    finetuned_model_id: null,
  };
  type Model = { id: string; steps: number; loss: string; depth: number };

  it('answers the id of a model that forecasts can name, and that is listed', async () => {
    const { status, body } = await call(app, 'POST', '/v2/finetune', tune);
    expect(status).toBe(200);
    expect(body).toEqual({ finetuned_model_id: 'spikes' });
    const list = await call<{ finetuned_models: Model[] }>(app, 'GET', '/v2/finetuned_models');
    expect(list.body.finetuned_models).toHaveLength(1);
    const one = await call<Model>(app, 'GET', '/v2/finetuned_models/spikes');
    expect(one.body).toMatchObject({
      id: 'spikes',
      steps: 20,
      loss: 'default',
      depth: 1,
      base_model_id: expect.anything(),
    });
    const models = await call<{ models: { name: string; kind: string }[] }>(app, 'GET', '/v1/models');
    expect(models.body.models).toContainEqual(expect.objectContaining({ name: 'spikes', kind: 'fine-tuned' }));

    const ask = { ...payload, series: tune.series, finetuned_model_id: 'spikes', level: null };
    const tuned = await call<{ mean: number[] }>(app, 'POST', '/v2/forecast', ask);
    expect(tuned.status).toBe(200);
    expect(tuned.body.mean).toHaveLength(14);
    const card = await call<{ card: { kept: boolean }; engine: { model: string } }>(app, 'GET', '/v1/models/spikes');
    const plain = await call<{ mean: number[] }>(app, 'POST', '/v2/forecast', { ...ask, finetuned_model_id: null });
    // Where training found nothing better the weights are the base's, and the card says so.
    if (card.body.card.kept) expect(tuned.body.mean).not.toEqual(plain.body.mean);
    else expect(tuned.body.mean).toEqual(plain.body.mean);
    // Our own API knows it by the same name.
    const own = await call<{ model: string }>(app, 'POST', '/v1/forecasts', {
      series: [{ values: spiky }],
      horizon: 3,
      model: 'spikes',
    });
    expect(own.status).toBe(200);
  });

  it('finds what the same request has made, and refuses the name to another one without a 409', async () => {
    const again = await call(app, 'POST', '/v2/finetune', tune);
    expect(again.body).toEqual({ finetuned_model_id: 'spikes' });
    const other = await post('/v2/finetune', { ...tune, finetune_steps: 21 });
    expect(other.status).toBe(422);
    expect(other.body.detail[0]!.loc).toEqual(['body', 'output_model_id']);
  });

  it('runs as a job, from a model that was tuned before', async () => {
    const { status, body } = await post('/v2/finetune/async', {
      ...tune,
      output_model_id: 'again',
      finetuned_model_id: 'spikes',
      finetune_steps: 3,
    });
    expect(status).toBe(202);
    expect(await poll('finetune', body.job_id)).toMatchObject({
      status: 'succeeded',
      result: { finetuned_model_id: 'again' },
    });
  });

  it('is deleted with 204, and then gone', async () => {
    for (const id of ['spikes', 'again']) {
      const { status } = await call(app, 'DELETE', `/v2/finetuned_models/${id}`, undefined, {
        'accept-encoding': 'identity',
      });
      expect(status).toBe(204);
      expect((await call(app, 'GET', `/v2/finetuned_models/${id}`)).status).toBe(404);
    }
    expect((await post('/v2/forecast', { ...payload, finetuned_model_id: 'spikes' })).status).toBe(404);
    const list = await call<{ finetuned_models: Model[] }>(app, 'GET', '/v2/finetuned_models');
    expect(list.body).toEqual({ finetuned_models: [] });
  });

  it('on the way to a forecast leaves no model behind in the list', async () => {
    const ask = { ...payload, series: tune.series, finetune_steps: 3, level: null };
    const direct = await call<{ mean: number[] }>(app, 'POST', '/v2/forecast', ask);
    expect(direct.status).toBe(200);
    expect(direct.body.mean).toHaveLength(14);
    const { body } = await post('/v2/forecast/async', ask);
    expect((await poll('forecast', body.job_id)).result).toEqual(direct.body);
    expect((await call<{ finetuned_models: Model[] }>(app, 'GET', '/v2/finetuned_models')).body).toEqual({
      finetuned_models: [],
    });
  });

  it('of stored series is a job of our own API', async () => {
    const timestamps = spiky.map((_, i) => new Date(Date.UTC(2024, 0, 1) + i * 86_400_000).toISOString());
    await call(app, 'POST', '/v1/series/spikes/points', { timestamps, values: spiky });
    const asked = { kind: 'fine-tune', series: ['spikes'], id: 'stored', steps: 5 };
    const { status, body } = await call<{ id: string }>(app, 'POST', '/v1/jobs', asked);
    expect(status).toBe(202);
    const events = await (await fetch(`${app.address}/v1/jobs/${body.id}/events`)).text();
    expect(events).toMatch(/"status":"succeeded"/);
    const model = await call<{ name: string; base: string; card: { tailLoss: { base: number } } }>(
      app,
      'GET',
      '/v1/models/stored',
    );
    expect(model.body).toMatchObject({ name: 'stored', kind: 'fine-tuned' });
    expect(model.body.card.tailLoss.base).toBeGreaterThan(0);
    expect((await call<{ code: string }>(app, 'POST', '/v1/jobs', { ...asked, steps: 6 })).body.code).toBe(
      'MODEL_EXISTS',
    );
    expect((await call(app, 'POST', '/v1/jobs', { ...asked, id: 'x', base: 'theta' })).status).toBe(422);
    expect((await call(app, 'DELETE', '/v1/models/stored')).status).toBe(204);
  });
});
