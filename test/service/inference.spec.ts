import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { ForecastRequest } from '../../src/forecast/forecaster.js';
import { resolveForecaster } from '../../src/forecast/models.js';
import { InferenceClient, type InferenceOptions } from '../../src/jobs/inference/client.js';
import { loadConfig } from '../../src/platform/config.js';
import { isAlive } from '../../src/platform/embedded/guardian.js';
import { Helper, processesNaming, scratch, until } from './support/processes.js';

const execArgv = ['--import', join(process.cwd(), 'test/service/support/typescript.mjs')];
const REAL = { file: join(process.cwd(), 'src/jobs/inference/inference-child.ts'), execArgv };
const FAULTY = { file: join(process.cwd(), 'test/service/support/faulty-child.ts'), execArgv };

const faultyIn = (folder: string) => ({ ...FAULTY, execArgv: [...execArgv, `--title=${folder}`] });

const request = (last: number, horizon = 3): ForecastRequest => ({
  history: Float64Array.from({ length: 60 }, (_, i) => (i === 59 ? last : Math.sin(i / 3) * 10 + i / 7)),
  horizon,
  season: 12,
  frequency: 'M',
  quantiles: [0.1, 0.5, 0.9],
});

let client: InferenceClient;
let batches: number[];
let restarts: string[];
function open(env: Record<string, string>, options: Partial<InferenceOptions> = {}): InferenceClient {
  client = new InferenceClient({
    config: loadConfig({ ADDER_MODEL: 'theta', ADDER_BACKEND: 'wasm', ...env }),
    child: REAL,
    onBatch: ({ size }) => batches.push(size),
    onRestart: (reason) => restarts.push(reason),
    ...options,
  });
  return client;
}
beforeEach(() => {
  batches = [];
  restarts = [];
});
afterEach(async () => {
  const { pid } = client;
  await client.close();
  if (pid !== undefined) expect(isAlive(pid)).toBe(false);
});

describe('inference in a child process', () => {
  it('answers as the forecaster itself does, each request with its own lengths and levels', async () => {
    open({});
    const requests = [request(1), { ...request(2), horizon: 7, quantiles: [0.25, 0.75] }, request(3)];
    const expected = await (await resolveForecaster('theta')).forecast(requests);
    const results = await client.forecast(requests);
    results.forEach((result, i) => {
      result.quantiles.forEach((values, q) => {
        expect([...values]).toEqual([...expected[i]!.quantiles[q]!]);
      });
    });
    expect(await client.describe('naive')).toEqual({ model: 'naive', backend: 'javascript' });
  });

  it('lets requests of many callers share batches, and bounds them', async () => {
    open({ ADDER_BATCH_SIZE: '50', ADDER_BATCH_DELAY_MS: '20' }, { child: FAULTY });
    const results = await Promise.all(Array.from({ length: 120 }, (_, i) => client.forecast([request(i)])));
    results.forEach(([result], i) => {
      expect(result!.quantiles[1]![0]).toBe(i);
    });
    expect(batches).toEqual([50, 50, 20]);
  });

  it('fails those at fault and not those that share their batch', async () => {
    open({ ADDER_BATCH_DELAY_MS: '50' });
    const empty = { ...request(1), history: new Float64Array(5).fill(Number.NaN) };
    const [good, bad] = await Promise.allSettled([client.forecast([request(1)]), client.forecast([empty])]);
    expect(good.status).toBe('fulfilled');
    expect(bad).toMatchObject({ status: 'rejected', reason: { code: 'NO_VALUES' } });
    expect(batches).toEqual([2]);
    await expect(client.forecast([request(1)], { model: 'no-such-model' })).rejects.toMatchObject({
      code: 'UNKNOWN_MODEL',
    });
  });

  it('takes urgent requests first', async () => {
    open({ ADDER_BATCH_SIZE: '1', ADDER_BATCH_DELAY_MS: '0' }, { child: FAULTY });
    const order: string[] = [];
    const ask = (name: string, priority: number, horizon = 3) =>
      client.forecast([request(1, horizon)], { priority }).then(() => order.push(name));
    await Promise.all([ask('first', 10, 904), ask('batch', 100), ask('later', 100), ask('interactive', 1)]);
    expect(order).toEqual(['first', 'interactive', 'batch', 'later']);
  });

  it('refuses what it cannot take, with the time after which to try again', async () => {
    open({ ADDER_BATCH_QUEUE: '10', ADDER_BATCH_SIZE: '1' }, { child: FAULTY });
    const busy = client.forecast([request(1, 904)]);
    await until(() => client.load.computing === 1);
    const waiting = client.forecast(Array.from({ length: 8 }, () => request(1)));
    await expect(client.forecast([request(1), request(2), request(3)])).rejects.toMatchObject({
      code: 'OVERLOADED',
      retryAfter: expect.any(Number),
    });
    // What fits is taken.
    await Promise.all([client.forecast([request(1)]), busy, waiting]);
  });

  it('refuses at their deadline those whose turn has not come, and drops those that nobody waits for', async () => {
    open({ ADDER_BATCH_SIZE: '1' }, { child: FAULTY });
    const busy = client.forecast([request(1, 904)]);
    await until(() => client.load.computing === 1);
    const begin = Date.now();
    const abort = new AbortController();
    const dropped = client.forecast([request(1), request(2)], { signal: abort.signal });
    const late = client.forecast([request(1)], { deadline: new Date(Date.now() + 100) });
    abort.abort(new Error('hung up'));
    await expect(dropped).rejects.toThrow('hung up');
    await expect(late).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    expect(Date.now() - begin).toBeLessThan(490);
    expect(client.load.waiting).toBe(0);
    await busy;
    expect(batches).toEqual([1]);
  });
});

