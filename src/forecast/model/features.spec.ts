import { describe, expect, it } from '@jest/globals';
import {
  candidateCount,
  FeatureState,
  featureCount,
  MAX_SEASON,
  MEMORY,
  type TokenShape,
  usableSeason,
} from './features.js';
import { frequencyClass } from './frequency.js';

const P = 16;
const shape: TokenShape = { patch: P, lags: 3 };

/** A small generator of our own for the tests: numerical recipes' LCG. */
function numbers(seed: number): () => number {
  let s = seed >>> 0;
  return () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s / 2 ** 32;
  };
}

function seasonal(length: number, m: number, missing: number, seed: number): number[] {
  const next = numbers(seed);
  let level = 0;
  return Array.from({ length }, (_, t) => {
    level += next() - 0.5;
    const x = level + 3 * Math.sin((2 * Math.PI * t) / m) + next();
    return t > 0 && next() < missing ? Number.NaN : x;
  });
}

function token(
  state: FeatureState,
  fresh?: number,
): { features: Float32Array; candidates: Float32Array; ready: boolean } {
  const features = new Float32Array(featureCount(state.shape)).fill(Number.NaN);
  const candidates = new Float32Array(P * candidateCount(state.shape)).fill(Number.NaN);
  return { ready: state.emit(features, 0, candidates, 0, fresh), features, candidates };
}

/** The definitions of features.ts written down over the whole history at once, with plain sums. */
function fromDefinition(x: number[], m: number, { lags }: TokenShape = shape, fresh = P) {
  const t = x.length;
  const seen = x.filter(Number.isFinite);
  const mean = seen.reduce((a, b) => a + b, 0) / seen.length;
  let sd = Math.sqrt(seen.reduce((a, b) => a + (b - mean) ** 2, 0) / seen.length);
  const pairs = (lag: number) =>
    x.flatMap((v, i) =>
      i >= lag && Number.isFinite(v) && Number.isFinite(x[i - lag]!) ? [Math.abs(v - x[i - lag]!)] : [],
    );
  const average = (a: number[]) => a.reduce((p, q) => p + q, 0) / a.length;
  const d1 = pairs(1);
  let d = d1.length > 0 ? average(d1) : sd;
  sd = Math.max(sd, 0.05 * d);
  d = Math.max(d, 0.01 * sd);
  const U = Math.sqrt(sd * d);
  let lastAt = t - 1;
  while (!Number.isFinite(x[lastAt]!)) lastAt--;
  const last = x[lastAt]!;
  const recent = Array.from({ length: P }, (_, p) => x[t - P + p] ?? Number.NaN);
  const lag = (p: number, k: number) => {
    const cycle = k < 2 ? m : 7 * m;
    if (k === 2 && (m === 1 || cycle > MAX_SEASON)) return Number.NaN;
    let i = t + p;
    while (i > lastAt) i -= cycle;
    if (k === 1) i -= m;
    return i >= 0 ? x[i]! : Number.NaN;
  };
  const each = Array.from({ length: lags }, (_, k) => k);
  const steps = Array.from({ length: P }, (_, p) => p);
  const known = (v: number) => (Number.isFinite(v) ? 1 : 0);
  const or0 = (v: number) => (Number.isFinite(v) ? v : 0);
  const phase = (2 * Math.PI * t) / m;
  const distance = (t - 1 - lastAt) / P;
  const dm = m > 1 ? pairs(m) : [];
  const seasonKnown = m > 1 ? 1 : 0;
  return {
    features: [
      ...recent.map((v) => or0(Math.asinh((v - mean) / sd))),
      ...recent.map(known),
      ...recent.map((v) => or0(Math.asinh((v - last) / U))),
      ...each.flatMap((k) => [
        ...steps.map((p) => or0(Math.asinh((lag(p, k) - last) / U))),
        ...steps.map((p) => known(lag(p, k))),
      ]),
      Math.asinh((last - mean) / sd),
      Math.log(U / sd),
      Math.log(d / sd),
      Math.log(1 + seen.length) / 4,
      Math.min(distance, 8) / 4,
      Math.log(1 + distance) / 2,
      seasonKnown * Math.sin(phase),
      seasonKnown * Math.cos(phase),
      seasonKnown * Math.sin(2 * phase),
      seasonKnown * Math.cos(2 * phase),
      seasonKnown * Math.sin((2 * Math.PI * P) / m),
      seasonKnown * Math.cos((2 * Math.PI * P) / m),
      Math.log(m) / 5,
      fresh / P,
      dm.length > 0 ? Math.log(average(dm) / sd) / 2 : 0,
      dm.length > 0 ? 1 : 0,
    ],
    candidates: steps.flatMap((p) => [(mean - last) / U, 0, ...each.map((k) => or0((lag(p, k) - last) / U))]),
  };
}

