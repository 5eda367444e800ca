import { AdderError, quote } from '../platform/errors.js';

const MAX_NAME = 256;

/** Earliest and latest instants that are stored: years 1 to 9999, milliseconds since 1970. */
export const MIN_TIME = -62_135_596_800_000;
export const MAX_TIME = 253_402_300_799_999;

/**
 * A name chosen by a caller (`unique_id`, stream, model), as it is if PostgreSQL can hold it and people can print it.
 * Throws `BAD_NAME`.
 */
export function checkName(name: string, field: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this check is for
  if (name.length > 0 && name.length <= MAX_NAME && !/[\u0000-\u001f\u007f]/.test(name) && !/\p{Surrogate}/u.test(name))
    return name;
  throw new AdderError({
    code: 'BAD_NAME',
    message: `${quote(name)} cannot be a ${field}`,
    where: { field },
    fix: `use 1 to ${MAX_NAME} characters without control characters`,
  });
}

/** Whether an instant can be stored; whole milliseconds only. */
export const isStorableTime = (ms: number) => Number.isInteger(ms) && ms >= MIN_TIME && ms <= MAX_TIME;
