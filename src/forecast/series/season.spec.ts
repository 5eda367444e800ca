import { describe, expect, it } from '@jest/globals';
import { autocorrelation, bridge, detectSeason } from './season.js';

/** Reproducible uniform numbers (mulberry32). */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Normal numbers by the sum of twelve uniform ones. */
const normal = (next: () => number) => Array.from({ length: 12 }, next).reduce((a, b) => a + b, -6);

/** Share of 40 random histories for which detectSeason gives `season`. */
function share(season: number, make: (next: () => number, n: number) => Float64Array, n = 300): number {
  let hits = 0;
  for (let seed = 1; seed <= 40; seed++) if (detectSeason(make(random(seed), n)) === season) hits++;
  return hits / 40;
}

const series = (n: number, value: (t: number) => number) => Float64Array.from({ length: n }, (_, t) => value(t));

describe('detectSeason', () => {
  it.each([4, 7, 12, 24, 50])('finds a sine of %d steps under noise and a trend', (season) => {
    const found = share(
      season,
      (next, n) => series(n, (t) => 0.02 * t + Math.sin((2 * Math.PI * t) / season) + 0.4 * normal(next)),
      Math.max(300, 8 * season),
    );
    expect(found).toBeGreaterThan(0.9);
  });

  it.each([5, 7, 24])('finds a pulse every %d steps', (season) => {
    const found = share(season, (next, n) => series(n, (t) => (t % season === 2 ? 5 : 0) + 0.5 * normal(next)));
    expect(found).toBeGreaterThan(0.9);
  });

  it('finds a season on a wandering level', () => {
    const found = share(12, (next, n) => {
      let level = 0;
      return series(n, (t) => {
        level += 0.3 * normal(next);
        return level + 2 * Math.sin((2 * Math.PI * t) / 12);
      });
    });
    expect(found).toBeGreaterThan(0.9);
  });

  it('finds none in noise, in random walks and in short memory', () => {
    expect(share(1, (next, n) => series(n, () => normal(next)))).toBeGreaterThan(0.95);
    const walk = (phi: number) => (next: () => number, n: number) => {
      let level = 0;
      return series(n, () => {
        level = phi * level + normal(next);
        return level;
      });
    };
    for (const phi of [1, 0.95, 0.7, -0.5]) expect(share(1, walk(phi))).toBeGreaterThan(0.9);
  });

  it('sees through missing values', () => {
    const values = series(200, (t) => (t % 11 === 3 ? Number.NaN : [0, 3, 1, 7, 2, 5, 9][t % 7]! + 0.01 * t));
    expect(detectSeason(values)).toBe(7);
  });

  it('prefers the period to its multiples', () => {
    expect(detectSeason(series(300, (t) => [1, 5, 2, 9][t % 4]!))).toBe(4);
  });

  it('says nothing of constants, lines and very short histories', () => {
    expect(detectSeason(series(100, () => 3))).toBe(1);
    expect(detectSeason(series(100, (t) => 3 * t))).toBe(1);
    expect(detectSeason(Float64Array.of(1, 2, 1, 2, 1))).toBe(1);
    expect(detectSeason(Float64Array.of(Number.NaN, Number.NaN))).toBe(1);
  });
});

describe('autocorrelation', () => {
  it('agrees with its definition', () => {
    const values = Float64Array.of(2, 7, 1, 8, 2, 8, 1, 8, 2, 8);
    const mean = values.reduce((a, b) => a + b) / 10;
    const c = (lag: number) => values.slice(lag).reduce((sum, v, i) => sum + (v - mean) * (values[i]! - mean), 0);
    const found = autocorrelation(values, 4);
    for (let lag = 0; lag <= 4; lag++) expect(found[lag]).toBeCloseTo(c(lag) / c(0), 12);
  });
});

describe('bridge', () => {
  it('cuts missing ends and draws lines over inner gaps', () => {
    const { NaN: x } = Number;
    expect([...bridge(Float64Array.of(x, 1, x, x, 4, 5, x))]).toEqual([1, 2, 3, 4, 5]);
    expect(bridge(Float64Array.of(x, x))).toHaveLength(0);
  });
});
