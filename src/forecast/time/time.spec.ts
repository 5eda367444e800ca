import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { defaultSeason, type Frequency, formatFrequency, parseFrequency } from './frequency.js';
import { gridOf } from './grid.js';
import { inferSampling, samplingWith } from './infer.js';

const at = (text: string) => Date.parse(text.length === 10 ? `${text}T00:00:00Z` : `${text}Z`);
const day = (t: number) => new Date(t).toISOString().slice(0, 10);
const NAMES = [
  'Y',
  'Q',
  'M',
  'W',
  'D',
  'B',
  'H',
  '30min',
  '15min',
  '10min',
  '5min',
  '1min',
  '10s',
  '1s',
  '500ms',
  '4W',
  '6M',
  '2H',
  '20ms',
  '2778us',
];

describe('parseFrequency', () => {
  it.each([
    ['H', 1, 'H', 'H'],
    ['h', 1, 'H', 'H'],
    ['T', 1, 'min', '1min'],
    ['15T', 15, 'min', '15min'],
    ['MS', 1, 'M', 'M'],
    ['ms', 1, 'ms', '1ms'],
    ['min', 1, 'min', '1min'],
    ['QS-OCT', 1, 'Q', 'Q'],
    ['W-SUN', 1, 'W', 'W'],
    ['YE', 1, 'Y', 'Y'],
    [' 2 W ', 2, 'W', '2W'],
  ])('%s', (text, count, unit, formatted) => {
    expect(parseFrequency(text)).toEqual({ count, unit });
    expect(formatFrequency(parseFrequency(text))).toBe(formatted);
  });

  it.each(['', 'X', '0H', '-1D', 'hourly', '1.5H', 'toString', '__proto__', 'H H'])('refuses %j', (text) => {
    expect(() => parseFrequency(text)).toThrow(/no frequency/);
  });
});

describe('defaultSeason', () => {
  it.each([
    ['Y', 1],
    ['Q', 4],
    ['M', 12],
    ['W', 52],
    ['D', 7],
    ['B', 5],
    ['H', 24],
    ['30min', 48],
    ['5min', 288],
    ['1min', 1440],
    ['10s', 1],
    ['4W', 13],
    ['6M', 2],
    ['2D', 1],
    ['7H', 1],
  ])('%s has %d', (frequency, season) => {
    expect(defaultSeason(frequency)).toBe(season);
  });
});

describe('grids', () => {
  it('step over months by their lengths, and keep the end of the month', () => {
    const ends = gridOf({ count: 1, unit: 'M' }, at('2024-01-31'));
    expect([0, 1, 2, 3].map((k) => day(ends.time(k)))).toEqual([
      '2024-01-31',
      '2024-02-29',
      '2024-03-31',
      '2024-04-30',
    ]);
    const leap = gridOf({ count: 1, unit: 'Y' }, at('2024-02-29'));
    expect([1, 4].map((k) => day(leap.time(k)))).toEqual(['2025-02-28', '2028-02-29']);
    expect(ends.index(at('2024-02-28'))).toBeNaN();
  });

  it('jump over weekends on business days, backwards too', () => {
    const friday = gridOf({ count: 1, unit: 'B' }, at('2024-03-01'));
    expect([-1, 0, 1, 5, 6].map((k) => day(friday.time(k)))).toEqual([
      '2024-02-29',
      '2024-03-01',
      '2024-03-04',
      '2024-03-08',
      '2024-03-11',
    ]);
    expect(friday.index(at('2024-03-02'))).toBeNaN();
  });

  it('find every step again that they give out', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...NAMES),
        fc.integer({ min: at('1900-01-01') / 1000, max: at('2100-01-01') / 1000 }),
        fc.integer({ min: -500, max: 500 }),
        (name, seconds, k) => {
          const grid = gridOf(parseFrequency(name), seconds * 1000);
          expect(grid.index(grid.time(k))).toBe(k);
          expect(grid.time(k + 1)).toBeGreaterThan(grid.time(k));
        },
      ),
    );
  });
});

