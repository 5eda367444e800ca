import { describe, expect, it } from '@jest/globals';
import { Random } from '../training/random.js';
import { EventScorer } from './event-scorer.js';
import { gammaTail } from './gamma-tail.js';

/** Simpson's rule on the density of the gamma distribution, in the logarithm of x so that small shapes are smooth. */
function tailByIntegration(shape: number, x: number): number {
  const density = (u: number) => Math.exp(shape * u - Math.exp(u));
  const simpson = (from: number, to: number, n = 40_000) => {
    const h = (to - from) / n;
    let sum = density(from) + density(to);
    for (let i = 1; i < n; i++) sum += density(from + i * h) * (i % 2 ? 4 : 2);
    return (sum * h) / 3;
  };
  const top = Math.log(1000);
  return simpson(Math.log(x), top) / simpson(-60 / shape, top);
}

describe('the tail of a gamma distribution', () => {
  it('is that of the exponential for shape 1 and of a sum of exponentials for whole shapes', () => {
    for (const x of [0, 0.01, 1, 3, 40, 2000]) expect(gammaTail(1, x)).toBeCloseTo(x * Math.LOG10E, 9);
    const erlang = (k: number, x: number) => {
      let term = 1;
      let sum = 1;
      for (let i = 1; i < k; i++) sum += term *= x / i;
      return x * Math.LOG10E - Math.log10(sum);
    };
    for (const k of [2, 4, 17, 200]) {
      for (const x of [k / 3, k, 1.5 * k, 3 * k]) expect(gammaTail(k, x)).toBeCloseTo(erlang(k, x), 8);
    }
  });

  it('is the integral of the density for any shape', () => {
    for (const shape of [0.08, 0.5, 2.7, 30.3]) {
      for (const x of [0.02, 0.5, 2, 9, 60]) {
        const expected = -Math.log10(tailByIntegration(shape, x));
        expect(Math.abs(gammaTail(shape, x) - expected)).toBeLessThan(1e-6 * Math.max(1, expected));
      }
    }
  });
});

/** What an EventScorer says at the last of these values, from all of them at once: no state, weights written out. */
function oracle(values: number[], step: number[], block: number[]): number {
  const expected = Math.LOG10E;
  const unique = (t: number) => {
    const view = (x: number[], averaged: number) => {
      if (Number.isNaN(x[t]!)) return 0;
      const known = x.slice(0, t).filter((v) => !Number.isNaN(v));
      // Each value takes 1/count of the weight; the first 50 of the count, and what none has taken, are the prior's.
      let prior = 1;
      const weights = known.map((_, i) => 1 / Math.min(51 + i, 500));
      for (let i = 0; i < known.length; i++) {
        for (let j = 0; j < i; j++) weights[j]! *= 1 - weights[i]!;
        prior *= 1 - weights[i]!;
      }
      const mean = known.reduce((sum, v, i) => sum + weights[i]! * v, prior * expected);
      const square = (v: number) => (v - mean) ** 2;
      const variance = known.reduce(
        (sum, v, i) => sum + weights[i]! * square(v),
        prior * (expected ** 2 / averaged + square(expected)),
      );
      const shape = Math.min(200, mean ** 2 / variance);
      return gammaTail(shape, (x[t]! * shape) / mean);
    };
    const before = values.slice(0, t).filter((v) => !Number.isNaN(v));
    const [low, high] = [Math.min(...before), Math.max(...before)];
    const beyond = Math.max(0, values[t]! - high, low - values[t]!) / (high - low);
    const novelty = high > low && !Number.isNaN(values[t]!) ? 5 * Math.min(1, 5 * beyond) : 0;
    return Math.max(view(step, 1), view(block, 4)) + novelty;
  };
  const t = values.length - 1;
  const score = unique(t);
  const others = Array.from({ length: Math.min(100, t) }, (_, i) => unique(t - 1 - i));
  return others.every((other) => other < score) && score > 0 ? score : score / 10;
}

describe('event scores', () => {
  it('are those of a plain computation over the whole past, missing values and long series included', () => {
    const random = new Random(4);
    const [values, step, block]: number[][] = [[], [], []];
    const scorer = new EventScorer();
    for (let t = 0; t < 900; t++) {
      const missing = random.chance(0.05);
      const wild = random.chance(0.02) ? 10 : 1;
      values!.push(missing ? Number.NaN : wild * random.normal());
      step!.push(missing || t === 0 ? Number.NaN : -wild * Math.log10(1 - random.uniform()));
      block!.push(t < 4 ? Number.NaN : wild * random.uniform());
      const score = scorer.push(values![t]!, step![t]!, block![t]!);
      if (t < 150 ? t % 7 === 0 : t % 150 === 0 || t === 899) {
        expect(score).toBeCloseTo(oracle(values!, step!, block!), 6);
      }
    }
  });

  const run = (step: ArrayLike<number>, block?: ArrayLike<number>, values?: ArrayLike<number>) => {
    const scorer = new EventScorer();
    return Float64Array.from(step, (s, t) => scorer.push(values?.[t] ?? 0, s, block?.[t] ?? Number.NaN));
  };
  const calm = () => Float64Array.from({ length: 400 }, (_, t) => [0.1, 0.9, 0.4, 0.2, 0.6][t % 5]!);

  it('say an event once, and louder in a series that never surprised than in one that always does', () => {
    const quiet = calm().map((s, t) => (t >= 300 && t < 310 ? 6 - (t - 300) / 10 : s));
    const wild = calm().map((s, t) => (t === 300 ? 6 : t % 20 === 0 ? 5 : s));
    const scores = run(quiet);
    expect(scores.indexOf(Math.max(...scores))).toBe(300);
    expect(Math.max(...scores.subarray(301, 390))).toBeLessThan(scores[300]! / 5);
    expect(run(wild)[300]!).toBeLessThan(scores[300]! / 2);
  });

  it('rise with what surprises little each time but all along, and with values never seen', () => {
    const usual = calm();
    const block = usual.map((_, t) => (t === 300 ? 2.5 : 0.44 + 0.2 * Math.sin(t)));
    expect(run(usual, block)[300]!).toBeGreaterThan(5);
    const values = usual.map((_, t) => (t === 300 ? 1.5 : Math.sin(t)));
    const seen = usual.map((_, t) => (t === 300 ? 0.9 : Math.sin(t)));
    expect(run(usual, undefined, seen)[300]!).toBeLessThan(1);
    // Outside by a quarter of the range, which says as much as outside by any more.
    expect(run(usual, undefined, values)[300]!).toBeGreaterThan(5);
    expect(run(usual, undefined, values)[300]!).toBeLessThan(6);
  });

  it('stay finite when a series moves again that was constant for a hundred thousand values', () => {
    const scorer = new EventScorer();
    for (let t = 0; t < 100_000; t++) scorer.push(7, 0, 0);
    const score = scorer.push(8, 12, 3);
    expect(score).toBeGreaterThan(8);
    expect(score).toBeLessThan(20);
    expect(scorer.push(7, 0, 3)).toBeLessThan(score);
  });
});
