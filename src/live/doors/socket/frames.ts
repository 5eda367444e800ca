import { z } from 'zod';
import { AdderError } from '../../../platform/errors.js';
import { wantedFields } from '../out/output-json.js';

const id = z.string().min(1).max(64);
const name = z.string().min(1).max(256);

/** Names of one connection for its binary frames. */
export const MAX_NAMES = 100_000;

/** Messages of a client as JSON; `points` is checked by the reader of points, which is faster. */
export const clientMessage = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('hello'), stream: name }),
  z.strictObject({ type: z.literal('names'), names: z.array(name).max(MAX_NAMES) }),
  z.strictObject({ type: z.literal('subscribe'), id, ...wantedFields }),
  z.strictObject({ type: z.literal('unsubscribe'), id }),
]);
export type ClientMessage = z.output<typeof clientMessage>;

/** "ADP1", little endian. */
const MAGIC = 0x31504441;
const HEADER = 16;
const BYTES_PER_POINT = 20;

export interface BinaryPoints {
  /** 0 where the client does not number its messages. */
  sequence: number;
  times: Float64Array;
  values: Float64Array;
  /** Places in the table of names. */
  names: Uint32Array;
}

/**
 * Points of a binary frame, little endian: `ADP1`, count u32, sequence u64, then by column times f64 (milliseconds since
 * 1970), values f64 (NaN is missing) and names u32. Throws `BAD_FRAME`.
 */
export function readBinaryPoints(frame: Buffer): BinaryPoints {
  if (frame.length < HEADER || frame.readUInt32LE(0) !== MAGIC) throw badFrame('it does not begin with ADP1');
  const count = frame.readUInt32LE(4);
  if (frame.length !== HEADER + count * BYTES_PER_POINT) {
    throw badFrame(`${count} points take ${HEADER + count * BYTES_PER_POINT} bytes, these are ${frame.length}`);
  }
  const sequence = frame.readBigUInt64LE(8);
  if (sequence > BigInt(Number.MAX_SAFE_INTEGER)) throw badFrame('its sequence number is above 2^53');
  // A copy begins at a multiple of eight, where the columns can be views.
  const { buffer } = Uint8Array.from(frame.subarray(HEADER));
  return {
    sequence: Number(sequence),
    times: new Float64Array(buffer, 0, count),
    values: new Float64Array(buffer, 8 * count, count),
    names: new Uint32Array(buffer, 16 * count, count),
  };
}

export const badFrame = (what: string) =>
  new AdderError({
    code: 'BAD_FRAME',
    message: `this binary frame is not understood: ${what}`,
    fix: 'see docs/live-doors.md for its layout',
  });
