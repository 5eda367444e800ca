/**
 * One-dimensional arrays in PostgreSQL's binary format. node-postgres sends a Buffer as a binary parameter, so whole
 * columns travel without a number being written out as text, which is most of the cost of a bulk insert.
 *
 * Layout, big endian: dimensions i32 · has nulls i32 · element type i32 · length i32 · lower bound i32 · for each element
 * its size i32 (-1 for NULL) and its bytes. PostgreSQL 7.4 to 18 agree on it. For reading, `array_send(...)` gives the same.
 */

const BYTEA = 17;
const INT8 = 20;
const FLOAT8 = 701;
const TIMESTAMPTZ = 1184;
const HEADER = 20;

/** Milliseconds from 1970 to 2000, where PostgreSQL counts from. */
const EPOCH_2000 = 946_684_800_000;

/** Microseconds beyond this (the years 1715 and 2285) are not whole numbers of a double. */
const EXACT = 2 ** 53;

function header(length: number, type: number, nulls: boolean, bytes: number): Buffer {
  const buffer = Buffer.allocUnsafe(length === 0 ? 12 : HEADER + bytes);
  buffer.writeInt32BE(length === 0 ? 0 : 1, 0);
  buffer.writeInt32BE(nulls ? 1 : 0, 4);
  buffer.writeInt32BE(type, 8);
  if (length > 0) {
    buffer.writeInt32BE(length, 12);
    buffer.writeInt32BE(1, 16);
  }
  return buffer;
}

/** `int8[]` */
export function int8Array(values: ArrayLike<bigint>): Buffer {
  const buffer = header(values.length, INT8, false, values.length * 12);
  for (let i = 0, at = HEADER; i < values.length; i++, at += 12) {
    buffer.writeInt32BE(8, at);
    buffer.writeBigInt64BE(values[i]!, at + 4);
  }
  return buffer;
}

/** `timestamptz[]` from milliseconds since 1970, rounded to the microsecond; to the millisecond where microseconds are not exact. */
export function timestampArray(values: ArrayLike<number>): Buffer {
  const buffer = header(values.length, TIMESTAMPTZ, false, values.length * 12);
  for (let i = 0, at = HEADER; i < values.length; i++, at += 12) {
    const micros = Math.round((values[i]! - EPOCH_2000) * 1000);
    buffer.writeInt32BE(8, at);
    if (Math.abs(micros) < EXACT) {
      // Two 32-bit halves, without a bigint for each point.
      const high = Math.floor(micros / 2 ** 32);
      buffer.writeInt32BE(high, at + 4);
      buffer.writeUInt32BE(micros - high * 2 ** 32, at + 8);
    } else buffer.writeBigInt64BE((BigInt(Math.round(values[i]!)) - BigInt(EPOCH_2000)) * 1000n, at + 4);
  }
  return buffer;
}

/** `bytea[]` */
export function byteaArray(values: readonly Uint8Array[]): Buffer {
  const bytes = values.reduce((sum, value) => sum + 4 + value.length, 0);
  const buffer = header(values.length, BYTEA, false, bytes);
  let at = HEADER;
  for (const value of values) {
    at = buffer.writeInt32BE(value.length, at);
    buffer.set(value, at);
    at += value.length;
  }
  return buffer;
}

/** `float8[]`; NaN becomes NULL. */
export function float8Array(values: ArrayLike<number>): Buffer {
  let missing = 0;
  for (let i = 0; i < values.length; i++) if (Number.isNaN(values[i]!)) missing++;
  const buffer = header(values.length, FLOAT8, missing > 0, values.length * 12 - missing * 8);
  for (let i = 0, at = HEADER; i < values.length; i++) {
    const value = values[i]!;
    if (Number.isNaN(value)) at = buffer.writeInt32BE(-1, at);
    else at = buffer.writeDoubleBE(value, buffer.writeInt32BE(8, at));
  }
  return buffer;
}

/** The values of a `float8[]`, NULL as NaN. */
export function readFloat8Array(buffer: Buffer | null): Float64Array {
  const length = arrayLength(buffer, FLOAT8);
  const out = new Float64Array(length);
  for (let i = 0, at = HEADER; i < length; i++) {
    const size = buffer!.readInt32BE(at);
    at += 4;
    if (size === -1) out[i] = Number.NaN;
    else {
      out[i] = buffer!.readDoubleBE(at);
      at += 8;
    }
  }
  return out;
}

/** The values of an `int8[]` without NULLs. */
export function readInt8Array(buffer: Buffer | null): BigInt64Array {
  const length = arrayLength(buffer, INT8);
  const out = new BigInt64Array(length);
  for (let i = 0, at = HEADER + 4; i < length; i++, at += 12) out[i] = buffer!.readBigInt64BE(at);
  return out;
}

/** The values of a `timestamptz[]` without NULLs, in milliseconds since 1970. */
export function readTimestampArray(buffer: Buffer | null): Float64Array {
  const length = arrayLength(buffer, TIMESTAMPTZ);
  const out = new Float64Array(length);
  for (let i = 0, at = HEADER + 4; i < length; i++, at += 12) {
    const micros = buffer!.readInt32BE(at) * 2 ** 32 + buffer!.readUInt32BE(at + 4);
    out[i] =
      Math.abs(micros) < EXACT
        ? micros / 1000 + EPOCH_2000
        : Number(buffer!.readBigInt64BE(at) / 1000n + BigInt(EPOCH_2000));
  }
  return out;
}

function arrayLength(buffer: Buffer | null, type: number): number {
  if (buffer === null || buffer.readInt32BE(0) === 0) return 0;
  const found = buffer.readInt32BE(8);
  if (found !== type) throw new Error(`expected an array of type ${type}, the database sent ${found}`);
  return buffer.readInt32BE(12);
}
