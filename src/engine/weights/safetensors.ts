/** safetensors in memory: reading tensors out of checked bytes, and writing files that are the same for the same input. */
import { EngineError } from '../errors.js';
import { bfloatToNumber, halfToNumber } from './half.js';
import {
  DTYPE_BYTES,
  headerLength,
  LENGTH_BYTES,
  MAX_HEADER_BYTES,
  parseHeader,
  type SafetensorsDType,
  type SafetensorsEntry,
  weightError,
} from './safetensors-header.js';

export type { SafetensorsDType, SafetensorsEntry } from './safetensors-header.js';

/** Elements as they lie in the file: F16 and BF16 as their bits. */
export type SafetensorsArray = Float64Array | Float32Array | Uint16Array | BigInt64Array | Int32Array | Uint8Array;

export interface SafetensorsTensor {
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  readonly data: SafetensorsArray;
}

/** Tensors by name, wherever they lie: bytes in memory, an open file, the shards of a checkpoint. */
export interface TensorSource {
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  /** Named in messages. */
  readonly file: string;
  /** The elements as they lie in the file. Throws EngineError TENSOR_MISSING for an unknown name. */
  read(name: string): SafetensorsTensor;
}

const ARRAYS = {
  F64: Float64Array,
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I64: BigInt64Array,
  I32: Int32Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
} as const;

if (new Uint8Array(new Uint16Array([1]).buffer)[0] !== 1) {
  throw new EngineError({
    code: 'BIG_ENDIAN',
    message: 'this machine is big-endian, weight files are not',
    fix: 'run on a little-endian machine (x86-64, arm64)',
  });
}

/** Views `bytes` as elements; copies only where the bytes are not aligned to the element. */
export function elementsOf(bytes: Uint8Array, dtype: SafetensorsDType): SafetensorsArray {
  const aligned = bytes.byteOffset % DTYPE_BYTES[dtype] === 0 ? bytes : bytes.slice();
  return new ARRAYS[dtype](aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength / DTYPE_BYTES[dtype]);
}

/** The entry of a tensor that must be there. */
export function entryOf(source: Pick<TensorSource, 'entries' | 'file'>, name: string): SafetensorsEntry {
  const entry = source.entries.get(name);
  if (!entry) {
    throw weightError('TENSOR_MISSING', 'there is no tensor of this name', source.file, name, 'check the file');
  }
  return entry;
}

/**
 * A whole safetensors file in memory. Tensors alias the bytes where alignment allows.
 *
 * @param file the name for messages
 * @throws EngineError SAFETENSORS_… for anything that is not a well-formed file
 */
export class Safetensors implements TensorSource {
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: Readonly<Record<string, string>>;
  private readonly data: Uint8Array;

  constructor(
    bytes: Uint8Array | ArrayBuffer,
    readonly file = 'safetensors',
  ) {
    const all = bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes);
    const length = headerLength(all, all.length, file);
    const header = parseHeader(all.subarray(LENGTH_BYTES, LENGTH_BYTES + length), all.length, file);
    this.entries = header.tensors;
    this.metadata = header.metadata;
    this.data = all.subarray(header.dataStart);
  }

  read(name: string): SafetensorsTensor {
    const { dtype, shape, begin, end } = entryOf(this, name);
    return { dtype, shape, data: elementsOf(this.data.subarray(begin, end), dtype) };
  }
}

/** Any float tensor as float32 (F64 is rounded; float64 stays available through `data`), integers below 2^24 exactly. */
export function toFloat32(tensor: SafetensorsTensor): Float32Array {
  const { dtype, data } = tensor;
  if (data instanceof Float32Array) return data;
  if (dtype === 'F16') return Float32Array.from(data as Uint16Array, halfToNumber);
  if (dtype === 'BF16') return Float32Array.from(data as Uint16Array, bfloatToNumber);
  if (data instanceof BigInt64Array) return Float32Array.from(data, Number);
  return Float32Array.from(data);
}

