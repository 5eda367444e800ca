import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Backend } from '../../engine/backend.js';
import { createReferenceBackend } from '../../engine/backends/reference/index.js';
import { createWasmBackend } from '../../engine/backends/wasm/index.js';
import { Random } from '../../engine/random.js';
import { ParameterLayout } from '../../engine/training/arena.js';
import type { ForecastRequest } from '../forecaster.js';
import { STANDARD_LEVELS } from '../forecaster.js';
import { halveWeights } from '../training/halve-weights.js';
import { type ForecasterConfig, forecasterConfigSchema } from './config.js';
import { NeuralForecaster } from './forecaster.js';
import { loadForecaster, writeModel } from './load.js';
import { ForecasterModel } from './model.js';
import { forecasterParameters } from './network.js';
import { classOf } from './runner.js';

const config: ForecasterConfig = forecasterConfigSchema.parse({
  version: 2,
  architecture: 'mamba2-patch-encoder',
  patch: 8,
  dModel: 16,
  layers: 2,
  expand: 2,
  headDim: 8,
  dState: 8,
  convWidth: 4,
  ff: 16,
  hidden: 24,
});

/** Weights large enough that every input matters. */
function weights(seed = 1): Float32Array {
  const random = new Random(seed);
  return new ParameterLayout(forecasterParameters(config)).initial(random).map((v) => v + 0.15 * random.normal());
}

function series(n: number, seed: number, m = 6): Float64Array {
  const random = new Random(seed);
  let level = 50;
  return Float64Array.from({ length: n }, (_, t) => {
    level += random.normal();
    return level + 5 * Math.sin((2 * Math.PI * t) / m) + random.normal();
  });
}

function request(history: Float64Array, change: Partial<ForecastRequest> = {}): ForecastRequest {
  return { history, horizon: 20, season: 6, frequency: 'H', quantiles: [0.1, 0.5, 0.9], ...change };
}

function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  const scale = Math.max(...Array.from(expected, Math.abs));
  for (let i = 0; i < expected.length; i++) {
    expect(Math.abs(actual[i]! - expected[i]!)).toBeLessThanOrEqual(tolerance * scale);
  }
}

let backend: Backend;
let model: ForecasterModel;
let forecaster: NeuralForecaster;
beforeEach(() => {
  backend = createReferenceBackend();
  backend.poison = true;
  model = new ForecasterModel(backend, config, weights(), 'test', 'abc');
  forecaster = new NeuralForecaster(model);
});
afterEach(async () => {
  await forecaster.close();
  await backend.dispose();
});

