import { describe, expect, it } from '@jest/globals';
import { FREQUENCY_CLASSES } from '../model/frequency.js';
import { Random } from './random.js';
import { Synthesiser } from './synthesis.js';

const LENGTH = 1152;

function series(seed: number, length = LENGTH) {
  const x = new Float64Array(length);
  const info = new Synthesiser(length).generate(new Random(seed), x, length);
  return { x, ...info };
}

describe('Synthesiser', () => {
  it('is a function of its random stream alone', () => {
    const used = new Synthesiser(LENGTH);
    const x = new Float64Array(LENGTH);
    for (let seed = 0; seed < 50; seed++) {
      const info = used.generate(new Random(seed), x, LENGTH);
      expect({ x: Float64Array.from(x), ...info }).toEqual(series(seed));
    }
  });

  it('makes finite series, nearly none of them constant, with valid declarations', () => {
    let constant = 0;
    let declared = 0;
    for (let seed = 0; seed < 600; seed++) {
      const { x, season, frequencyClass } = series(seed, seed % 2 ? LENGTH : 192);
      expect(x.every(Number.isFinite)).toBe(true);
      expect(Number.isInteger(season) && season >= 1).toBe(true);
      expect(FREQUENCY_CLASSES[frequencyClass]).toBeDefined();
      if (new Set(x).size === 1) constant++;
      if (season > 1) declared++;
    }
    expect(constant / 600).toBeLessThan(0.1);
    expect(declared / 600).toBeGreaterThan(0.45);
    expect(declared / 600).toBeLessThan(0.8);
  });

  it('declares seasons that are there: values a season apart are closer than values half a season apart', () => {
    let better = 0;
    let n = 0;
    for (let seed = 0; seed < 400; seed++) {
      const { x, season } = series(seed);
      if (season < 4 || season > 200) continue;
      const distance = (lag: number) => {
        let sum = 0;
        for (let i = lag; i < LENGTH; i++) sum += (x[i]! - x[i - lag]!) ** 2;
        return sum / (LENGTH - lag);
      };
      n++;
      if (distance(season) < distance(Math.round(season / 2))) better++;
    }
    expect(n).toBeGreaterThan(100);
    expect(better / n).toBeGreaterThan(0.7);
  });

  it('covers counts, zeros on weekends, and smooth as well as rough series', () => {
    let counts = 0;
    let closed = 0;
    let smooth = 0;
    let rough = 0;
    for (let seed = 0; seed < 600; seed++) {
      const { x } = series(seed);
      if (x.every((v) => Number.isInteger(v) && v >= 0)) counts++;
      if ([0, 1, 2, 3, 4, 5, 6].some((d) => [0, 1].every((k) => x.every((v, i) => (i + k + d) % 7 !== 0 || v === 0))))
        closed++;
      const mean = x.reduce((a, b) => a + b, 0) / LENGTH;
      let variance = 0;
      let steps = 0;
      for (let i = 1; i < LENGTH; i++) {
        variance += (x[i]! - mean) ** 2;
        steps += (x[i]! - x[i - 1]!) ** 2;
      }
      if (steps < 0.02 * variance) smooth++;
      if (steps > variance) rough++;
    }
    for (const share of [counts, closed, smooth, rough]) expect(share).toBeGreaterThan(5);
  });

  it('makes weeks whose days differ', () => {
    let weeks = 0;
    let n = 0;
    for (let seed = 0; seed < 3000; seed++) {
      const { x, season } = series(seed);
      if (season !== 24 && season !== 48) continue;
      const distance = (lag: number) => {
        let sum = 0;
        for (let i = lag; i < LENGTH; i++) sum += (x[i]! - x[i - lag]!) ** 2;
        return sum / (LENGTH - lag);
      };
      n++;
      if (distance(7 * season) < 0.7 * distance(season)) weeks++;
    }
    expect(n).toBeGreaterThan(150);
    expect(weeks / n).toBeGreaterThan(0.1);
    expect(weeks / n).toBeLessThan(0.5);
  });
});
