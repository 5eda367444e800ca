import { describe, expect, it } from '@jest/globals';
import { candidateCount, FeatureState, featureCount, type TokenShape } from '../model/features.js';
import { allocatePart, BatchFiller, type PartBuffers, type PartOptions, shardsOf, tokensOf } from './batch.js';
import { type Corpus, SeriesSampler } from './corpus.js';
import { Random } from './random.js';
import { Synthesiser } from './synthesis.js';
import { WindowSampler } from './windows.js';

const P = 8;
const shape: TokenShape = { patch: P, lags: 3 };
const F = featureCount(shape);
const C = P * candidateCount(shape);

/** Series i is a ramp of slope 1 that starts at 1000·i: a value tells where it comes from. */
function ramps(): Corpus {
  const lengths = [40, 200, 300, 13, 90, 500];
  const start: number[] = [];
  const values: number[] = [];
  lengths.forEach((n, i) => {
    start.push(values.length);
    for (let t = 0; t < n; t++) values.push(1000 * i + t);
  });
  return {
    datasets: ['ramps'],
    values: Float32Array.from(values),
    start: Uint32Array.from(start),
    length: Uint32Array.from(lengths),
    season: Uint32Array.from(lengths, () => 7),
    frequencyClass: Uint8Array.from(lengths, () => 5),
    dataset: new Uint16Array(lengths.length),
    validation: Uint8Array.from([0, 0, 1, 0, 0, 0]),
  };
}

const plain: PartOptions = {
  ...shape,
  windows: 40,
  length: 96,
  synthetic: 0,
  full: 0.4,
  shortest: 12,
  rollout: 0,
  longestRollout: 0,
  lookAhead: 0,
  augment: false,
  weighting: 'short',
  shortestSeries: 12,
};
const rich: PartOptions = {
  ...plain,
  windows: 300,
  synthetic: 0.5,
  augment: true,
  rollout: 0.3,
  longestRollout: 8,
  lookAhead: 0.5,
};

function filled(parts: PartOptions[], seed: number, step: number, order?: (shards: number) => number[]): PartBuffers[] {
  const filler = new BatchFiller(ramps(), { seed, parts, validation: false });
  return parts.map((part, p) => {
    const buffers = allocatePart(part);
    for (const array of Object.values(buffers)) array.fill(77);
    const { shards } = shardsOf(part);
    for (const shard of order?.(shards) ?? Array.from({ length: shards }, (_, i) => i)) {
      filler.fill(buffers, step, p, shard);
    }
    return buffers;
  });
}