describe('NeuralForecaster', () => {
  it('answers requests of different lengths, horizons and levels as it answers each alone', async () => {
    const requests = [
      request(series(100, 1)),
      request(series(3, 2), { horizon: 1, season: 1, frequency: undefined }),
      request(series(61, 3), { horizon: 50, quantiles: [0.025, 0.2, 0.975] }),
      request(series(8, 4), { horizon: 8 }),
      request(series(33, 5), { horizon: 9, frequency: 'M', season: 12 }),
    ];
    const together = await forecaster.forecast(requests);
    for (const [i, one] of requests.entries()) {
      const [alone] = await forecaster.forecast([one]);
      expect(together[i]!.quantiles.length).toBe(one.quantiles.length);
      one.quantiles.forEach((_, q) => {
        expect(together[i]!.quantiles[q]!.length).toBe(one.horizon);
        expect(together[i]!.quantiles[q]!.every(Number.isFinite)).toBe(true);
        expectClose(together[i]!.quantiles[q]!, alone!.quantiles[q]!, 1e-12);
      });
    }
  });

  it('uses all that it is told: history, season and frequency', async () => {
    const base = request(series(80, 7));
    const earlier = base.history.slice();
    earlier[3]! += 5;
    const variants = [base, request(earlier), { ...base, season: 12 }, { ...base, frequency: 'D' }];
    const medians = (await forecaster.forecast(variants)).map((r) => r.quantiles[1]!);
    for (const other of medians.slice(1)) expect(other).not.toEqual(medians[0]);
  });

  it('follows x → a·x + b, and non-decreasing over levels', async () => {
    const history = series(90, 8).map((v) => Math.round(v * 64) / 64);
    for (const [a, b] of [
      [1, 1e9],
      [1e-20, 0],
      [-1, 0],
    ] as const) {
      const levels = [...STANDARD_LEVELS];
      const averaged = new NeuralForecaster(model, { flip: true });
      const f = a < 0 ? averaged : forecaster;
      const [plain, moved] = await f.forecast([
        request(history, { quantiles: levels }),
        request(
          history.map((v) => a * v + b),
          { quantiles: levels },
        ),
      ]);
      levels.forEach((_, q) => {
        // Mirrored series have mirrored quantiles: exactly so when mirrored runs are averaged.
        const expected = plain!.quantiles[a < 0 ? 8 - q : q]!;
        expectClose(
          moved!.quantiles[q]!.map((v) => (v - b) / a),
          expected,
          1e-6,
        );
        if (q > 0) {
          expect(plain!.quantiles[q]!.every((v, i) => v >= plain!.quantiles[q - 1]![i]!)).toBe(true);
        }
      });
    }
  });

  it('handles missing values, constants, a single value, and long runs of missing values at the end', async () => {
    const gappy = series(70, 9);
    gappy.fill(Number.NaN, 0, 5);
    gappy.fill(Number.NaN, 20, 31);
    gappy.fill(Number.NaN, 66);
    const behind = new Float64Array(3000).fill(Number.NaN);
    behind.set([1, 2, 4], 10);
    const results = await forecaster.forecast([
      request(gappy),
      request(gappy.subarray(5)),
      request(new Float64Array(40).fill(7.25)),
      request(Float64Array.from([3])),
      request(behind),
    ]);
    expect(results[0]).toEqual(results[1]);
    expect(results[0]!.quantiles.flatMap((q) => [...q]).every(Number.isFinite)).toBe(true);
    for (const q of results[2]!.quantiles) expect(q).toEqual(new Float64Array(20).fill(7.25));
    for (const q of results[3]!.quantiles) expect(q).toEqual(new Float64Array(20).fill(3));
    expect(results[4]!.quantiles[1]!.every((v) => v === 4)).toBe(true);
    await expect(forecaster.forecast([request(new Float64Array(5).fill(Number.NaN))])).rejects.toMatchObject({
      code: 'NO_VALUES',
    });
    await expect(forecaster.forecast([request(gappy, { horizon: 0 })])).rejects.toMatchObject({ code: 'BAD_HORIZON' });
    expect(await forecaster.forecast([])).toEqual([]);
  });

  it('reads the last values only, as many as its context', async () => {
    const short = new NeuralForecaster(model, { context: 40 });
    const history = series(100, 10);
    const changed = history.slice();
    changed[59]! += 100;
    const [a, b, c] = await short.forecast([request(history), request(changed), request(history.slice(60))]);
    expect(b).toEqual(a);
    expect(c).toEqual(a);
    changed[60]! += 1;
    const [d] = await short.forecast([request(changed)]);
    expect(d).not.toEqual(a);
  });

  it('splits work into batches, in any order, and runs calls that overlap one after another', async () => {
    const small = new NeuralForecaster(model, { batchTokens: 16 });
    const requests = Array.from({ length: 9 }, (_, i) => request(series(5 + 11 * i, i), { horizon: 3 + 5 * i }));
    const expected = await forecaster.forecast(requests);
    const [a, b] = await Promise.all([small.forecast(requests), small.forecast([...requests].reverse())]);
    for (const results of [a, [...b].reverse()]) {
      results.forEach((result, i) => {
        result.quantiles.forEach((values, q) => {
          expectClose(values, expected[i]!.quantiles[q]!, 1e-12);
        });
      });
    }
  });
});

describe('on the WebAssembly backend', () => {
  it('forecasts as the oracle does', async () => {
    const wasm = await createWasmBackend();
    const fast = new ForecasterModel(wasm, config, weights(), 'test', 'abc');
    const forecasterThere = new NeuralForecaster(fast, {}, () => wasm.dispose());
    const values = series(90, 30);
    values.fill(Number.NaN, 40, 45);
    const asked = [request(values), request(values.slice(0, 17), { horizon: 3, season: 1 })];
    const expected = await forecaster.forecast(asked);
    const actual = await forecasterThere.forecast(asked);
    actual.forEach((result, i) => {
      result.quantiles.forEach((q, k) => {
        expectClose(q, expected[i]!.quantiles[k]!, 1e-4);
      });
    });
    await forecasterThere.close();
  });
});

