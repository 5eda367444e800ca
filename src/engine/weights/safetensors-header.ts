/**
 * The header of a safetensors file: 8 bytes little-endian length, a JSON object of that length, then the tensors' bytes.
 *
 * The header is a claim by whoever wrote the file, so every part is checked before a byte of data is believed: the
 * tensors must tile the data exactly, in bounds, without overlap or hole, each as long as its shape says.
 */
import { EngineError } from '../errors.js';
import { type Json, parseJson } from './json.js';

export type SafetensorsDType = 'F64' | 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'U8' | 'BOOL';

/** Bytes of one element. */
export const DTYPE_BYTES: Readonly<Record<SafetensorsDType, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  U8: 1,
  BOOL: 1,
};

/** The limit of the format's own reader: a longer header is an attack or a broken length. */
export const MAX_HEADER_BYTES = 100_000_000;
/** Bytes before the header. */
export const LENGTH_BYTES = 8;

export interface SafetensorsEntry {
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  /** Byte range within the data, which starts at `SafetensorsHeader.dataStart` of the file. */
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly dataStart: number;
}

/** Error of a weight file: `field` is the tensor. */
export function weightError(code: string, message: string, file: string, field?: string, fix?: string): EngineError {
  return new EngineError({
    code,
    message,
    where: { file, ...(field === undefined ? {} : { field }) },
    fix: fix ?? 'the file is damaged or not safetensors: fetch or write it again',
  });
}

/**
 * Length in bytes of the JSON header.
 *
 * @param start the file's first bytes (8 are enough)
 * @param fileBytes the whole file's size
 */
export function headerLength(start: Uint8Array, fileBytes: number, file: string): number {
  if (fileBytes < LENGTH_BYTES || start.length < LENGTH_BYTES) {
    throw weightError('SAFETENSORS_TRUNCATED', `${fileBytes} bytes are too few for a safetensors file`, file);
  }
  const length = new DataView(start.buffer, start.byteOffset, start.byteLength).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw weightError(
      'SAFETENSORS_HEADER_SIZE',
      `the header claims ${length} bytes, more than the format's limit of ${MAX_HEADER_BYTES}`,
      file,
    );
  }
  if (Number(length) > fileBytes - LENGTH_BYTES) {
    throw weightError(
      'SAFETENSORS_TRUNCATED',
      `the header claims ${length} bytes, but ${fileBytes - LENGTH_BYTES} follow`,
      file,
    );
  }
  return Number(length);
}

/**
 * Reads and checks the header.
 *
 * @param bytes the JSON header alone
 * @param fileBytes the whole file's size, which the tensors must fill exactly
 * @throws EngineError with a SAFETENSORS_… code and the tensor's name
 */
export function parseHeader(bytes: Uint8Array, fileBytes: number, file: string): SafetensorsHeader {
  const dataStart = LENGTH_BYTES + bytes.length;
  const top = parseText(bytes, file);
  const metadata: Record<string, string> = Object.create(null);
  const tensors = new Map<string, SafetensorsEntry>();
  for (const [name, value] of Object.entries(top)) {
    if (name !== '__metadata__') {
      tensors.set(name, parseEntry(name, value, fileBytes - dataStart, file));
      continue;
    }
    if (!isObject(value)) throw weightError('SAFETENSORS_HEADER', '__metadata__ is not an object', file);
    for (const [key, text] of Object.entries(value)) {
      if (typeof text !== 'string') {
        throw weightError('SAFETENSORS_HEADER', `__metadata__ ${JSON.stringify(key)} is not a string`, file);
      }
      metadata[key] = text;
    }
  }
  checkTiling(tensors, fileBytes - dataStart, file);
  return { tensors, metadata, dataStart };
}

function parseText(bytes: Uint8Array, file: string): { [key: string]: Json } {
  let json: Json;
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    if (text[0] !== '{') throw new SyntaxError('it does not begin with "{"');
    json = parseJson(text, { file });
  } catch (cause) {
    throw new EngineError({
      code: 'SAFETENSORS_HEADER',
      message: `the header is unreadable: ${(cause as Error).message}`,
      where: { file },
      fix: 'the file is damaged or not safetensors: fetch or write it again',
      cause,
    });
  }
  // The text begins with "{", so anything but an object failed to parse.
  return json as { [key: string]: Json };
}

function isObject(value: Json | undefined): value is { [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: Json): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function parseEntry(name: string, value: Json, dataBytes: number, file: string): SafetensorsEntry {
  const fail = (message: string, code = 'SAFETENSORS_HEADER') => weightError(code, message, file, name);
  if (!isObject(value)) throw fail('the tensor is not described by an object');
  for (const key of Object.keys(value)) {
    if (key !== 'dtype' && key !== 'shape' && key !== 'data_offsets') {
      throw fail(`unknown field ${JSON.stringify(key.slice(0, 80))}`);
    }
  }
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string' || !Object.hasOwn(DTYPE_BYTES, dtype)) {
    const known = Object.keys(DTYPE_BYTES).join(', ');
    throw weightError(
      'SAFETENSORS_DTYPE',
      `unknown dtype ${JSON.stringify(dtype ?? null).slice(0, 80)}`,
      file,
      name,
      `store the tensor as one of ${known}`,
    );
  }
  if (!Array.isArray(shape) || !shape.every(isCount)) {
    throw fail('the shape is not a list of whole numbers from 0 to 2^53', 'SAFETENSORS_SHAPE');
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw fail('data_offsets is not a pair of whole numbers', 'SAFETENSORS_OFFSETS');
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataBytes) {
    throw fail(`data_offsets ${begin}..${end} lie outside the ${dataBytes} bytes of data`, 'SAFETENSORS_OFFSETS');
  }
  // Bounded by the file after every factor: a product of checked extents may still pass 2^53.
  let bytes = DTYPE_BYTES[dtype as SafetensorsDType];
  for (const extent of shape.includes(0) ? [0] : (shape as number[])) {
    bytes *= extent;
    if (bytes > dataBytes) break;
  }
  if (bytes !== end - begin) {
    throw fail(`[${shape}] ${dtype} does not take the ${end - begin} bytes of its offsets`, 'SAFETENSORS_SHAPE');
  }
  return { dtype: dtype as SafetensorsDType, shape: shape as number[], begin, end };
}

/** The tensors, in order of their bytes, must touch each other and fill the data. */
function checkTiling(tensors: ReadonlyMap<string, SafetensorsEntry>, dataBytes: number, file: string): void {
  const ordered = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let at = 0;
  for (const [name, { begin, end }] of ordered) {
    if (begin !== at) {
      const what = begin < at ? `overlaps the tensor before it by ${at - begin}` : `leaves a hole of ${begin - at}`;
      throw weightError('SAFETENSORS_OFFSETS', `the tensor ${what} bytes`, file, name);
    }
    at = end;
  }
  if (at !== dataBytes) {
    throw weightError('SAFETENSORS_TRAILING', `${dataBytes - at} bytes belong to no tensor`, file);
  }
}
