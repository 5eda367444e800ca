import { describe, expect, it } from '@jest/globals';
import { Random } from '../../engine/random.js';
import { auc, logLoss } from '../metrics/index.js';
import { Boosting } from './boosting.js';
import { EnergyDetector, logPower } from './energy.js';
import { MarkovTurns } from './markov.js';
import { Ridge } from './ridge.js';
import { HISTORY_COLUMNS, TurnHistory } from './turn-history.js';

describe('Markov floor', () => {
  it('counts what follows each state', () => {
    // A talks all the time, B never: only states A (and, mirrored, B) are seen.
    const a = new Uint8Array(400).fill(1);
    const model = MarkovTurns.fit([[a, new Uint8Array(400)]]);
    expect(model.probability(1, 0, 0, 2)).toBeGreaterThan(0.99);
    expect(model.probability(1, 0, 1, 2)).toBeLessThan(0.01);
    expect(model.probability(0, 1, 1, 0)).toBeGreaterThan(0.99);
    expect(model.probability(1, 1, 0, 0)).toBe(0.5);
  });
});

describe('boosting', () => {
  it('learns an exclusive or, which no single split can, and is calibrated', () => {
    const random = new Random(2);
    const rows = 8000;
    const x = Float32Array.from({ length: rows * 3 }, () => random.uniform(-1, 1));
    const truth = (i: number) => (x[3 * i] > 0 !== x[3 * i + 1] > 0.2 ? 0.9 : 0.2);
    const y = Uint8Array.from({ length: rows }, (_, i) => (random.uniform() < truth(i) ? 1 : 0));
    const half = rows / 2;
    const model = Boosting.fit(x.subarray(0, half * 3), 3, y.subarray(0, half), { trees: 60, depth: 3 });
    const said = model.predictAll(x.subarray(half * 3));
    const best = Float64Array.from({ length: half }, (_, i) => truth(half + i));
    const test = y.subarray(half);
    expect(auc(said, test)).toBeGreaterThan(auc(best, test) - 0.02);
    expect(logLoss(said, test)).toBeLessThan(logLoss(best, test) + 0.02);
  });

  it('says the base rate when features tell nothing', () => {
    const y = Uint8Array.from({ length: 1000 }, (_, i) => (i % 4 === 0 ? 1 : 0));
    const model = Boosting.fit(new Float32Array(1000), 1, y);
    expect(model.predict([0])).toBeCloseTo(0.25, 2);
  });
});

describe('turn history', () => {
  it('tells only of the past, mirrored for the other side', () => {
    const random = new Random(1);
    const make = () => {
      let v = 0;
      return Uint8Array.from({ length: 3000 }, () => {
        if (random.uniform() < 0.03) v = 1 - v;
        return v;
      });
    };
    const [a, b] = [make(), make()];
    const row = (history: TurnHistory, t: number, side: 0 | 1) => {
      const out = new Float32Array(HISTORY_COLUMNS);
      history.write(t, side, out);
      return out;
    };
    const whole = new TurnHistory([a, b]);
    for (const t of [0, 1, 700, 1999]) {
      const cut = new TurnHistory([a.slice(0, t + 1), b.slice(0, t + 1)]);
      expect(row(cut, t, 0)).toEqual(row(whole, t, 0));
      expect(row(new TurnHistory([b, a]), t, 0)).toEqual(row(whole, t, 1));
      expect(row(whole, t, 0).every(Number.isFinite)).toBe(true);
    }
  });
});

describe('ridge', () => {
  it('recovers a linear map, and shrinks with lambda', () => {
    const random = new Random(4);
    const ridge = new Ridge(3, 2);
    const w = [
      [1, -2],
      [0.5, 0],
      [0, 3],
      [7, -1],
    ];
    for (let n = 0; n < 500; n++) {
      const x = [random.normal(), random.normal(), random.normal()];
      const y = [0, 1].map((o) => x.reduce((s, v, i) => s + v * w[i][o], w[3][o]));
      ridge.add(x, 0, y, 0);
    }
    const solved = ridge.solve(1e-9);
    for (const [i, v] of w.flat().entries()) expect(solved[i]).toBeCloseTo(v, 6);
    const shrunk = ridge.solve(500);
    expect(Math.abs(shrunk[0])).toBeLessThan(0.7);
    expect(Math.abs(shrunk[0])).toBeGreaterThan(0.3);
    expect(() => new Ridge(2, 1).solve(0)).toThrow(RangeError);
  });
});

describe('energy detector', () => {
  it('rises over its floor with a sound and forgets a steady noise', () => {
    const detector = new EnergyDetector();
    const quiet = logPower(new Float32Array(160).fill(0.001));
    const loud = logPower(new Float32Array(160).fill(0.1));
    for (let i = 0; i < 10; i++) detector.push(quiet);
    expect(detector.push(loud)).toBeGreaterThan(38);
    let last = 0;
    for (let i = 0; i < 2000; i++) last = detector.push(loud);
    expect(last).toBeLessThan(0.1);
  });
});