describe('models on disk', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'adder-model-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('forecast as the weights they were written from', async () => {
    const dir = join(folder, 'whole');
    writeModel(dir, { name: 'mine', config, values: weights() }, { steps: 3 });
    const loaded = await loadForecaster({ model: dir, backend: 'reference' });
    expect(loaded.id).toBe('mine');
    const asked = [request(series(50, 20))];
    expect(await loaded.forecast(asked)).toEqual(await forecaster.forecast(asked));
    await loaded.close();
  });

  it('forecast nearly the same from half the bytes', async () => {
    const dir = join(folder, 'full');
    const small = join(folder, 'small');
    writeModel(dir, { name: 'mine', config, values: weights(), inference: { flip: false } }, { steps: 3 });
    halveWeights(dir, small);
    const bytes = (of: string) => readFileSync(join(of, 'model.safetensors')).length;
    expect(bytes(small) / bytes(dir)).toBeLessThan(0.6);
    const json = (of: string) => JSON.parse(readFileSync(join(of, 'config.json'), 'utf8'));
    expect(json(small)).toEqual({ ...json(dir), name: 'small' });
    const loaded = await loadForecaster({ model: small, backend });
    const asked = [request(series(50, 20))];
    const [expected] = await forecaster.forecast(asked);
    const [actual] = await loaded.forecast(asked);
    actual!.quantiles.forEach((q, i) => {
      expectClose(q, expected!.quantiles[i]!, 1e-3);
    });
  });

  it('say how they are best asked, and let the caller say otherwise', async () => {
    const dir = join(folder, 'asked');
    writeModel(dir, { name: 'mine', config, values: weights() });
    const file = join(dir, 'config.json');
    const json = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(file, JSON.stringify({ ...json, inference: { context: 24, flip: true, align: 'start' } }));
    const asked = [request(series(50, 20))];
    const told = await loadForecaster({ model: dir, backend });
    const same = new NeuralForecaster(model, { context: 24, flip: true, align: 'start' });
    expect(await told.forecast(asked)).toEqual(await same.forecast(asked));
    const other = await loadForecaster({ model: dir, backend, context: 1024, flip: false, align: 'end' });
    expect(await other.forecast(asked)).toEqual(await forecaster.forecast(asked));
  });

  it('tell what is wrong with a folder', async () => {
    const load = (model: string) => loadForecaster({ model, backend });
    await expect(load(join(folder, 'nothing'))).rejects.toMatchObject({ code: 'NO_MODEL' });
    await expect(load('no-such-model')).rejects.toMatchObject({ code: 'NO_MODEL' });
    await expect(loadForecaster({ model: join(folder, 'whole'), backend: 'abacus' })).rejects.toMatchObject({
      code: 'BAD_OPTION',
    });
    const dir = join(folder, 'changed');
    writeModel(dir, { name: 'mine', config, values: weights() });
    const text = readFileSync(join(dir, 'config.json'), 'utf8');
    for (const [from, to, message] of [
      ['"dState": 8', '"dState": 16', /is \[.*\], the configuration wants/],
      ['"mamba2",', '"attention",', /no tensor/],
      ['"layers": 2', '"layers": 3', /no forecaster's configuration/],
      ['"patch": 8', '"patch": "eight"', /no forecaster's configuration/],
      ['"headDim": 8', '"headDim": 7', /no forecaster's configuration/],
    ] as const) {
      expect(text).toContain(from);
      writeFileSync(join(dir, 'config.json'), text.replace(from, to));
      await expect(load(dir)).rejects.toMatchObject({ code: 'BAD_MODEL', message: expect.stringMatching(message) });
    }
    rmSync(join(dir, 'model.safetensors'));
    writeFileSync(join(dir, 'config.json'), text);
    await expect(load(dir)).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
  });
});

describe('classOf', () => {
  it('rounds up to a power of two or three quarters of one', () => {
    expect([1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 17, 24, 25, 65, 97].map(classOf)).toEqual([
      1, 2, 3, 4, 6, 6, 8, 8, 12, 12, 16, 24, 24, 32, 96, 128,
    ]);
  });
});
