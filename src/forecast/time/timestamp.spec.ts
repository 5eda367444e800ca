import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { formatTime, TimestampParser } from './timestamp.js';

const read = (...texts: string[]) => {
  const parser = new TimestampParser();
  return texts.map((text) => parser.parse(text));
};
const iso = (text: string) => new Date(read(text)[0]!).toISOString();

describe('TimestampParser', () => {
  it.each([
    ['2024-02-29', '2024-02-29T00:00:00.000Z'],
    ['2024-2-9', '2024-02-09T00:00:00.000Z'],
    ['2024/02/29 7:05', '2024-02-29T07:05:00.000Z'],
    ['2024-02', '2024-02-01T00:00:00.000Z'],
    ['1987', '1987-01-01T00:00:00.000Z'],
    ['2024-01-31T13:45:00.25', '2024-01-31T13:45:00.250Z'],
    ['2024-01-31T24:00', '2024-02-01T00:00:00.000Z'],
    ['2024-01-31 13:45:00+05:30', '2024-01-31T08:15:00.000Z'],
    ['2024-01-31T13:45:00-0800', '2024-01-31T21:45:00.000Z'],
    ['2024-01-31 13:45:00 UTC', '2024-01-31T13:45:00.000Z'],
    ['2020Q3', '2020-07-01T00:00:00.000Z'],
    ['2020-q1', '2020-01-01T00:00:00.000Z'],
    ['2020-W53', '2020-12-28T00:00:00.000Z'],
    ['2021-W01-1', '2021-01-04T00:00:00.000Z'],
    ['31.12.2020', '2020-12-31T00:00:00.000Z'],
    ['20240131', '2024-01-31T00:00:00.000Z'],
    ['1700000000', '2023-11-14T22:13:20.000Z'],
    ['1700000000123', '2023-11-14T22:13:20.123Z'],
    ['1700000000123456', '2023-11-14T22:13:20.123Z'],
    ['0033-05-01', '0033-05-01T00:00:00.000Z'],
  ])('reads %s', (text, expected) => {
    expect(iso(text)).toBe(expected);
  });

  it.each([
    ['2023-02-29', 'BAD_TIMESTAMP'],
    ['2024-13-01', 'BAD_TIMESTAMP'],
    ['2024-00-01', 'BAD_TIMESTAMP'],
    ['2024-01-01T25:00', 'BAD_TIMESTAMP'],
    ['2024-01-01T23:60', 'BAD_TIMESTAMP'],
    ['2024-01-01T10:00+99:00', 'BAD_TIMESTAMP'],
    ['2021-W53', 'BAD_TIMESTAMP'],
    ['yesterday', 'BAD_TIMESTAMP'],
    ['', 'BAD_TIMESTAMP'],
    ['0000-01-01', 'BAD_TIMESTAMP'],
    ['01/02/2024', 'AMBIGUOUS_DATE'],
    ['1-2-2024', 'AMBIGUOUS_DATE'],
    ['202401', 'AMBIGUOUS_DATE'],
    ['20240230', 'BAD_TIMESTAMP'],
    ['1.5', 'BAD_TIMESTAMP'],
  ])('refuses %j', (text, code) => {
    expect(() => read(text)).toThrow(expect.objectContaining({ code }));
  });

  it('reads counts as counts', () => {
    expect(read('0', '1', '-5', '2024')).toEqual([0, 1, -5, 2024]);
  });

  it.each([
    [['2024-01-01', '5'], 'MIXED_TIMESTAMPS'],
    [['5', '2024-01-01'], 'MIXED_TIMESTAMPS'],
    [['2020', '20'], 'MIXED_TIMESTAMPS'],
    [['20240131', '1700000000'], 'MIXED_TIMESTAMPS'],
    [['2024-01-01T00:00Z', '2024-01-01T01:00'], 'MIXED_TIME_ZONES'],
    [['2024-01-01T00:00', '2024-01-01T01:00+02:00'], 'MIXED_TIME_ZONES'],
  ])('refuses to mix %j', (texts, code) => {
    expect(() => read(...texts)).toThrow(expect.objectContaining({ code }));
  });

  it('remembers which offsets it turned into UTC', () => {
    const parser = new TimestampParser();
    parser.parse('2024-03-31T01:00:00+01:00');
    parser.parse('2024-03-31T03:00:00+02:00');
    expect(parser.offsets).toEqual(new Set([60, 120]));
  });
});

describe('formatTime', () => {
  it('writes no more than a time holds', () => {
    const style = { kind: 'date', zoned: false } as const;
    const t = Date.UTC(2024, 0, 31);
    expect(formatTime(t, style)).toBe('2024-01-31');
    expect(formatTime(t + 60_000, style)).toBe('2024-01-31T00:01:00');
    expect(formatTime(t + 250, style)).toBe('2024-01-31T00:00:00.250');
    expect(formatTime(t + 0.025, style)).toBe('2024-01-31T00:00:00.000025');
    expect(formatTime(t, { kind: 'date', zoned: true })).toBe('2024-01-31T00:00:00Z');
    expect(formatTime(Date.UTC(2024, 0, 1), { kind: 'year', zoned: false })).toBe('2024');
    expect(formatTime(7, { kind: 'integer', zoned: false })).toBe('7');
  });

  it('is read back as the same instant', () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date('0001-01-01'), max: new Date('9999-12-31'), noInvalidDate: true }),
        fc.boolean(),
        (date, zoned) => {
          expect(read(formatTime(date.getTime(), { kind: 'date', zoned }))).toEqual([date.getTime()]);
        },
      ),
    );
  });
});
