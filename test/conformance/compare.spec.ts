import { describe, expect, it } from '@jest/globals';
import { expectClose, expectSame, relativeError } from './compare.js';

describe('comparisons', () => {
  it('measure against the size of what is expected', () => {
    expect(relativeError([1.1, 0], [1, 0])).toBeCloseTo(0.1);
    expect(relativeError([], [])).toBe(0);
    expect(relativeError([0, 0], [0, 0])).toBe(0);
    expect(relativeError([1e-30], [0])).toBe(Number.POSITIVE_INFINITY);
    // One element far off shows in the maximum norm, however many agree.
    const many = new Float64Array(10_000).fill(1);
    const off = many.map((v, i) => (i === 5 ? v + 0.01 : v));
    expect(relativeError(off, many)).toBeCloseTo(0.01);
  });

  it('never pass NaN, on either side, nor infinities', () => {
    for (const [ours, expected] of [
      [Number.NaN, 1],
      [1, Number.NaN],
      [Number.NaN, Number.NaN],
      [Number.POSITIVE_INFINITY, 1],
      [1, Number.POSITIVE_INFINITY],
      [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
    ]) {
      expect(() => expectClose([0, ours], [0, expected], 1e9, 'x')).toThrow('x: relative error');
    }
  });

  it('ignore differences too small for float32', () => {
    expect(() => expectClose([0, 1e-40], [9e-41, 0], 1e-5, 'x')).not.toThrow();
    expect(() => expectClose([0], [2e-38], 1e-5, 'x')).toThrow('x: relative error');
  });

  it('name the worst element', () => {
    expect(() => expectClose([1, 2, 4], [1, 2, 3], 1e-3, 'out', [1, 3])).toThrow(/1 of 3 .* worst at 2 of \[1,3\]: 4/);
    expect(() => expectClose([1], [1, 2], 1, 'out')).toThrow(RangeError);
  });

  it('of bits tell zeros apart', () => {
    expect(() => expectSame([Number.NaN, 0], [Number.NaN, 0], 'x')).not.toThrow();
    expect(() => expectSame([0], [-0], 'x')).toThrow('element 0');
    expect(() => expectSame([0], [0, 0], 'x')).toThrow('1 numbers against 2');
  });
});
