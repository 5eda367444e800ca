/**
 * A strict JSON reader for files from outside: duplicate keys are errors (JSON.parse keeps the last one silently, and
 * readers that disagree about a header disagree about the weights), nesting is bounded, and the non-finite numbers
 * that Python writes can be allowed. Objects have no prototype, so a key such as `__proto__` is only a key.
 */
import { EngineError } from '../errors.js';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export interface JsonOptions {
  /** The file's name, for messages. */
  file: string;
  /** Accept NaN, Infinity and -Infinity, which Python's json module writes and standard JSON lacks. */
  nonFinite?: boolean;
}

const MAX_DEPTH = 64;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORDS: readonly (readonly [string, Json])[] = [
  ['true', true],
  ['false', false],
  ['null', null],
];
const NON_FINITE: readonly (readonly [string, Json])[] = [
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
];

/** Parses the whole text, or throws EngineError BAD_JSON with the position. */
export function parseJson(text: string, options: JsonOptions): Json {
  const words = options.nonFinite ? [...WORDS, ...NON_FINITE] : WORDS;
  let at = 0;

  function fail(what: string): never {
    throw new EngineError({
      code: 'BAD_JSON',
      message: `not valid JSON: ${what} at character ${at}`,
      where: { file: options.file },
      fix: 'fetch or write the file again',
    });
  }
  function space(): void {
    for (; at < text.length; at++) {
      const c = text.charCodeAt(at);
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return;
    }
  }
  /** Steps over `c` if it comes next, white space aside. */
  function take(c: string): boolean {
    space();
    if (text[at] !== c) return false;
    at++;
    return true;
  }
  function match(pattern: RegExp): string | undefined {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  }
  /** JSON.parse reads the escapes; a regular expression over a string of megabytes would overflow its stack. */
  function string(): string {
    space();
    let end = text[at] === '"' ? at + 1 : text.length;
    while (end < text.length && text[end] !== '"') end += text[end] === '\\' ? 2 : 1;
    if (end >= text.length) fail('a string is missing or has no end');
    const token = text.slice(at, end + 1);
    try {
      const read = JSON.parse(token) as string;
      at = end + 1;
      return read;
    } catch {
      return fail('a broken string');
    }
  }
  function object(depth: number): Json {
    const result: { [key: string]: Json } = Object.create(null);
    if (take('}')) return result;
    do {
      const key = string();
      if (Object.hasOwn(result, key)) fail(`duplicate key ${JSON.stringify(key.slice(0, 80))}`);
      if (!take(':')) fail('":" is missing');
      result[key] = value(depth + 1);
    } while (take(','));
    return take('}') ? result : fail('"}" is missing');
  }
  function array(depth: number): Json {
    const result: Json[] = [];
    if (take(']')) return result;
    do result.push(value(depth + 1));
    while (take(','));
    return take(']') ? result : fail('"]" is missing');
  }
  function value(depth: number): Json {
    if (depth > MAX_DEPTH) fail(`more than ${MAX_DEPTH} levels`);
    if (take('{')) return object(depth);
    if (take('[')) return array(depth);
    if (text[at] === '"') return string();
    const number = match(NUMBER);
    // "-Infinity" starts like a number but matches none, so the words come second.
    if (number !== undefined) return Number(number);
    for (const [word, meaning] of words) {
      if (text.startsWith(word, at)) {
        at += word.length;
        return meaning;
      }
    }
    return fail(at < text.length ? 'an unexpected character' : 'the text ends early');
  }

  const result = value(0);
  space();
  if (at < text.length) fail('more text after the end');
  return result;
}
