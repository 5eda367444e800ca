import { describe, expect, it } from '@jest/globals';
import { STANDARD_LEVELS } from '../forecaster.js';
import { gaussianQuantiles } from '../quantiles.js';
import { NAB_PROFILES, nabScore, probation } from './nab.js';
import { pointScore } from './skab.js';
import { surprise } from './surprise.js';

const standard = NAB_PROFILES[0]!;

describe('the NAB score', () => {
  const scores = (rows: number, hits: number[]) =>
    Float64Array.from({ length: rows }, (_, i) => (hits.includes(i) ? 1 : 0));

  it('is 100 for every window found at its left edge, 0 for silence, and counts each window once', () => {
    const windows = [
      [200, 299],
      [600, 699],
    ] as const;
    const found = { scores: scores(1000, [200, 250, 600]), windows };
    expect(nabScore([found], standard)).toEqual({ score: 100, threshold: 1 });
    expect(nabScore([{ scores: new Float64Array(1000).map((_, i) => i / 1e6), windows }], standard).score).toBeLessThan(
      50,
    );
    const silent = nabScore([{ scores: scores(1000, []), windows }], standard);
    // With equal scores the only thresholds are nothing and everything, and everything is worse.
    expect(silent).toEqual({ score: 0, threshold: Number.POSITIVE_INFINITY });
  });

  it('values a detection by its place, as the published formula does', () => {
    const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
    const windows = [[400, 499]] as const;
    // Row 449 is 51 rows before the end of 100.
    const late = (2 * sigmoid(5 * 0.51) - 1) / (2 * sigmoid(5) - 1);
    const one = nabScore([{ scores: scores(1000, [449]), windows }], standard);
    expect(one.score).toBeCloseTo((100 * (late + 1)) / 2, 9);
    // A false alarm far from any window costs 0.11, one just behind it next to nothing; low FN doubles what is missed.
    const far = nabScore([{ scores: scores(1000, [400, 900]), windows }], standard);
    expect(far.score).toBeCloseTo((100 * (2 - 0.11)) / 2, 6);
    const near = nabScore([{ scores: scores(1000, [400, 500]), windows }], standard);
    expect(near.score).toBeCloseTo((100 * (2 + 0.11 * (2 * sigmoid(-5 / 99) - 1))) / 2, 6);
    const strict = nabScore([{ scores: scores(1000, [400, 900]), windows }], NAB_PROFILES[2]!);
    expect(strict.score).toBeCloseTo((100 * (3 - 0.11)) / 3, 6);
  });

  it('leaves out the start of every file and the windows in it', () => {
    expect([probation(1000), probation(22_695)]).toEqual([150, 750]);
    const windows = [
      [50, 99],
      [400, 499],
    ] as const;
    expect(nabScore([{ scores: scores(1000, [10, 400]), windows }], standard).score).toBe(100);
  });

  it('takes one threshold for all files', () => {
    const good = {
      scores: Float64Array.from({ length: 1000 }, (_, i) => (i === 400 ? 0.5 : 0)),
      windows: [[400, 499]] as const,
    };
    const loud = { scores: Float64Array.from({ length: 1000 }, (_, i) => (i % 2 ? 0.6 : 0)), windows: [] };
    expect(nabScore([good], standard).score).toBe(100);
    expect(nabScore([good, loud], standard).score).toBe(0);
  });
});

describe('the SKAB score', () => {
  it('adds up points over runs', () => {
    const [t, f] = [true, false];
    const score = pointScore([
      { reported: [t, t, f, f], labelled: [t, f, f, t] },
      { reported: [f, t], labelled: [f, t] },
    ]);
    expect(score).toEqual({ f1: 2 / 3, falseAlarmRate: 1 / 3, missedAlarmRate: 1 / 3 });
  });
});

describe('surprise', () => {
  const quantiles = gaussianQuantiles(Float64Array.of(10), Float64Array.of(2), STANDARD_LEVELS).map((v) => v[0]!);

  it('is the tail probability of a value, symmetric where the forecast is', () => {
    expect(surprise(10, quantiles)).toBe(0);
    expect(surprise(quantiles[8]!, quantiles)).toBeCloseTo(-Math.log10(0.2), 9);
    expect(surprise(quantiles[6]!, quantiles)).toBeCloseTo(-Math.log10(0.6), 9);
    // Ten steps of the last size beyond the last quantile: halved ten times.
    const beyond = quantiles[8]! + 10 * (quantiles[8]! - quantiles[7]!);
    expect(surprise(beyond, quantiles)).toBeCloseTo(-Math.log10(0.2 / 1024), 9);
    for (const d of [0.3, 2, 9]) expect(surprise(10 - d, quantiles)).toBeCloseTo(surprise(10 + d, quantiles), 9);
    expect(surprise(1e9, quantiles)).toBe(12);
    const flat = new Array(9).fill(5);
    expect([surprise(5, flat), surprise(5.1, flat)]).toEqual([0, 12]);
  });
});
