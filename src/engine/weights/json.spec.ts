import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { EngineError } from '../errors.js';
import { parseJson } from './json.js';

const read = (text: string, nonFinite = false) => parseJson(text, { file: 'f.json', nonFinite });

describe('parseJson', () => {
  it('reads what JSON.parse reads, and the same', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), fc.constantFrom(0, 1, '\t'), (text, indent) => {
        const spaced = JSON.stringify(JSON.parse(text), null, indent);
        expect(JSON.stringify(read(spaced))).toBe(JSON.stringify(JSON.parse(spaced)));
      }),
    );
  });

  it('refuses what JSON.parse refuses, with an EngineError', () => {
    fc.assert(
      fc.property(fc.json(), fc.nat(), fc.string({ maxLength: 2 }), (text, at, patch) => {
        const broken = text.slice(0, at % (text.length + 1)) + patch + text.slice((at % (text.length + 1)) + 1);
        let valid = true;
        try {
          JSON.parse(broken);
        } catch {
          valid = false;
        }
        try {
          read(broken);
        } catch (error) {
          expect(error).toBeInstanceOf(EngineError);
          // The one thing we refuse and JSON.parse does not.
          if (!/duplicate key/.test((error as Error).message)) expect(valid).toBe(false);
          return;
        }
        expect(valid).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  it('refuses duplicate keys, also when escaped differently', () => {
    expect(() => read('{"a":1,"b":2,"a":1}')).toThrow('duplicate key "a"');
    expect(() => read('{"a":1,"\\u0061":1}')).toThrow('duplicate key "a"');
  });

  it('reads the numbers Python writes only where allowed', () => {
    const text = '{"a":[0.0,Infinity],"b":-Infinity,"c":NaN}';
    expect(read(text, true)).toEqual({ a: [0, Infinity], b: -Infinity, c: Number.NaN });
    expect(() => read(text)).toThrow(EngineError);
  });

  it('treats __proto__ as a key', () => {
    const value = read('{"__proto__":{"polluted":1}}') as object;
    expect(Object.keys(value)).toEqual(['__proto__']);
    expect((value as { polluted?: number }).polluted).toBeUndefined();
  });

  it('bounds nesting and survives long strings', () => {
    expect(() => read('['.repeat(1e6))).toThrow('levels');
    const long = 'x\\n'.repeat(2e6);
    expect((read(`"${long}"`) as string).length).toBe(4e6);
  });
});
