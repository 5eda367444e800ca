import { z } from 'zod';

/** Values beyond this would overflow when squared sums are formed. */
const MAX_MAGNITUDE = 1e100;

/**
 * A column of numbers where null is a missing value, as a Float64Array with NaN. A loop of ours, because zod looks at a
 * million numbers ten times slower; large bodies bring Float64Arrays already (body/pack.ts).
 */
export const numberColumn = (
  about: string,
  options: { nullable: boolean; min?: number } = { nullable: true, min: 1 },
) =>
  z
    .any()
    .meta({
      type: 'array',
      items: { type: 'number', ...(options.nullable ? { nullable: true } : {}) },
      ...(options.min ? { minItems: options.min } : {}),
      description: about,
    })
    .transform((input: unknown, context): Float64Array => readNumbers(input, options, context));

/** A covariate: numbers and nulls as `numberColumn`, or names of categories. */
export const mixedColumn = (about: string) =>
  z
    .any()
    .meta({
      type: 'array',
      items: { oneOf: [{ type: 'number', nullable: true }, { type: 'string' }] },
      minItems: 1,
      description: about,
    })
    .transform((input: unknown, context): Float64Array | string[] => {
      if (!Array.isArray(input) || typeof input[0] !== 'string')
        return readNumbers(input, { nullable: true, min: 1 }, context);
      const wrong = input.findIndex((value) => typeof value !== 'string' || value.length > 256);
      if (wrong < 0) return input as string[];
      context.addIssue({ code: 'custom', message: 'expected a name of at most 256 characters', path: [wrong] });
      return z.NEVER;
    });

interface Context {
  addIssue(issue: { code: 'custom'; message: string; path: number[] }): void;
}

function readNumbers(input: unknown, options: { nullable: boolean; min?: number }, context: Context): Float64Array {
  const fail = (message: string, path: number[] = []) => {
    context.addIssue({ code: 'custom', message, path });
    return z.NEVER;
  };
  const packed = isFloat64Array(input);
  if (!packed && !Array.isArray(input)) return fail(`expected an array of numbers, got ${kindOf(input)}`);
  const values = input as ArrayLike<unknown>;
  if (values.length < (options.min ?? 0)) return fail('expected at least one number');
  const out = packed ? (input as Float64Array) : new Float64Array(values.length);
  for (let i = 0; i < values.length; i++) {
    let value = values[i];
    if (value === null || (packed && Number.isNaN(value))) {
      if (!options.nullable) return fail('null is not allowed here', [i]);
      value = Number.NaN;
    } else if (typeof value !== 'number') {
      return fail(`expected a number${options.nullable ? ' or null' : ''}, got ${kindOf(value)}`, [i]);
    } else if (!(Math.abs(value) <= MAX_MAGNITUDE)) return fail('expected a number between -1e100 and 1e100', [i]);
    out[i] = value as number;
  }
  return out;
}

/** Not `instanceof`: what comes from a worker thread may belong to another realm. */
export function isFloat64Array(value: unknown): value is Float64Array {
  return Object.prototype.toString.call(value) === '[object Float64Array]';
}

const kindOf = (value: unknown) => (value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value);
