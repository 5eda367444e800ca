/** Arbitraries of requests: what a schema describes, what it does not, and mixtures. */
import fc from 'fast-check';
import { resolve, type Schema } from './operations.js';

/** A number as it is written in JSON, which JavaScript could not hold or would not write so. */
export class Raw {
  constructor(readonly text: string) {}
}

const deep = (depth: number): unknown => {
  let value: unknown = 1;
  for (let i = 0; i < depth; i++) value = i % 2 ? [value] : { series: value };
  return value;
};

/** What clients send by mistake or on purpose. */
const NASTY: unknown[] = [
  null,
  true,
  false,
  0,
  -0,
  -1,
  0.5,
  1e-320,
  1e308,
  -1e308,
  1e100,
  2 ** 31,
  2 ** 53,
  -(2 ** 63),
  new Raw('1e999'),
  new Raw('-1e999'),
  new Raw('NaN'),
  new Raw('Infinity'),
  new Raw('undefined'),
  new Raw('1.'),
  new Raw('0x10'),
  new Raw('9'.repeat(400)),
  '',
  ' ',
  'NaN',
  '1e308',
  '\u0000',
  'a\u0000b',
  '\ud800',
  '\udfff\ud800',
  '\u202e\u0000\ufeff',
  '../../etc/passwd',
  "'; drop table points; --",
  '%00%ff',
  '{{7*7}}',
  '__proto__',
  'constructor',
  'toString',
  'x'.repeat(100_000),
  'é'.repeat(300),
  '2024-02-30',
  '99999-01-01',
  '0000-00-00T99:99:99Z',
  '-271821-04-20T00:00:00.000Z',
  '2024-01-01T00:00:00+99:99',
  '10000000000000000H',
  '-1D',
  '0min',
  'SM',
  [],
  [null],
  [[]],
  [[[[]]]],
  [{}],
  Array.from({ length: 5000 }, () => null),
  Array.from({ length: 3000 }, (_, i) => (i % 2 ? 1e99 : -1e99)),
  Array.from({ length: 300 }, () => 1e-310),
  Array.from({ length: 300 }, (_, i) => `s${i}`),
  {},
  { toString: 1 },
  { length: 1e9 },
  { '': '' },
  JSON.parse('{"__proto__": {"polluted": true}, "constructor": {"prototype": {"polluted": true}}}'),
  Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`k${i}`, i])),
  deep(20),
  deep(40),
];

/** Each time another object: `changed` writes into what it has placed. */
const fresh = (value: unknown) => (value instanceof Raw ? value : structuredClone(value));

export const nasty = (): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...NASTY).map(fresh) }, { weight: 1, arbitrary: fc.jsonValue() });

/** Values that a schema describes, with something else in one place of ten. */
export function bySchema(schema: Schema, schemas: Record<string, Schema>, depth = 0): fc.Arbitrary<unknown> {
  const s = resolve(schema, schemas);
  const near = likely(s, schemas, depth);
  return fc.oneof({ weight: 9, arbitrary: near }, { weight: 1, arbitrary: nasty() });
}

function likely(s: Schema, schemas: Record<string, Schema>, depth: number): fc.Arbitrary<unknown> {
  const inner = (part: Schema) => bySchema(part, schemas, depth + 1);
  const choice = s.anyOf ?? s.oneOf ?? s.allOf;
  if (depth > 8) return nasty();
  if (s.enum) return fc.constantFrom(...s.enum);
  if (choice) return fc.oneof(...choice.map(inner));
  const bound = (key: string, otherwise: number) => {
    const value = s[key];
    return typeof value === 'number' && Math.abs(value) < 1e15 ? value : otherwise;
  };
  switch (s.type) {
    case 'object': {
      const fields = Object.entries(s.properties ?? {}).map(([name, part]) => [name, inner(part)] as const);
      const required = s.required ?? [];
      const known = fc.record(Object.fromEntries(fields), {
        requiredKeys: fields.map(([name]) => name).filter((name) => required.includes(name)),
      });
      if (!s.additionalProperties) return known;
      const part = s.additionalProperties === true ? nasty() : inner(s.additionalProperties);
      return fc.tuple(known, fc.dictionary(fc.string(), part, { maxKeys: 4 })).map(([a, b]) => ({ ...b, ...a }));
    }
    case 'array': {
      const least = bound('minItems', 0);
      return fc.array(inner(s.items ?? {}), { minLength: least, maxLength: Math.max(least, 12) });
    }
    case 'integer':
      return fc.oneof(
        fc.integer({ min: Math.max(bound('minimum', -5), -1e6), max: Math.min(bound('maximum', 1e6), 1e6) }),
        fc.constantFrom(bound('minimum', 0), bound('maximum', 1)),
      );
    case 'number':
      return fc.oneof(
        fc.double({ min: bound('minimum', -1e6), max: bound('maximum', 1e6), noNaN: true }),
        fc.constantFrom(bound('minimum', 0), bound('maximum', 1)),
      );
    case 'boolean':
      return fc.boolean();
    case 'string':
      return fc.oneof(
        fc.string({ maxLength: bound('maxLength', 40), unit: 'binary' }),
        fc.constantFrom('a', 'stored', 'theta', 'D', 'H', '2024-01-01', '5', '1704067200000'),
      );
    default:
      return nasty();
  }
}