describe('inferSampling', () => {
  it('recovers any frequency from its own grid, with gaps', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...NAMES),
        fc.integer({ min: at('1950-01-01') / 86_400_000, max: at('2050-01-01') / 86_400_000 }),
        fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 20, maxLength: 40 }),
        (name, days, jumps) => {
          const frequency = parseFrequency(name);
          // A business series starts on a business day.
          const start = frequency.unit === 'B' ? Math.floor(days / 7) * 7 + 4 : days;
          const grid = gridOf(frequency, start * 86_400_000);
          const steps = [0, 1];
          for (const jump of jumps) steps.push(steps.at(-1)! + jump);
          const sampling = inferSampling(Float64Array.from(steps, (k) => grid.time(k)))!;
          expect(formatFrequency(sampling.frequency)).toBe(name);
          expect([...sampling.positions]).toEqual(steps);
          expect(sampling.jitter).toBe(0);
          expect(sampling.grid.time(steps.at(-1)! + 3)).toBe(grid.time(steps.at(-1)! + 3));
        },
      ),
    );
  });

  it('sees quarter ends as quarters that end on the last day', () => {
    const times = Float64Array.of(at('2023-06-30'), at('2023-09-30'), at('2024-03-31'), at('2024-06-30'));
    const { frequency, positions, grid } = inferSampling(times)!;
    expect(formatFrequency(frequency)).toBe('Q');
    expect([...positions]).toEqual([0, 1, 3, 4]);
    expect(day(grid.time(6))).toBe('2024-12-31');
  });

  it('sees the last business days of months as months', () => {
    const times = Float64Array.of(
      at('2024-01-31'),
      at('2024-02-29'),
      at('2024-03-29'),
      at('2024-04-30'),
      at('2024-05-31'),
      at('2024-06-28'),
    );
    const { frequency, jitter } = inferSampling(times)!;
    expect(formatFrequency(frequency)).toBe('M');
    expect(jitter).toBeGreaterThan(0);
  });

  it('does not take five weekdays in a row for business days', () => {
    const times = Float64Array.from({ length: 5 }, (_, i) => at('2024-03-04') + i * 86_400_000);
    expect(formatFrequency(inferSampling(times)!.frequency)).toBe('D');
  });

  it('follows a jittered clock, and names its usual step', () => {
    const noise = [0, 3, -4, 2, 5, -1, 0, 4, -3, 1];
    const times = Float64Array.from(noise, (n, i) => at('2024-01-01') + i * 60_000 + n * 1000);
    const { frequency, positions, jitter } = inferSampling(times)!;
    expect(formatFrequency(frequency)).toBe('1min');
    expect([...positions]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(jitter).toBeGreaterThan(0);
    expect(jitter).toBeLessThan(0.15);
  });

  it('gives up on irregular times', () => {
    const times = Float64Array.of(
      at('2024-01-01'),
      at('2024-01-02'),
      at('2024-01-09'),
      at('2024-01-11T05:00:00'),
      at('2024-03-01'),
    );
    expect(inferSampling(times)).toBeUndefined();
    expect(inferSampling(Float64Array.of(0))).toBeUndefined();
  });
});

describe('samplingWith', () => {
  const daily = Float64Array.from({ length: 10 }, (_, i) => at('2024-01-01') + i * 86_400_000);

  it('takes a finer frequency than the data as gaps', () => {
    expect([...samplingWith(daily, parseFrequency('H'))!.positions].slice(0, 3)).toEqual([0, 24, 48]);
  });

  it.each(['W', 'M', 'B', '2D'])('refuses %s for daily data', (name) => {
    expect(samplingWith(daily, parseFrequency(name))).toBeUndefined();
  });

  it('takes the calendar as the user says', () => {
    const mondays = Float64Array.of(at('2024-01-01'), at('2024-01-08'), at('2024-01-15'));
    const week: Frequency = parseFrequency('W-MON');
    expect([...samplingWith(mondays, week)!.positions]).toEqual([0, 1, 2]);
  });
});