function expectClose(actual: Float32Array, expected: number[], tolerance = 2e-5): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!) / (1 + Math.abs(expected[i]!));
    if (!(error <= tolerance)) throw new Error(`number ${i}: ${actual[i]} instead of ${expected[i]}`);
  }
}

describe('FeatureState', () => {
  it.each([
    [1, 0],
    [7, 0],
    [12, 0.2],
    [24, 0.6],
    [100, 0.05],
  ])('equals the definitions over the whole history after every value (season %d, %d missing)', (m, missing) => {
    const x = seasonal(260, m, missing, m + 1);
    const state = new FeatureState(shape, m);
    for (let t = 0; t < x.length; t++) {
      state.push(x[t]!);
      const { ready, features, candidates } = token(state);
      const seen = x.slice(0, t + 1).filter(Number.isFinite);
      expect(ready).toBe(new Set(seen).size > 1);
      if (!ready) continue;
      const expected = fromDefinition(x.slice(0, t + 1), m);
      expectClose(features, expected.features);
      expectClose(candidates, expected.candidates);
    }
  });

  it.each([
    { patch: P, lags: 0 },
    { patch: P, lags: 2 },
  ] as const)('equals the definitions for tokens of the shape %j, whatever is new in them', (other) => {
    const x = seasonal(150, 12, 0.1, 6);
    const state = new FeatureState(other, 12);
    for (let t = 0; t < x.length; t++) {
      state.push(x[t]!);
      const fresh = 1 + (t % P);
      const { ready, features, candidates } = token(state, fresh);
      if (!ready) continue;
      const expected = fromDefinition(x.slice(0, t + 1), 12, other, fresh);
      expectClose(features, expected.features);
      expectClose(candidates, expected.candidates);
    }
  });

  it('knows no week that is longer than the longest season', () => {
    const x = seasonal(1000, 170, 0, 8);
    const state = new FeatureState(shape, 170);
    for (const v of x) state.push(v);
    const { features, candidates } = token(state);
    const expected = fromDefinition(x, 170);
    expectClose(features, expected.features, 1e-4);
    expectClose(candidates, expected.candidates, 1e-4);
    expect(features.subarray(8 * P, 9 * P).every((known) => known === 0)).toBe(true);
  });

  it('follows masked patches ahead by whole seasons, further than two seasons and after gaps longer than the ring', () => {
    for (const m of [5, 24]) {
      const x = seasonal(130, m, 0, 3).concat(new Array(90).fill(Number.NaN));
      x.push(1.5, Number.NaN, 2.5);
      const state = new FeatureState(shape, m);
      for (let t = 0; t < x.length; t++) {
        state.push(x[t]!);
        if (t < 100) continue;
        const expected = fromDefinition(x.slice(0, t + 1), m);
        const { features, candidates } = token(state);
        expectClose(features, expected.features);
        expectClose(candidates, expected.candidates);
      }
    }
  });

  it.each([
    [1, 1e9],
    [1e-200, 0],
    [1e200, 0],
    [3e5, -7e12],
    [1e-3, 1],
  ])('is invariant under x → %d·x + %d', (a, b) => {
    const x = seasonal(150, 12, 0.1, 9).map((v) => Math.round(v * 1024) / 1024);
    const plain = new FeatureState(shape, 12);
    const moved = new FeatureState(shape, 12);
    // What the offset rounds away of the values themselves is not the features' to keep.
    const resolution = (Math.abs(b) * 2 ** -52) / a;
    for (const v of x) {
      plain.push(v);
      moved.push(a * v + b);
      expectClose(token(moved).features, [...token(plain).features], 1e-5 + 50 * resolution);
    }
    const y = plain.fromUnits(2.5);
    expect(Math.abs((moved.fromUnits(2.5) - b) / a - y)).toBeLessThan(1e-6 + 50 * resolution);
    expect(moved.toUnits(moved.fromUnits(-1.25))).toBeCloseTo(-1.25, 4);
  });

  it('writes zeros and a scale of 0 while all observations are equal, and forecasts the constant', () => {
    const state = new FeatureState(shape, 7);
    expect(token(state).ready).toBe(false);
    for (const v of [Number.NaN, 42.5, 42.5, Number.NaN, 42.5]) state.push(v);
    const { ready, features, candidates } = token(state);
    expect(ready).toBe(false);
    expect([...features, ...candidates].every((v) => v === 0)).toBe(true);
    expect(state.fromUnits(123)).toBe(42.5);
    expect(state.toUnits(1e6)).toBe(0);
    state.push(43);
    expect(token(state).ready).toBe(true);
  });

  it('stays finite and bounded whatever comes', () => {
    const state = new FeatureState(shape, 4);
    const nasty = [0, 1e-300, 1e308, -1e308, Number.POSITIVE_INFINITY, 5e-324, 0, 0, 1e15, -3, Number.MAX_VALUE];
    for (let t = 0; t < 200; t++) {
      state.push(nasty[(t * 7) % nasty.length]!);
      const { features, candidates } = token(state);
      expect([...features, ...candidates].every((v) => Number.isFinite(v) && Math.abs(v) <= 1e4)).toBe(true);
    }
  });

  it('forgets: after many memories the scales are those of the present', () => {
    const state = new FeatureState(shape, 1);
    const next = numbers(5);
    for (let t = 0; t < 3000; t++) state.push(1e6 * next());
    for (let t = 0; t < 40 * MEMORY; t++) state.push(1e6 + (t % 2));
    const { features } = token(state);
    const o = 9 * P;
    // 0/1 alternation: sd 1/2, mean |difference| 1.
    expect(Math.exp(features[o + 2]!)).toBeCloseTo(2, 2);
    expect(Math.exp(features[o + 1]!)).toBeCloseTo(Math.SQRT2, 2);
  });

  it('continues from its serialised form and from a clone with identical numbers', () => {
    const x = seasonal(400, 24, 0.1, 11);
    const whole = new FeatureState(shape, 24);
    for (const v of x.slice(0, 200)) whole.push(v);
    token(whole);
    const bytes = new Uint8Array(whole.serialise().buffer.slice(0));
    const restored = FeatureState.deserialise(shape, 24, new Float64Array(bytes.buffer));
    const copy = whole.clone();
    expect(restored.fromUnits(1)).toBe(whole.fromUnits(1));
    for (const v of x.slice(200)) {
      for (const state of [whole, restored, copy]) state.push(v);
      const expected = token(whole);
      expect(token(restored)).toEqual(expected);
      expect(token(copy)).toEqual(expected);
    }
    expect(() => FeatureState.deserialise(shape, 12, whole.serialise())).toThrow(/has \d+ numbers/);
    const broken = whole.serialise();
    broken[12] = 99;
    expect(() => FeatureState.deserialise(shape, 24, broken)).toThrow(/out of range/);
  });

  it('is reset completely, also to another season', () => {
    const used = new FeatureState(shape, 90);
    for (const v of seasonal(500, 90, 0, 2)) used.push(v);
    token(used);
    used.reset(6);
    const fresh = new FeatureState(shape, 6);
    for (const v of seasonal(60, 6, 0.2, 4)) {
      used.push(v);
      fresh.push(v);
      expect(token(used)).toEqual(token(fresh));
    }
  });
});

describe('season and frequency', () => {
  it('takes seasons the features can hold and calls others unknown', () => {
    expect([0, 1, 1.4, 1.6, 12, MAX_SEASON, MAX_SEASON + 1, Number.NaN, -3].map(usableSeason)).toEqual([
      1,
      1,
      1,
      2,
      12,
      MAX_SEASON,
      1,
      1,
      1,
    ]);
  });

  it.each([
    ['Y', 1],
    ['A-DEC', 1],
    ['QS-OCT', 2],
    ['M', 3],
    ['MS', 3],
    ['W-SUN', 4],
    ['D', 5],
    ['1D', 5],
    ['B', 6],
    ['h', 7],
    ['15min', 8],
    ['5T', 8],
    ['10s', 9],
    ['2778us', 9],
    ['20ms', 9],
    ['4W', 0],
    ['6M', 0],
    ['other', 0],
    ['', 0],
    [undefined, 0],
  ])('reads the frequency %s as class %d', (frequency, expected) => {
    expect(frequencyClass(frequency)).toBe(expected);
  });
});