type Path = (string | number)[];

function pathsOf(value: unknown, at: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [at];
  // The ends of a long array stand for its middle.
  const keys = Array.isArray(value)
    ? [...new Set([0, 1, value.length - 1])].filter((i) => i >= 0 && i < value.length)
    : Object.keys(value);
  return [at, ...keys.flatMap((key) => pathsOf((value as Record<string | number, unknown>)[key], [...at, key]))];
}

/** `example` with one to three changes: a value replaced, removed, doubled, wrapped or written as text, a field added. */
export function changed(example: unknown): fc.Arbitrary<unknown> {
  const change = fc.record({
    path: fc.constantFrom(...pathsOf(example)),
    how: fc.constantFrom('replace', 'replace', 'replace', 'remove', 'double', 'wrap', 'text', 'add', 'empty'),
    value: nasty(),
    key: fc.oneof(fc.string(), fc.constantFrom('__proto__', 'extra', 'series', 'id', 'toString')),
  });
  return fc.array(change, { minLength: 1, maxLength: 3 }).map((changes) => {
    let body = structuredClone(example);
    for (const { path, how, value, key } of changes) body = apply(body, path, how, value, key);
    return body;
  });
}

function apply(root: unknown, path: Path, how: string, value: unknown, key: string): unknown {
  const alter = (old: unknown): unknown => {
    if (how === 'wrap') return [old];
    if (how === 'text') return JSON.stringify(old) ?? '';
    if (how === 'double') return Array.isArray(old) ? [...old, ...old] : [old, old];
    if (how === 'empty') return Array.isArray(old) ? [] : typeof old === 'string' ? '' : {};
    if (how === 'add' && typeof old === 'object' && old !== null && !Array.isArray(old)) {
      return Object.defineProperty({ ...old }, key, { value, enumerable: true, configurable: true, writable: true });
    }
    return value;
  };
  if (path.length === 0) return alter(root);
  // An earlier change may have taken the place away.
  let parent = root as Record<string | number, unknown>;
  const holds = (part: unknown) => typeof part === 'object' && part !== null && !(part instanceof Raw);
  for (const step of path.slice(0, -1)) {
    if (!holds(parent)) return root;
    parent = parent[step] as Record<string | number, unknown>;
  }
  if (!holds(parent)) return root;
  const last = path.at(-1)!;
  if (how === 'remove') delete parent[last];
  else parent[last] = alter(parent[last]);
  return root;
}

/** JSON as text, with raw pieces as they stand. */
export function writeJson(value: unknown): string {
  const pieces: string[] = [];
  const text = JSON.stringify(value, (_key, part) => {
    if (!(part instanceof Raw)) return part;
    pieces.push(part.text);
    return `\u0001raw${pieces.length - 1}\u0001`;
  });
  return (text ?? '').replace(/"\\u0001raw(\d+)\\u0001"/g, (_all, i) => pieces[Number(i)]!);
}

/** A value as a client would write it into a query. */
export const queryText = (value: unknown): string => encode(plain(value));

const plain = (value: unknown): string =>
  Array.isArray(value) ? value.map(plain).join(',') : typeof value === 'object' ? writeJson(value) : String(value);

/** Text of a path or a query, percent-encoded or not. */
export const urlText = (): fc.Arbitrary<string> =>
  fc.oneof(
    fc.string({ unit: 'binary', maxLength: 60 }).map(encode),
    fc.constantFrom(
      ...['%', '%ff', '%00', '%C0%AF', '..', '.', '%2e%2e%2f', 'a%2fb', '', '-1', '0', '1e308', 'NaN', 'null'],
      ...['Infinity', '1'.repeat(400), 'x'.repeat(2000), '%25', '[]', '{}', 'true', 'stored', 'theta', "'", ';'],
      ...['99999999999999999999', '0001-01-01', '+275760-09-13', '-271822-01-01', '2024-01-01', '9007199254740993'],
      ...['00000000-0000-0000-0000-000000000000', '019ab123-0000-7000-8000-000000000000', '1.1', '999999999.999999999'],
    ),
  );

/** Half a surrogate pair cannot be encoded; it becomes the replacement character, as in every client. */
export const encode = (text: string): string => encodeURIComponent(Buffer.from(text).toString());
