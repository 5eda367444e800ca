/**
 * Named numeric columns in one byte string, for results and other arrays in the store. Layout, little endian:
 * "ADC1" · length of the header u32 · header, JSON of [name, type, length] for each column · padding to 8 bytes · the columns,
 * each padded to 8 bytes, so that on reading they are views and not copies.
 */

const TYPES = {
  f64: Float64Array,
  f32: Float32Array,
  i32: Int32Array,
  u32: Uint32Array,
  u8: Uint8Array,
} as const;

type TypeName = keyof typeof TYPES;
export type Column = Float64Array | Float32Array | Int32Array | Uint32Array | Uint8Array;
export type Columns = Record<string, Column>;

const MAGIC = 0x31434441;
const padded = (size: number) => Math.ceil(size / 8) * 8;

export function encodeColumns(columns: Columns): Buffer {
  const entries = Object.entries(columns);
  const header = Buffer.from(JSON.stringify(entries.map(([name, column]) => [name, typeOf(column), column.length])));
  let size = padded(8 + header.length);
  for (const [, column] of entries) size += padded(column.byteLength);
  const out = Buffer.alloc(size);
  out.writeUInt32LE(MAGIC, 0);
  out.writeUInt32LE(header.length, 4);
  header.copy(out, 8);
  let at = padded(8 + header.length);
  for (const [, column] of entries) {
    out.set(new Uint8Array(column.buffer, column.byteOffset, column.byteLength), at);
    at += padded(column.byteLength);
  }
  return out;
}

/** The columns of `encodeColumns`. Throws an Error when the bytes are not whole; they come from our own store. */
export function decodeColumns(bytes: Uint8Array): Columns {
  // Views need their offset to be a multiple of the element size; what a driver returns rarely has it.
  const aligned = bytes.byteOffset % 8 === 0 ? bytes : Uint8Array.from(bytes);
  const view = new DataView(aligned.buffer, aligned.byteOffset, aligned.byteLength);
  if (view.byteLength < 8 || view.getUint32(0, true) !== MAGIC) throw new Error('these bytes are not columns');
  const headerLength = view.getUint32(4, true);
  const text = new TextDecoder().decode(aligned.subarray(8, 8 + headerLength));
  const columns: Columns = {};
  let at = padded(8 + headerLength);
  for (const [name, type, length] of JSON.parse(text) as [string, TypeName, number][]) {
    const Type = TYPES[type];
    const size = length * Type.BYTES_PER_ELEMENT;
    if (at + size > aligned.byteLength) throw new Error(`the column ${name} is cut off`);
    columns[name] = new Type(aligned.buffer as ArrayBuffer, aligned.byteOffset + at, length);
    at += padded(size);
  }
  return columns;
}

function typeOf(column: Column): TypeName {
  for (const [name, Type] of Object.entries(TYPES)) if (column instanceof Type) return name as TypeName;
  throw new Error('not a column');
}
