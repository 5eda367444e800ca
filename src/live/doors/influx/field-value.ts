/** A line that cannot be understood; the message is the reason as InfluxDB words it. */
export class FieldError extends Error {}

const POWERS = Float64Array.from({ length: 23 }, (_, i) => 10 ** i);
const result = { value: 0, end: 0 };

/**
 * A number (`1`, `-1.5e3`, `7i`, `7u`) or a boolean (1 or 0) that begins at `at`. The result is one object that the next call
 * overwrites.
 *
 * Numbers of at most 15 digits and a small power of ten are exact in floating point, so one multiplication or division gives
 * the nearest number (Clinger 1990, "How to read floating point numbers accurately"); others go through `Number`.
 */
export function readNumber(text: string, at: number, end: number): { value: number; end: number } {
  const start = at;
  let c = at < end ? text.charCodeAt(at) : 0;
  if (c === 116 || c === 84 || c === 102 || c === 70) return readBoolean(text, at, end);
  const negative = c === 45;
  if (negative || c === 43) c = ++at < end ? text.charCodeAt(at) : 0;
  let mantissa = 0;
  let digits = 0;
  let fraction = 0;
  let significant = 0;
  while (c >= 48 && c <= 57) {
    mantissa = mantissa * 10 + (c - 48);
    digits++;
    if (mantissa > 0) significant++;
    c = ++at < end ? text.charCodeAt(at) : 0;
  }
  let integer = true;
  if (c === 46) {
    integer = false;
    c = ++at < end ? text.charCodeAt(at) : 0;
    while (c >= 48 && c <= 57) {
      mantissa = mantissa * 10 + (c - 48);
      digits++;
      fraction++;
      if (mantissa > 0) significant++;
      c = ++at < end ? text.charCodeAt(at) : 0;
    }
  }
  if (digits === 0) throw notANumber(text, start, end);
  let exponent = 0;
  if (c === 101 || c === 69) {
    integer = false;
    c = ++at < end ? text.charCodeAt(at) : 0;
    const down = c === 45;
    if (down || c === 43) c = ++at < end ? text.charCodeAt(at) : 0;
    const from = at;
    while (c >= 48 && c <= 57) {
      if (exponent < 10_000) exponent = exponent * 10 + (c - 48);
      c = ++at < end ? text.charCodeAt(at) : 0;
    }
    if (at === from) throw new FieldError('invalid number');
    if (down) exponent = -exponent;
  }
  const stop = at;
  if (c === 105 || c === 117) {
    if (!integer) throw new FieldError('invalid number');
    checkInteger(text, start, stop, c === 117, negative, significant);
    c = ++at < end ? text.charCodeAt(at) : 0;
  }
  if (at < end && c !== 44 && c !== 32 && c !== 10 && c !== 13) throw new FieldError('invalid number');
  const power = exponent - fraction;
  let value: number;
  if (significant <= 15 && power >= -22 && power <= 22) {
    value = power < 0 ? mantissa / POWERS[-power]! : mantissa * POWERS[power]!;
    if (negative) value = -value;
  } else {
    value = Number(text.slice(start, stop));
    if (!Number.isFinite(value)) throw new FieldError('invalid number');
  }
  result.value = value;
  result.end = at;
  return result;
}

function checkInteger(
  text: string,
  start: number,
  stop: number,
  unsigned: boolean,
  negative: boolean,
  digits: number,
): void {
  if (unsigned && negative) throw new FieldError('invalid number');
  if (digits < 19) return;
  const value = BigInt(text.slice(start, stop).replace(/^\+/, ''));
  if (unsigned ? value > 0xffffffffffffffffn : value > 0x7fffffffffffffffn || value < -0x8000000000000000n) {
    throw new FieldError(
      `unable to parse ${unsigned ? 'unsigned' : 'integer'} ${value}: strconv.Parse${unsigned ? 'Uint' : 'Int'}: parsing "${value}": value out of range`,
    );
  }
}

const BOOLEANS = new Map([
  ['t', 1],
  ['T', 1],
  ['true', 1],
  ['True', 1],
  ['TRUE', 1],
  ['f', 0],
  ['F', 0],
  ['false', 0],
  ['False', 0],
  ['FALSE', 0],
]);

function readBoolean(text: string, at: number, end: number): { value: number; end: number } {
  const start = at;
  while (at < end && at - start < 6) {
    const c = text.charCodeAt(at);
    if (c === 44 || c === 32 || c === 10 || c === 13) break;
    at++;
  }
  const value = BOOLEANS.get(text.slice(start, at));
  if (value === undefined) throw new FieldError('invalid boolean');
  result.value = value;
  result.end = at;
  return result;
}

function notANumber(text: string, start: number, end: number): FieldError {
  const c = start < end ? text.charCodeAt(start) : 10;
  if (c === 10 || c === 13 || c === 32 || c === 44) return new FieldError('missing field value');
  return new FieldError(
    /^[+-]?(nan|inf)/i.test(text.slice(start, start + 4)) ? 'invalid number' : 'invalid field format',
  );
}