/** Any integer tensor as int32; throws EngineError INTEGER_RANGE where a value does not fit, TENSOR_DTYPE for floats. */
export function toInt32(tensor: SafetensorsTensor, file: string, name: string): Int32Array {
  const { dtype, data } = tensor;
  if (data instanceof Int32Array) return data;
  if (data instanceof Uint8Array) return Int32Array.from(data);
  if (!(data instanceof BigInt64Array)) {
    throw weightError('TENSOR_DTYPE', `${dtype} where integers are needed`, file, name, 'store it as I32 or I64');
  }
  const out = new Int32Array(data.length);
  for (let i = 0; i < data.length; i++) {
    out[i] = Number(data[i]);
    if (BigInt(out[i]) !== data[i]) {
      throw weightError('INTEGER_RANGE', `${data[i]} does not fit into 32 bits`, file, name, 'store smaller numbers');
    }
  }
  return out;
}

/**
 * A safetensors file. Tensors are laid out by falling element size, then by name (UTF-16 order), as the format's own writer
 * does, so that every tensor is aligned and the same tensors always give the same bytes.
 *
 * @throws EngineError TENSOR_SHAPE where data and shape disagree, TENSOR_NAME for the reserved name
 */
export function writeSafetensors(
  tensors: Readonly<Record<string, SafetensorsTensor>> | ReadonlyMap<string, SafetensorsTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const named: [string, SafetensorsTensor][] = tensors instanceof Map ? [...tensors] : Object.entries(tensors);
  const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
  const ordered = named.sort(([a, s], [b, t]) => DTYPE_BYTES[t.dtype] - DTYPE_BYTES[s.dtype] || compare(a, b)) as [
    string,
    SafetensorsTensor,
  ][];
  const header: Record<string, unknown> = Object.create(null);
  if (Object.keys(metadata).length > 0) {
    header.__metadata__ = Object.fromEntries(Object.entries(metadata).sort(([a], [b]) => compare(a, b)));
  }
  let end = 0;
  for (const [name, { dtype, shape, data }] of ordered) {
    checkWritable(name, dtype, shape, data);
    const begin = end;
    end += data.byteLength;
    header[name] = { dtype, shape, data_offsets: [begin, end] };
  }
  const text = new TextEncoder().encode(headerText(header, ordered));
  // Spaces up to a multiple of 8 keep the data aligned.
  const length = Math.ceil(text.length / 8) * 8;
  if (length > MAX_HEADER_BYTES) {
    throw weightError('SAFETENSORS_HEADER_SIZE', `a header of ${length} bytes`, 'safetensors', undefined, 'split it');
  }
  const bytes = new Uint8Array(LENGTH_BYTES + length + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(text, LENGTH_BYTES);
  bytes.fill(0x20, LENGTH_BYTES + text.length, LENGTH_BYTES + length);
  let at = LENGTH_BYTES + length;
  for (const [, { data }] of ordered) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return bytes;
}

/** JSON.stringify would move names that look like array indices to the front. */
function headerText(header: Record<string, unknown>, ordered: [string, SafetensorsTensor][]): string {
  const names = [...('__metadata__' in header ? ['__metadata__'] : []), ...ordered.map(([name]) => name)];
  return `{${names.map((name) => `${JSON.stringify(name)}:${JSON.stringify(header[name])}`).join(',')}}`;
}

function checkWritable(name: string, dtype: SafetensorsDType, shape: readonly number[], data: SafetensorsArray): void {
  const size = shape.reduce((product, extent) => product * extent, 1);
  const fix = 'give a typed array of the dtype with as many elements as the shape says';
  if (name === '__metadata__') {
    throw weightError('TENSOR_NAME', 'the name is reserved', 'safetensors', name, 'choose another name');
  }
  if (!(data instanceof ARRAYS[dtype]) || data.length !== size || !shape.every((e) => Number.isInteger(e) && e >= 0)) {
    throw weightError('TENSOR_SHAPE', `${data.length} elements for [${shape}] ${dtype}`, 'safetensors', name, fix);
  }
}
