import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { SMALL } from '../../test/live/support/model.js';
import type { Backend } from '../engine/backend.js';
import { createWasmBackend } from '../engine/backends/wasm/index.js';
import { Random } from '../engine/random.js';
import { ParameterLayout } from '../engine/training/arena.js';
import { FeatureState } from '../forecast/model/features.js';
import { ForecasterModel } from '../forecast/model/model.js';
import { forecasterParameters } from '../forecast/model/network.js';
import { StreamBatch } from '../forecast/model/stream-batch.js';
import { LONGEST_GAP } from './grid.js';
import { advanceAll } from './loader.js';
import { SeriesCore } from './series-core.js';
import { coreOf, takeSnapshot } from './snapshot.js';

const HOUR = 3_600_000;
const START = Date.UTC(2026, 0, 1);

let backend: Backend;
let model: ForecasterModel;
let batch: StreamBatch;
beforeAll(async () => {
  backend = await createWasmBackend();
  const random = new Random(3);
  const weights = new ParameterLayout(forecasterParameters(SMALL))
    .initial(random)
    .map((v) => v + 0.1 * random.normal());
  model = new ForecasterModel(backend, SMALL, weights, 'random', 'digest');
  batch = new StreamBatch(model);
});
afterAll(async () => {
  await batch.close();
  model.free();
  await backend.dispose();
});

function newCore(season: number): SeriesCore {
  const grid = { frequency: 'H', anchor: START, nearest: true };
  const state = batch.newState({ season, frequency: 'H' });
  return new SeriesCore({ grid, season, origin: 0, cutAt: null, kept: 0 }, new FeatureState(SMALL, season), state);
}

const quantiles = async (core: SeriesCore) =>
  (await batch.forecast([core.state], 20, [0.1, 0.5, 0.9])).map((row) => [...row]);

async function whole(values: Float64Array, season: number) {
  const [state] = await batch.statesOf([{ values, season, frequency: 'H' }]);
  return (await batch.forecast([state!], 20, [0.1, 0.5, 0.9])).map((row) => [...row]);
}

function expectClose(got: number[][], wanted: number[][]): void {
  const size = Math.max(...wanted.flat().map(Math.abs));
  for (const [q, row] of wanted.entries()) {
    for (const [i, value] of row.entries()) expect(Math.abs(got[q]![i]! - value) / size).toBeLessThan(1e-5);
  }
}

/** Some values, with gaps of a few steps. */
function history(length: number, random: Random): Float64Array {
  const values = Float64Array.from({ length }, (_, i) => 50 + 5 * Math.sin(i / 4) + random.normal());
  for (let i = 1; i < length; i++)
    if (random.uniform() < 0.03) values.fill(Number.NaN, i, i + 1 + Math.floor(random.uniform() * 40));
  values[length - 1] = 51;
  return values;
}

it.each([1, 2, 3, 4, 5, 6])(
  'comes to the state of one whole scan in any pieces, shuffled inside the open patch (%i)',
  async (seed) => {
    const random = new Random(seed);
    const season = [1, 6, 24][seed % 3]!;
    const values = history(300 + seed, random);
    let core = newCore(season);
    const points = [...values.keys()].filter((i) => !Number.isNaN(values[i]!));
    while (points.length > 0) {
      // Everything of the open patch and a little more may come in any order.
      const piece = points.splice(0, 1 + Math.floor(random.uniform() * (random.uniform() < 0.1 ? 90 : 6)));
      const same = piece.every((i) => i < core.kept + 16);
      if (same) piece.sort(() => random.uniform() - 0.5);
      const times = Float64Array.from(
        piece,
        (i) => START + i * HOUR + Math.round((random.uniform() - 0.5) * HOUR * 0.9),
      );
      expect(
        core.add(
          times,
          Float64Array.from(piece, (i) => values[i]!),
        ),
      ).toBe(true);
      await advanceAll(batch, [core]);
      expect(core.position).toBe(Math.max(...piece, core.position - 1) + 1);
      if (random.uniform() < 0.1 && core.kept > 0) {
        // As after a crash: the snapshot, and the points behind it once more.
        const bytes = takeSnapshot(model, core, 1n, 'a', 0).bytes;
        const restored = coreOf(model, bytes);
        const last = core.position;
        for (let i = core.kept; i < last; i++) {
          if (!Number.isNaN(values[i]!)) restored.add(Float64Array.of(START + i * HOUR), Float64Array.of(values[i]!));
        }
        await advanceAll(batch, [restored]);
        core = restored;
      }
    }
    expectClose(await quantiles(core), await whole(values, season));
  },
);

it('averages the points of a step, whenever they come while the patch is open', async () => {
  const random = new Random(9);
  const values = history(45, random).map((v) => (Number.isNaN(v) ? 1 : v));
  const core = newCore(6);
  for (const [i, value] of values.entries()) {
    core.add(Float64Array.of(START + i * HOUR), Float64Array.of(value - 2));
    await advanceAll(batch, [core]);
  }
  for (let i = core.kept; i < 45; i++) {
    core.add(Float64Array.of(START + i * HOUR + 1000), Float64Array.of(values[i]! + 2));
    await advanceAll(batch, [core]);
  }
  const expected = values.map((v, i) => (i < core.kept ? v - 2 : v));
  expectClose(await quantiles(core), await whole(expected, 6));
});

it('refuses what is behind the open patch, and takes nothing of the piece', async () => {
  const core = newCore(1);
  core.add(
    Float64Array.from({ length: 40 }, (_, i) => START + i * HOUR),
    new Float64Array(40).fill(3),
  );
  await advanceAll(batch, [core]);
  expect(core.kept).toBe(32);
  const before = await quantiles(core);
  expect(core.add(Float64Array.of(START + 41 * HOUR, START + 31 * HOUR), Float64Array.of(5, 5))).toBe(false);
  expect(core.due).toBe(false);
  expect(await quantiles(core)).toEqual(before);
  expect(core.coveredThrough).toBe(START + 32 * HOUR - HOUR / 2 - 1);
});

it('lets a gap of any length end as one of the longest that counts, in the phase of the season', async () => {
  const random = new Random(4);
  const values = history(100, random);
  const season = 24;
  const cycle = 7 * season;
  const results: number[][][] = [];
  for (const gap of [LONGEST_GAP + 5, LONGEST_GAP + 5 + cycle, LONGEST_GAP + 5 + 5000 * cycle]) {
    const core = newCore(season);
    const times = [...values.keys()].map((i) => START + i * HOUR);
    core.add(Float64Array.from(times), values);
    await advanceAll(batch, [core]);
    const resumed = START + (99 + gap) * HOUR;
    for (let i = 0; i < 10; i++) {
      core.add(Float64Array.of(resumed + i * HOUR), Float64Array.of(48 + i));
      await advanceAll(batch, [core]);
    }
    expect(core.position).toBe(99 + LONGEST_GAP + 5 + 10);
    expect(core.timeOf(core.position)).toBe(resumed + 10 * HOUR);
    // What lies in a gap that was cut is too late.
    if (gap > LONGEST_GAP + cycle) expect(core.add(Float64Array.of(resumed - HOUR), Float64Array.of(1))).toBe(false);
    results.push(await quantiles(core));
  }
  expectClose(results[1]!, results[0]!);
  expectClose(results[2]!, results[0]!);
});