describe('inference when its process dies', () => {
  it('loses no request when the process is killed in the middle, again and again', async () => {
    open({ ADDER_BATCH_SIZE: '16', ADDER_BATCH_DELAY_MS: '1', ADDER_INFERENCE_RESTARTS: '5' });
    const expected = await (await resolveForecaster('theta')).forecast([request(5)]);
    await client.forecast([request(5)]);
    let done = 0;
    const all = Promise.all(
      Array.from({ length: 400 }, async (_, i) => {
        await sleep(i * 4);
        const [result] = await client.forecast([request(5)]);
        expect([...result!.quantiles[1]!]).toEqual([...expected[0]!.quantiles[1]!]);
        done++;
      }),
    );
    for (let kills = 0; kills < 3; kills++) {
      const before = done;
      await until(() => done > before + 20 && client.pid);
      process.kill(client.pid!, 'SIGKILL');
      await until(() => restarts.length === kills + 1);
    }
    await all;
    expect(done).toBe(400);
    expect(restarts.every((reason) => reason.includes('SIGKILL'))).toBe(true);
  });

  it('tries the batch again when the process died of something that passes', async () => {
    const dir = scratch();
    open({ ADDER_BATCH_DELAY_MS: '30' }, { child: faultyIn(dir.path) });
    const results = await Promise.all([client.forecast([request(1, 903)]), client.forecast([request(2)])]);
    expect(results.map(([result]) => result!.quantiles[0]![0])).toEqual([1, 2]);
    expect(restarts.length).toBe(1);
    dir.remove();
  });

  it('finds the request that kills it, and answers the others', async () => {
    open({ ADDER_BATCH_DELAY_MS: '30', ADDER_INFERENCE_RESTARTS: '3' }, { child: FAULTY });
    const answers = await Promise.allSettled([
      client.forecast([request(1)]),
      client.forecast([request(2, 902)]),
      client.forecast([request(3)]),
    ]);
    expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(answers[1]).toMatchObject({ reason: { code: 'INFERENCE_LOST' } });
    const [after] = await client.forecast([request(4)]);
    expect(after!.quantiles[0]![0]).toBe(4);
  });

  it('ends a process that stands still, and goes on', async () => {
    open(
      { ADDER_INFERENCE_TIMEOUT_MS: '1500', ADDER_INFERENCE_RESTARTS: '0', ADDER_BATCH_SIZE: '1' },
      { child: FAULTY },
    );
    await client.forecast([request(1)]);
    const begin = Date.now();
    const stuck = client.forecast([request(1, 901)]);
    const behind = client.forecast([request(7)]);
    await expect(stuck).rejects.toMatchObject({ code: 'INFERENCE_LOST', message: expect.stringContaining('1500 ms') });
    expect(Date.now() - begin).toBeLessThan(6000);
    expect((await behind)[0]!.quantiles[0]![0]).toBe(7);
  });

  it('says why when the process cannot be started at all, and tries again for the next caller', async () => {
    const dir = scratch();
    writeFileSync(join(dir.path, 'dies-at-start'), '');
    const lines: string[] = [];
    open({ ADDER_INFERENCE_RESTARTS: '10' }, { child: faultyIn(dir.path), onLine: (line) => lines.push(line) });
    await expect(client.forecast([request(1)])).rejects.toMatchObject({
      code: 'INFERENCE_LOST',
      message: expect.stringContaining('the driver is broken'),
    });
    expect(lines).toContain('the driver is broken');
    rmSync(join(dir.path, 'dies-at-start'));
    expect((await client.forecast([request(6)]))[0]!.quantiles[0]![0]).toBe(6);
    dir.remove();
  });

  it('ends with its parent', async () => {
    const parent = Helper.start('test/service/support/inference-parent.ts');
    const { pid } = await parent.next<{ pid: number }>();
    expect(isAlive(pid)).toBe(true);
    await parent.kill('SIGKILL');
    await until(() => !isAlive(pid), 10_000, 'the end of the inference process');
    open({});
    expect(processesNaming('inference-parent').length).toBe(0);
  });
});