describe('WindowSampler', () => {
  it('takes contiguous pieces, right aligned but for less than a patch, never from held-out series', () => {
    const corpus = ramps();
    const sampler = new WindowSampler(
      corpus,
      new SeriesSampler(corpus, 'short', 12, false),
      new Synthesiser(96),
      plain,
    );
    const lengths = new Set<number>();
    const paddings = new Set<number>();
    for (const { values, season, frequencyClass } of sampler.draw(new Random(3), 500)) {
      const seen = [...values].flatMap((v, i) => (Number.isNaN(v) ? [] : [i]));
      const [first, last] = [seen[0]!, seen.at(-1)!];
      expect(seen.length).toBe(last - first + 1);
      expect(seen.length).toBeGreaterThanOrEqual(8);
      lengths.add(seen.length);
      paddings.add(95 - last);
      expect(95 - last).toBeLessThan(P);
      // Equal steps up: a stretch of one ramp, standardised. A ramp of n has deviation sqrt((n² − 1)/12).
      const step = 1 / Math.sqrt((seen.length ** 2 - 1) / 12);
      for (let i = first + 1; i <= last; i++) expect(values[i]! - values[i - 1]!).toBeCloseTo(step, 1);
      expect([season, frequencyClass]).toEqual([7, 5]);
    }
    expect(lengths.size).toBeGreaterThan(40);
    expect(paddings.size).toBe(P);
  });

  it('masks runs but never the first patch, and sometimes a long end', () => {
    const corpus = ramps();
    const series = new SeriesSampler(corpus, 'short', 12, false);
    const masks = (rollout: number, longestRollout = 40) => {
      const sampler = new WindowSampler(corpus, series, new Synthesiser(96), {
        ...rich,
        rollout,
        longestRollout,
        lookAhead: 0,
      });
      const random = new Random(4);
      return Array.from({ length: 2000 }, () => {
        const mask = new Uint8Array(72).fill(9);
        sampler.mask(random, mask, new Uint8Array(72), 72);
        return mask;
      });
    };
    const without = masks(0);
    expect(without.every((mask) => mask[0] === 0 && mask.every((v) => v === 0 || v === 1))).toBe(true);
    const share = without.reduce((s, mask) => s + mask.reduce((a, b) => a + b, 0), 0) / (2000 * 72);
    expect(share).toBeGreaterThan(0.12);
    expect(share).toBeLessThan(0.3);
    const longEnd = (mask: Uint8Array) => mask.subarray(-20).every((v) => v === 1);
    expect(without.filter(longEnd).length).toBeLessThan(40);
    const all = masks(1);
    expect(all.every((mask) => mask[71] === 1 && mask[70] === 1 && mask[0] === 0)).toBe(true);
    expect(all.filter(longEnd).length).toBeGreaterThan(300);
    expect(masks(1, 8).filter(longEnd).length).toBeLessThan(100);
  });

  it('places look-ahead tokens, half of them with nothing but masked patches behind', () => {
    const corpus = ramps();
    const series = new SeriesSampler(corpus, 'short', 12, false);
    const sampler = new WindowSampler(corpus, series, new Synthesiser(96), { ...rich, rollout: 0, lookAhead: 0.5 });
    const random = new Random(6);
    const places = new Set<number>();
    const seen = new Set<number>();
    let count = 0;
    let last = 0;
    for (let i = 0; i < 4000; i++) {
      const mask = new Uint8Array(12);
      const fresh = new Uint8Array(12);
      sampler.mask(random, mask, fresh, 12);
      expect(mask[0]).toBe(0);
      const found = [...fresh.keys()].filter((j) => fresh[j]! < P);
      if (found.length === 0) continue;
      count++;
      for (const j of found) {
        places.add(j);
        seen.add(fresh[j]!);
      }
      const [at] = found;
      if (found.length === 1 && mask[at!] === 0 && at! < 11 && mask.subarray(at! + 1).every((hidden) => hidden === 1)) {
        last++;
      }
    }
    expect(count / 4000).toBeCloseTo(0.5, 1);
    expect(last / count).toBeGreaterThan(0.45);
    expect(last / count).toBeLessThan(0.65);
    expect([...places].sort((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, i) => i));
    expect([...seen].sort((a, b) => a - b)).toEqual(Array.from({ length: P - 1 }, (_, i) => i + 1));
  });

  it('alters what it may and leaves everything finite or missing', () => {
    const corpus = ramps();
    const series = new SeriesSampler(corpus, 'short', 12, false);
    const sampler = new WindowSampler(corpus, series, new Synthesiser(96), { ...rich, synthetic: 0 });
    let falling = 0;
    let holes = 0;
    let forgotten = 0;
    const windows = sampler.draw(new Random(8), 1000);
    for (const { values, season } of windows) {
      const seen = [...values].filter((v) => !Number.isNaN(v));
      expect(seen.every(Number.isFinite)).toBe(true);
      const first = values.findIndex((v) => !Number.isNaN(v));
      const last = values.findLastIndex((v) => !Number.isNaN(v));
      if (seen.length < last - first + 1) holes++;
      if (seen.at(-1)! < seen[0]!) falling++;
      if (season === 1) forgotten++;
    }
    expect(falling / 1000).toBeGreaterThan(0.3);
    expect(falling / 1000).toBeLessThan(0.5);
    expect(holes / 1000).toBeGreaterThan(0.03);
    expect(forgotten / 1000).toBeGreaterThan(0.1);
  });
});

