import { describe, expect, it } from '@jest/globals';
import { readTimestampArray, timestampArray } from './pg-binary.js';

const roundTrip = (...times: number[]) => [...readTimestampArray(timestampArray(times))];

describe('times as PostgreSQL reads them', () => {
  it('are exact in whole milliseconds, near and far', () => {
    const times = [0, 946_684_800_000, -9_223_372_036_000, Date.UTC(2026, 0, 1), Date.UTC(9999, 11, 31), -6e13];
    expect(roundTrip(...times)).toEqual(times);
  });

  it('are rounded to the microsecond between 1715 and 2285', () => {
    const [rounded, up] = roundTrip(1_767_225_600_000.5679, 946_689_094_967.2957);
    expect(rounded).toBeCloseTo(1_767_225_600_000.568, 3);
    // The lower half of its microseconds is full: rounding carries into the upper one.
    expect(up).toBe(946_689_094_967.296);
    expect(timestampArray([946_689_094_967.2957]).subarray(24).toString('hex')).toBe('0000000100000000');
  });

  it('are rounded to the millisecond beyond', () => {
    expect(roundTrip(1e13 + 0.25, 1e13 + 0.75, -9_223_372_036_000.5)).toEqual([1e13, 1e13 + 1, -9_223_372_036_000]);
  });
});
