import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { onEveryBackend } from '../../../test/conformance/backends.js';
import { Random } from '../../engine/random.js';
import { ParameterLayout } from '../../engine/training/arena.js';
import { halfToNumber, numberToHalf } from '../../engine/weights/half.js';
import { type ForecasterConfig, forecasterConfigSchema } from './config.js';
import { NeuralForecaster } from './forecaster.js';
import { ForecasterModel } from './model.js';
import { forecasterParameters } from './network.js';
import { type SeriesState, stateFromBytes, stateToBytes, tensorSize } from './series-state.js';
import { StreamBatch } from './stream-batch.js';

const config = forecasterConfigSchema.parse({
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
const LEVELS = [0.05, 0.1, 0.5, 0.9];

/** Weights large enough that every input matters. */
function weights(of: ForecasterConfig): Float32Array {
  const random = new Random(1);
  return new ParameterLayout(forecasterParameters(of)).initial(random).map((v) => v + 0.15 * random.normal());
}

interface Series {
  values: Float64Array;
  season: number;
  frequency?: string;
}

/** A walk with a season, with gaps of all lengths and sometimes none of it at first. */
function series(n: number, seed: number): Series {
  const random = new Random(seed);
  const season = [1, 3, 6, 24][seed % 4]!;
  let level = 1000;
  const values = Float64Array.from({ length: n }, (_, t) => {
    level += random.normal();
    return level + 5 * Math.sin((2 * Math.PI * t) / season) + random.normal();
  });
  if (seed % 3 === 0) values.fill(Number.NaN, 0, seed % 7);
  for (let i = 0; i < n; i++) {
    if (random.uniform() < 0.02) values.fill(Number.NaN, i, i + Math.ceil(20 * random.uniform() ** 3));
  }
  return { values, season, frequency: seed % 2 === 0 ? 'H' : undefined };
}

function pieces(values: Float64Array, random: Random, longest: number): Float64Array[] {
  const out: Float64Array[] = [];
  for (let at = 0; at < values.length; ) {
    const end = at + Math.floor(random.uniform() * (longest + 1));
    out.push(values.subarray(at, end));
    at = end;
  }
  return out;
}

onEveryBackend('StreamBatch', (backend) => {
  let model: ForecasterModel;
  let stream: StreamBatch;
  let whole: NeuralForecaster;
  beforeAll(() => {
    model = new ForecasterModel(backend, config, weights(config), 'test', 'abc');
    stream = new StreamBatch(model);
    whole = new NeuralForecaster(model, { context: Number.POSITIVE_INFINITY, align: 'start' });
  });
  afterAll(async () => {
    await stream.close();
    // Frees the model too.
    await whole.close();
  });

  /** Against one scan over the history, relative to the spread of what is forecast. */
  async function expectBatch(
    actual: Float64Array[],
    asked: readonly { series: Series; length: number }[],
    horizon: number,
    tolerance = 1e-4,
    forecaster = whole,
  ): Promise<void> {
    const expected = await forecaster.forecast(
      asked.map(({ series: { values, season, frequency }, length }) => ({
        history: values.subarray(0, length),
        horizon,
        season,
        frequency,
        quantiles: LEVELS,
      })),
    );
    asked.forEach(({ length }, i) => {
      const answers = expected[i]!.quantiles;
      const all = answers.flatMap((q) => [...q]);
      const spread = Math.max(...all) - Math.min(...all);
      answers.forEach((q, l) => {
        expect(actual[l]!.length).toBe(asked.length * horizon);
        for (let t = 0; t < horizon; t++) {
          const error = Math.abs(actual[l]![i * horizon + t]! - q[t]!);
          if (error > tolerance * spread) {
            throw new Error(`series ${i} of ${length} values, level ${l}, step ${t}: off by ${error} of ${spread}`);
          }
        }
      });
    });
  }

  it('forecasts after every value what one scan over all of them forecasts', async () => {
    const all = Array.from({ length: 7 }, (_, i) => series(60, i));
    const states = all.map((one) => stream.newState(one));
    for (let t = 0; t < 60; t++) {
      await stream.advance(all.map(({ values }, i) => ({ state: states[i]!, values: values.subarray(t, t + 1) })));
      const begun = all.flatMap((one, i) => (states[i]!.features.position > 0 ? [{ series: one, i }] : []));
      const asked = begun.map((one) => ({ series: one.series, length: t + 1 }));
      const mine = begun.map(({ i }) => states[i]!);
      await expectBatch(await stream.forecast(mine, 3, LEVELS), asked, 3);
      if (t % 9 === 0) await expectBatch(await stream.forecast(mine, 29, LEVELS), asked, 29);
    }
  });

  it('takes values in pieces of any size, of series of any length, and whole histories at once', async () => {
    const random = new Random(77);
    const all = Array.from({ length: 40 }, (_, i) => series(1 + Math.floor(400 * random.uniform() ** 2), 100 + i)).map(
      (one) => (one.values.some(Number.isFinite) ? one : { ...one, values: Float64Array.of(3) }),
    );
    const asked = all.map((one) => ({ series: one, length: one.values.length }));
    const states = all.map((one) => stream.newState(one));
    const left = all.map(({ values }) => pieces(values, random, 60));
    while (left.some((list) => list.length > 0)) {
      const items = left.flatMap((list, i) => {
        if (list.length === 0 || random.uniform() < 0.3) return [];
        return [{ state: states[i]!, values: list.shift()! }];
      });
      await stream.advance(items);
    }
    await expectBatch(await stream.forecast(states, 11, LEVELS), asked, 11);
    const scanned = await stream.statesOf(all);
    await expectBatch(await stream.forecast(scanned, 11, LEVELS), asked, 11);
    scanned.forEach((state, i) => {
      expect(state.features.serialise()).toEqual(states[i]!.features.serialise());
    });
  });

  it('does so with every mixer', async () => {
    const mixed = forecasterConfigSchema.parse({
      ...config,
      lags: 2,
      layers: 4,
      mixers: ['mamba1', 'gru', 'attention', 'mamba2'],
      window: 5,
    });
    const other = new ForecasterModel(backend, mixed, weights(mixed), 'mixed', 'abc');
    const live = new StreamBatch(other);
    const batch = new NeuralForecaster(other, { context: Number.POSITIVE_INFINITY, align: 'start' });
    const all = Array.from({ length: 5 }, (_, i) => series(90, 40 + i));
    const states = all.map((one) => live.newState(one));
    const random = new Random(5);
    const left = all.map(({ values }) => pieces(values, random, 20));
    while (left.some((list) => list.length > 0)) {
      await live.advance(
        left.flatMap((list, i) => (list.length > 0 ? [{ state: states[i]!, values: list.shift()! }] : [])),
      );
    }
    const asked = all.map((one) => ({ series: one, length: 90 }));
    await expectBatch(await live.forecast(states, 20, LEVELS), asked, 20, 1e-4, batch);
    const restored = states.map((state) => stateFromBytes(other, stateToBytes(state)));
    await expectBatch(await live.forecast(restored, 3, LEVELS), asked, 3, 1e-4, batch);
    await live.close();
    await batch.close();
  });

  it('scans a history longer than a batch piece by piece', async () => {
    const long = series(13_000, 4);
    const [state] = await stream.statesOf([long]);
    await expectBatch(await stream.forecast([state!], 8, LEVELS), [{ series: long, length: 13_000 }], 8);
  });

  it('leaves states as they are when it forecasts, and continues from bytes with identical numbers', async () => {
    const one = series(200, 6);
    const [state] = await stream.statesOf([{ ...one, values: one.values.subarray(0, 101) }]);
    const first = await stream.forecast([state!], 20, LEVELS);
    const bytes = stateToBytes(state!);
    expect(await stream.forecast([state!], 20, LEVELS)).toEqual(first);
    const restored = stateFromBytes(model, Uint8Array.from(bytes));
    expect(await stream.forecast([restored], 20, LEVELS)).toEqual(first);
    const rest = one.values.subarray(101);
    for (const each of [state!, restored]) {
      for (let t = 0; t < rest.length; t++) await stream.advance([{ state: each, values: rest.subarray(t, t + 1) }]);
    }
    expect(await stream.forecast([restored], 20, LEVELS)).toEqual(await stream.forecast([state!], 20, LEVELS));
    expect(stateToBytes(restored)).toEqual(stateToBytes(state!));
  });

  it('reads states from a Buffer wherever they begin in it, and keeps none of its memory', async () => {
    const one = series(60, 6);
    const [state] = await stream.statesOf([one]);
    for (const precision of ['f32', 'f16'] as const) {
      const bytes = stateToBytes(state!, precision);
      for (const offset of [0, 1, 3, 12]) {
        const buffer = Buffer.alloc(offset + bytes.length + 5, 0xff);
        buffer.set(bytes, offset);
        const restored = stateFromBytes(model, buffer.subarray(offset, offset + bytes.length));
        buffer.fill(0xff);
        expect(stateToBytes(restored, precision)).toEqual(bytes);
      }
    }
  });

  it('rounds states to half their size for little', async () => {
    const one = series(300, 2);
    const [state] = await stream.statesOf([one]);
    const exact = stateToBytes(state!);
    const half = stateToBytes(state!, 'f16');
    expect(exact.length - half.length).toBe(2 * tensorSize(model));
    const rounded = stateFromBytes(model, half);
    await expectBatch(await stream.forecast([rounded], 11, LEVELS), [{ series: one, length: 300 }], 11, 1e-2);
  });

  it('has states and memory of fixed size', async () => {
    const one = series(300, 8);
    const state = stream.newState(one);
    const sizes = new Set<number>();
    const memory = new Set<number>();
    for (let t = 0; t < 300; t++) {
      await stream.advance([{ state, values: one.values.subarray(t, t + 1) }]);
      if (t < 40) continue;
      await stream.forecast([state], 5, LEVELS);
      sizes.add(stateToBytes(state).length);
      memory.add(backend.memory.bytes);
    }
    expect(sizes.size).toBe(1);
    expect(memory.size).toBe(1);
  });

  it('refuses what makes no sense and goes on', async () => {
    const one = series(30, 5);
    const [state] = await stream.statesOf([one]);
    const empty = stream.newState({ season: 1 });
    await stream.advance([{ state: empty, values: [Number.NaN, Number.NaN] }]);
    await expect(stream.forecast([state!, empty], 3, LEVELS)).rejects.toMatchObject({ code: 'NO_VALUES' });
    await expect(stream.forecast([state!], 0, LEVELS)).rejects.toMatchObject({ code: 'BAD_HORIZON' });
    const twice = [1, 2].map((v) => ({ state: state!, values: [v] }));
    await expect(stream.advance(twice)).rejects.toMatchObject({ code: 'BAD_STREAM' });
    const foreign: SeriesState = { ...state!, digest: 'other' };
    await expect(stream.advance([{ state: foreign, values: [1] }])).rejects.toMatchObject({
      code: 'STATE_OF_OTHER_MODEL',
    });
    const bytes = stateToBytes(state!);
    expect(() => stateFromBytes(model, stateToBytes(foreign))).toThrow(
      expect.objectContaining({ code: 'STATE_OF_OTHER_MODEL' }),
    );
    for (const broken of [bytes.subarray(0, 20), bytes.subarray(0, -4), bytes.map((b, i) => (i === 0 ? 9 : b))]) {
      expect(() => stateFromBytes(model, broken)).toThrow(expect.objectContaining({ code: 'BAD_STATE' }));
    }
    await expectBatch(await stream.forecast([state!], 5, LEVELS), [{ series: one, length: 30 }], 5);
    expect(await stream.forecast([], 5, LEVELS)).toEqual(LEVELS.map(() => new Float64Array(0)));
  });
});

it('rounds numbers to the nearest half', () => {
  const random = new Random(3);
  const wrong: number[] = [];
  for (let bits = 0; bits < 0x7c00; bits++) if (numberToHalf(halfToNumber(bits)) !== bits) wrong.push(bits);
  for (let i = 0; i < 20_000; i++) {
    const x = Math.fround(random.normal() * 2 ** Math.floor(40 * random.uniform() - 28));
    const bits = numberToHalf(x);
    const near = [bits - 1, bits + 1].filter((b) => (b & 0x7fff) < 0x7c00 && b >= 0);
    if (near.some((b) => Math.abs(halfToNumber(b) - x) < Math.abs(halfToNumber(bits) - x))) wrong.push(x);
  }
  expect(wrong).toEqual([]);
  expect([65519, 65520, 1e9, -1e9, 2 ** -25, 1.1 * 2 ** -25].map(numberToHalf)).toEqual([
    0x7bff, 0x7c00, 0x7c00, 0xfc00, 0, 1,
  ]);
  expect(halfToNumber(numberToHalf(Number.NaN))).toBeNaN();
});
