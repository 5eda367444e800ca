import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { formatFrequency, parseFrequency } from '../time/frequency.js';
import { place, regularise } from './regularise.js';

const HOUR = 3_600_000;
const start = Date.UTC(2024, 0, 1);

describe('regularise', () => {
  it('leaves a regular grid with a gap as it is', () => {
    const times = Float64Array.from([0, 1, 2, 5, 6], (k) => start + k * HOUR);
    const { positions, how, frequency } = regularise(times);
    expect([[...positions], how, formatFrequency(frequency)]).toEqual([[0, 1, 2, 5, 6], 'exact', 'H']);
  });

  it('gathers irregular times into the round step nearest to their median distance', () => {
    const minutes = [0, 7, 11, 26, 31, 44, 58, 73, 80, 97];
    const regular = regularise(Float64Array.from(minutes, (m) => start + m * 60_000));
    expect([regular.how, formatFrequency(regular.frequency)]).toEqual(['resampled', '15min']);
    expect([...regular.positions]).toEqual([0, 0, 0, 1, 2, 2, 3, 4, 5, 6]);
  });

  it.each([
    ['D', ['2024-01-01T05:00Z', '2024-01-01T19:00Z', '2024-01-03T01:00Z'], [0, 0, 2], '2024-01-01'],
    ['W', ['2024-01-03', '2024-01-05', '2024-01-09'], [0, 0, 1], '2024-01-01'],
    ['M', ['2024-01-03', '2024-01-31', '2024-02-01', '2024-12-30'], [0, 0, 1, 11], '2024-01-01'],
    ['Q', ['2024-02-03', '2024-03-31', '2024-05-05'], [0, 0, 1], '2024-01-01'],
  ])('gathers into the %s asked for, steps beginning where the calendar has them', (freq, texts, positions, first) => {
    const times = Float64Array.from(texts, Date.parse);
    const regular = regularise(times, parseFrequency(freq));
    expect([...regular.positions]).toEqual(positions);
    expect(new Date(regular.grid.time(0)).toISOString().slice(0, 10)).toBe(first);
  });

  it('puts every time into the step that holds it, whatever the times', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 4e9 }), { minLength: 2, maxLength: 60 }),
        fc.constantFrom('15min', 'H', 'D', 'W', 'M'),
        (offsets, freq) => {
          const times = Float64Array.from(
            [...offsets].sort((a, b) => a - b),
            (t) => start + t,
          );
          const { grid, positions, how } = regularise(times, parseFrequency(freq));
          if (how !== 'resampled') return;
          times.forEach((t, i) => {
            expect(grid.time(positions[i]!)).toBeLessThanOrEqual(t);
            expect(grid.time(positions[i]! + 1)).toBeGreaterThan(t);
          });
        },
      ),
    );
  });

  it('refuses a grid that would be empty', () => {
    const times = Float64Array.of(0, 1000, 2000, 3000, Date.UTC(2024, 0, 1));
    expect(() => regularise(times)).toThrow(/spread over/);
  });
});

it('place takes the mean of each step and leaves the others missing', () => {
  const out = place(Float64Array.of(1, 3, Number.NaN, 5), Float64Array.of(0, 0, 1, 3), 4);
  expect([...out]).toEqual([2, Number.NaN, Number.NaN, 5]);
});
