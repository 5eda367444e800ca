import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

/** The bytes are not the message that they should be. */
export class BadMessage extends Error {}

/** What to do with each field of a message by its number; it must read the whole value. */
export type FieldReaders = Record<number, (reader: BinaryReader, type: WireType) => void>;

/** Reads the fields of one message up to `end`; those that are not named are skipped. */
export function readFields(reader: BinaryReader, end: number, fields: FieldReaders): void {
  while (reader.pos < end) {
    const [number, type] = reader.tag();
    const read = fields[number];
    if (read) read(reader, type);
    else reader.skip(type, number);
  }
  if (reader.pos !== end) throw new BadMessage('a field reaches beyond its message');
}

/** Reads an embedded message, which begins with its length. */
export function readInner(reader: BinaryReader, fields: FieldReaders): void {
  readFields(reader, endOfInner(reader), fields);
}

/** Reads a repeated `uint32`, packed or not. */
export function readUint32s(reader: BinaryReader, type: WireType, out: number[]): void {
  if (type !== WireType.LengthDelimited) out.push(reader.uint32());
  else for (const end = endOfInner(reader); reader.pos < end; ) out.push(reader.uint32());
}

function endOfInner(reader: BinaryReader): number {
  const end = reader.uint32() + reader.pos;
  if (end > reader.len) throw new BadMessage('the message is cut off');
  return end;
}

/** Runs a reading; what the library throws about the bytes becomes a BadMessage. */
export function* reading<T>(bytes: Uint8Array, read: (reader: BinaryReader) => Generator<T>): Generator<T> {
  try {
    yield* read(new BinaryReader(bytes));
  } catch (error) {
    throw error instanceof BadMessage ? error : new BadMessage((error as Error).message);
  }
}
