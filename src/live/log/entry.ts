/** One entry of the log of a partition: what one transaction changed of the points of its series. */
export interface Changes {
  /** New points, by series; each is told once, and none that was there before. */
  points: { ids: Float64Array; times: Float64Array; values: Float64Array };
  /** Series in which points at or after a time have changed in another way, or in great number: read them again. */
  touched: { ids: Float64Array; from: Float64Array };
}

export interface LogEntry {
  partition: number;
  seq: number;
  changes: Changes;
}

// Little endian: points u32 · touched u32 · ids, times, values of the points f64 · ids, times of the touched f64.
const HEADER = 8;

/** Series ids are kept as float64: a sequence that counts from 1 does not reach 2^53. */
export function encodeChanges({ points, touched }: Changes): Buffer {
  const columns = [points.ids, points.times, points.values, touched.ids, touched.from];
  const out = Buffer.allocUnsafe(HEADER + columns.reduce((sum, column) => sum + column.byteLength, 0));
  out.writeUInt32LE(points.ids.length, 0);
  out.writeUInt32LE(touched.ids.length, 4);
  let at = HEADER;
  for (const column of columns) {
    out.set(new Uint8Array(column.buffer, column.byteOffset, column.byteLength), at);
    at += column.byteLength;
  }
  return out;
}

/** Throws an Error when the bytes are not whole; they come from our own log. */
export function decodeChanges(bytes: Uint8Array): Changes {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = bytes.length < HEADER ? -1 : view.getUint32(0, true);
  const marks = count < 0 ? 0 : view.getUint32(4, true);
  if (bytes.length !== HEADER + 24 * count + 16 * marks) throw new Error('these bytes are no log entry');
  // A copy, because float64 must be aligned.
  const { buffer } = Uint8Array.from(bytes.subarray(HEADER));
  let at = 0;
  const column = (length: number) => {
    const out = new Float64Array(buffer, at, length);
    at += 8 * length;
    return out;
  };
  return {
    points: { ids: column(count), times: column(count), values: column(count) },
    touched: { ids: column(marks), from: column(marks) },
  };
}