describe('BatchFiller', () => {
  it('fills shards that depend on (seed, step, part, shard) alone', () => {
    const parts = [
      { ...rich, windows: 500 },
      { ...rich, length: 32, windows: 700 },
    ];
    expect(shardsOf(parts[0]!).shards).toBeGreaterThan(3);
    const a = filled(parts, 5, 9);
    const b = filled(parts, 5, 9, (n) => Array.from({ length: n }, (_, i) => n - 1 - i));
    expect(b).toEqual(a);
    expect(filled(parts, 5, 10)).not.toEqual(a);
    expect(filled(parts, 6, 9)).not.toEqual(a);
  });

  it('counts its targets, zeroes what lies behind a sequence, and keeps everything finite', () => {
    const [buffers] = filled([{ ...rich, lookAhead: 0 }], 1, 2);
    const tokens = tokensOf(rich);
    let sum = 0;
    for (let row = 0; row < rich.windows; row++) {
      const n = buffers!.lengths[row]!;
      expect(n).toBeGreaterThanOrEqual(1);
      expect(n).toBeLessThanOrEqual(tokens);
      for (const [array, width] of [
        [buffers!.features, F],
        [buffers!.candidates, C],
        [buffers!.target, P],
        [buffers!.weights, P],
        [buffers!.frequency, 1],
      ] as const) {
        const behind = array.subarray((row * tokens + n) * width, (row + 1) * tokens * width);
        expect(behind.every((v) => v === 0)).toBe(true);
      }
      // The last token of a window has nothing to be judged by.
      const last = (row * tokens + n - 1) * P;
      expect(buffers!.weights.subarray(last, last + P).every((v) => v === 0)).toBe(true);
    }
    for (const w of buffers!.weights) sum += w;
    expect(buffers!.counts.reduce((a, b) => a + b, 0)).toBe(sum);
    for (const array of [buffers!.features, buffers!.candidates, buffers!.target]) {
      expect(array.every(Number.isFinite)).toBe(true);
    }
  });

  it('writes the tokens and targets that the features define, hiding masked patches from the input only', () => {
    const part = { ...plain, windows: 30 };
    const options = { seed: 2, parts: [part], validation: false };
    const buffers = allocatePart(part);
    const filler = new BatchFiller(ramps(), options);
    filler.fill(buffers, 0, 0, 0, (j) => j === 2 || j === 3);
    const corpus = ramps();
    const sampler = new WindowSampler(corpus, new SeriesSampler(corpus, 'short', 12, false), new Synthesiser(96), part);
    const windows = sampler.draw(new Random(2, 0, 0, 0), 30);
    const features = new Float32Array(F);
    const candidates = new Float32Array(C);
    windows.forEach(({ values, season }, row) => {
      const n = buffers.lengths[row]!;
      const from = part.length - n * P;
      expect(values.subarray(0, from).every(Number.isNaN)).toBe(true);
      expect(values.subarray(from, from + P).every(Number.isNaN)).toBe(false);
      const state = new FeatureState(shape, season);
      for (let j = 0; j < n; j++) {
        const hidden = j === 2 || j === 3;
        for (let p = 0; p < P; p++) state.push(hidden ? Number.NaN : values[from + j * P + p]!);
        const ready = state.emit(features, 0, candidates, 0);
        const token = row * tokensOf(part) + j;
        expect(buffers.features.slice(token * F, (token + 1) * F)).toEqual(features);
        expect(buffers.candidates.slice(token * C, (token + 1) * C)).toEqual(candidates);
        for (let p = 0; p < P; p++) {
          const next = j + 1 < n ? values[from + (j + 1) * P + p]! : Number.NaN;
          const judged = ready && !Number.isNaN(next);
          expect(buffers.weights[token * P + p]).toBe(judged ? 1 : 0);
          expect(buffers.target[token * P + p]).toBeCloseTo(judged ? state.toUnits(next) : 0, 4);
        }
      }
    });
  });

  it('makes the tokens of windows with a look-ahead token as a stream makes them', () => {
    const part = { ...plain, windows: 60, lookAhead: 1 };
    const buffers = allocatePart(part);
    const corpus = ramps();
    new BatchFiller(corpus, { seed: 4, parts: [part], validation: false }).fill(buffers, 0, 0, 0);
    const sampler = new WindowSampler(corpus, new SeriesSampler(corpus, 'short', 12, false), new Synthesiser(96), part);
    const random = new Random(4, 0, 0, 0);
    const windows = sampler.draw(random, 60);
    const features = new Float32Array(F);
    const candidates = new Float32Array(C);
    const mask = new Uint8Array(tokensOf(part));
    const fresh = new Uint8Array(tokensOf(part));
    const places: number[] = [];
    windows.forEach(({ values, season }, row) => {
      const n = buffers.lengths[row]!;
      sampler.mask(random, mask, fresh, n);
      places.push(...[...fresh.keys()].filter((j) => j < n && fresh[j]! < P));
      const start = values.findIndex((v) => !Number.isNaN(v));
      let next = fresh[0]! < P ? start : part.length - n * P;
      const state = new FeatureState(shape, season);
      for (let j = 0; j < n; j++) {
        const count = fresh[j]!;
        for (let p = 0; p < count; p++, next++) state.push(mask[j] === 1 ? Number.NaN : (values[next] ?? Number.NaN));
        const ready = state.emit(features, 0, candidates, 0, count);
        const token = row * tokensOf(part) + j;
        expect(buffers.features.slice(token * F, (token + 1) * F)).toEqual(features);
        expect(buffers.candidates.slice(token * C, (token + 1) * C)).toEqual(candidates);
        if (ready) expect(features[F - 3]).toBeCloseTo(count / P, 6);
        for (let p = 0; p < P; p++) {
          const target = values[next + p] ?? Number.NaN;
          const judged = ready && !Number.isNaN(target);
          expect(buffers.weights[token * P + p]).toBe(judged ? 1 : 0);
          expect(buffers.target[token * P + p]).toBeCloseTo(judged ? state.toUnits(target) : 0, 4);
        }
      }
    });
    expect(places.filter((at) => at === 0).length).toBeGreaterThan(3);
    expect(places.filter((at) => at > 0).length).toBeGreaterThan(20);
  });
});
