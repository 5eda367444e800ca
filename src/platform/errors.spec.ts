import { describe, expect, it } from '@jest/globals';
import { AdderError, formatPlace, oneLine, quote, toAdderError } from './errors.js';

describe('AdderError', () => {
  it('prints code, message, place and fix on one line', () => {
    const error = new AdderError({
      code: 'BAD_NUMBER',
      message: '"a" is not a number',
      where: { file: 'x.csv', line: 3, series: 'north "1"', field: 'y' },
      fix: 'leave it empty',
    });
    expect(error.toLine()).toBe(
      'error [BAD_NUMBER] "a" is not a number (x.csv, line 3, series "north \\"1\\"", field y); fix: leave it empty',
    );
  });

  it('lets no line break or escape sequence of the input through', () => {
    const line = new AdderError({ code: 'X', message: 'a\nb\u001b[2J\u2028c', where: { file: 'd\r\n.csv' } }).toLine();
    expect(line).toBe('error [X] a b [2J c (d .csv)');
    expect(oneLine('\u0000\u0001x')).toBe(' x');
  });

  it('keeps what the thrower knew when a place is added', () => {
    const error = new AdderError({ code: 'X', message: 'm', where: { line: 2 } }).at({ line: 9, file: 'f.csv' });
    expect(error.where).toEqual({ line: 2, file: 'f.csv' });
  });

  it('prints only the parts of a place that are known', () => {
    expect(formatPlace({ field: 'y' })).toBe('field y');
    expect(formatPlace({ line: 0 })).toBe('line 0');
    expect(formatPlace(undefined)).toBe('');
  });

  it('cuts and escapes quoted input', () => {
    expect(quote('a"b\n')).toBe('"a\\"b\\n"');
    expect(quote('x'.repeat(50), 5)).toBe('"xxxxx…"');
  });
});

describe('toAdderError', () => {
  it('translates errors of the file system', () => {
    const error = toAdderError(Object.assign(new Error('ENOENT: …'), { code: 'ENOENT', path: '/no/such' }));
    expect(error.toJSON()).toEqual({
      code: 'FILE_NOT_FOUND',
      message: 'no such file or folder',
      where: { file: '/no/such' },
      fix: 'check the path',
    });
  });

  it('takes over errors that carry the same fields', () => {
    const engine = Object.assign(new Error('no adapter'), {
      code: 'NO_ADAPTER',
      fix: 'use wasm',
      where: { field: 'x' },
    });
    expect(toAdderError(engine).toLine()).toBe('error [NO_ADAPTER] no adapter (field x); fix: use wasm');
  });

  it('calls everything else a defect, and keeps it as the cause', () => {
    const cause = new TypeError('undefined is not a function');
    const error = toAdderError(cause);
    expect(error.code).toBe('INTERNAL');
    expect(error.cause).toBe(cause);
    expect(toAdderError('text').message).toContain('text');
  });
});
