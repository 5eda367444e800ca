import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { EngineError } from '../errors.js';
import {
  elementsOf,
  Safetensors,
  type SafetensorsDType,
  type SafetensorsTensor,
  toFloat32,
  toInt32,
  writeSafetensors,
} from './safetensors.js';
import { DTYPE_BYTES } from './safetensors-header.js';

/** A file with any header text and data bytes; `length` overrides the true header length. */
function file(header: string | Uint8Array, data = new Uint8Array(0), length?: bigint): Uint8Array {
  const text = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}

function codeOf(bytes: Uint8Array): string {
  try {
    new Safetensors(bytes, 'f.safetensors');
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    expect(error.where?.file).toBe('f.safetensors');
    expect(error.fix).toBeTruthy();
    return error.code;
  }
  return 'read';
}

const DTYPES = Object.keys(DTYPE_BYTES) as SafetensorsDType[];
const tensor: fc.Arbitrary<SafetensorsTensor> = fc
  .tuple(fc.constantFrom(...DTYPES), fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 3 }))
  .chain(([dtype, shape]) => {
    const count = shape.reduce((p, e) => p * e, 1) * DTYPE_BYTES[dtype];
    return fc
      .uint8Array({ minLength: count, maxLength: count })
      .map((bytes) => ({ dtype, shape, data: elementsOf(bytes, dtype) }));
  });
const name = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.constantFrom('__proto__', 'constructor', '0', 'a"b'),
);
const contents = fc.dictionary(name, tensor, { maxKeys: 6, noNullPrototype: false });
const raw = (t: SafetensorsTensor) => new Uint8Array(t.data.buffer, t.data.byteOffset, t.data.byteLength).slice();

describe('safetensors round trip', () => {
  it('gives back every tensor bit for bit, and the same bytes whatever the order', () => {
    fc.assert(
      fc.property(contents, fc.dictionary(name, fc.string(), { maxKeys: 3 }), (tensors, metadata) => {
        const entries = Object.entries(tensors);
        const bytes = writeSafetensors(new Map(entries), metadata);
        expect(writeSafetensors(new Map(entries.toReversed()), metadata)).toEqual(bytes);
        const read = new Safetensors(bytes);
        expect([...read.entries.keys()].sort()).toEqual(entries.map(([key]) => key).sort());
        expect(Object.entries(read.metadata).sort()).toEqual(Object.entries(metadata).sort());
        for (const [key, original] of entries) {
          const back = read.read(key);
          expect([back.dtype, back.shape]).toEqual([original.dtype, original.shape]);
          expect(raw(back)).toEqual(raw(original));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('reads tensors at any alignment of the file in memory', () => {
    const bytes = writeSafetensors({ a: { dtype: 'F64', shape: [2], data: new Float64Array([1.5, -2]) } });
    for (let shift = 0; shift < 9; shift++) {
      const shifted = new Uint8Array(bytes.length + shift);
      shifted.set(bytes, shift);
      expect([...new Safetensors(shifted.subarray(shift)).read('a').data]).toEqual([1.5, -2]);
    }
  });

  it('refuses to write data that its shape does not describe, and the reserved name', () => {
    const data = new Float32Array(3);
    expect(() => writeSafetensors({ a: { dtype: 'F32', shape: [2], data } })).toThrow(EngineError);
    expect(() => writeSafetensors({ a: { dtype: 'F64', shape: [3], data } })).toThrow(EngineError);
    expect(() => writeSafetensors({ a: { dtype: 'F32', shape: [-3, -1], data } })).toThrow(EngineError);
    expect(() => writeSafetensors({ __metadata__: { dtype: 'F32', shape: [3], data } })).toThrow(EngineError);
  });
});

describe('widening', () => {
  it('reads F16 exactly: normal, subnormal, infinite, NaN, both zeros', () => {
    const bits = new Uint16Array([0x3c00, 0xc000, 0x7bff, 0x0001, 0x03ff, 0x0400, 0x7c00, 0xfc00, 0x7e00, 0x8000]);
    const values = toFloat32({ dtype: 'F16', shape: [10], data: bits });
    const [one, minusTwo, max, tiny, subnormal, normal, up, down, nan, zero] = values;
    expect([one, minusTwo, max, tiny, subnormal, normal]).toEqual([1, -2, 65504, 2 ** -24, 1023 * 2 ** -24, 2 ** -14]);
    expect([up, down]).toEqual([Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
    expect(nan).toBeNaN();
    expect(Object.is(zero, -0)).toBe(true);
  });

  it('reads BF16 as the upper half of a float32', () => {
    const numbers = new Float32Array([1, -2.5, 3.140625, 0, Number.NEGATIVE_INFINITY]);
    const bits = Uint16Array.from(new Uint32Array(numbers.buffer), (w) => w >>> 16);
    expect([...toFloat32({ dtype: 'BF16', shape: [5], data: bits })]).toEqual([...numbers]);
  });

  it('narrows integers only where they fit', () => {
    const wide = (values: bigint[]): SafetensorsTensor => ({
      dtype: 'I64',
      shape: [values.length],
      data: new BigInt64Array(values),
    });
    expect([...toInt32(wide([-1n, 2147483647n]), 'f', 'ids')]).toEqual([-1, 2147483647]);
    for (const value of [2147483648n, -2147483649n, 2n ** 62n]) {
      expect(() => toInt32(wide([value]), 'f', 'ids')).toThrow(expect.objectContaining({ code: 'INTEGER_RANGE' }));
    }
    expect(() => toInt32({ dtype: 'F32', shape: [1], data: new Float32Array(1) }, 'f', 'ids')).toThrow(
      expect.objectContaining({ code: 'TENSOR_DTYPE', where: { file: 'f', field: 'ids' } }),
    );
  });
});

describe('a file that lies', () => {
  const entry = (fields: string) => `{"a":{${fields}}}`;
  const four = new Uint8Array(4);
  it.each([
    ['is empty', new Uint8Array(0), 'SAFETENSORS_TRUNCATED'],
    ['ends inside the length', new Uint8Array(7), 'SAFETENSORS_TRUNCATED'],
    ['ends inside the header', file('{}', undefined, 3n), 'SAFETENSORS_TRUNCATED'],
    ['claims more header than the limit', file('{}', undefined, 100_000_001n), 'SAFETENSORS_HEADER_SIZE'],
    ['claims a header of 2^64 − 1 bytes', file('{}', undefined, 2n ** 64n - 1n), 'SAFETENSORS_HEADER_SIZE'],
    ['has no header', file(''), 'SAFETENSORS_HEADER'],
    ['is not JSON', file('{"a":'), 'SAFETENSORS_HEADER'],
    ['is JSON after white space', file(' {}'), 'SAFETENSORS_HEADER'],
    ['is a list', file('[]'), 'SAFETENSORS_HEADER'],
    ['is not UTF-8', file(new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x7d])), 'SAFETENSORS_HEADER'],
    ['nests without end', file(`{"a":${'['.repeat(1e5)}`), 'SAFETENSORS_HEADER'],
    [
      'names a tensor twice',
      file(
        '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}',
        four,
      ),
      'SAFETENSORS_HEADER',
    ],
    ['has a tensor that is no object', file('{"a":1}'), 'SAFETENSORS_HEADER'],
    [
      'has an unknown field',
      file(entry('"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1'), four),
      'SAFETENSORS_HEADER',
    ],
    ['has metadata that is no text', file('{"__metadata__":{"a":1}}'), 'SAFETENSORS_HEADER'],
    ['has no dtype', file(entry('"shape":[1],"data_offsets":[0,4]'), four), 'SAFETENSORS_DTYPE'],
    [
      'has an unknown dtype',
      file(entry('"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]'), four),
      'SAFETENSORS_DTYPE',
    ],
    [
      'has an inherited dtype',
      file(entry('"dtype":"toString","shape":[4],"data_offsets":[0,4]'), four),
      'SAFETENSORS_DTYPE',
    ],
    [
      'has a negative extent',
      file(entry('"dtype":"F32","shape":[-1],"data_offsets":[0,4]'), four),
      'SAFETENSORS_SHAPE',
    ],
    [
      'has a fractional extent',
      file(entry('"dtype":"F32","shape":[0.5],"data_offsets":[0,4]'), four),
      'SAFETENSORS_SHAPE',
    ],
    [
      'has an extent past 2^53',
      file(entry('"dtype":"F32","shape":[1e300],"data_offsets":[0,4]'), four),
      'SAFETENSORS_SHAPE',
    ],
    [
      'has a product that overflows',
      file(entry('"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,4]'), four),
      'SAFETENSORS_SHAPE',
    ],
    [
      'has a shape larger than its offsets',
      file(entry('"dtype":"F32","shape":[2],"data_offsets":[0,4]'), four),
      'SAFETENSORS_SHAPE',
    ],
    [
      'has offsets beyond the end',
      file(entry('"dtype":"F32","shape":[2],"data_offsets":[0,8]'), four),
      'SAFETENSORS_OFFSETS',
    ],
    [
      'has offsets backwards',
      file(entry('"dtype":"F32","shape":[1],"data_offsets":[4,0]'), four),
      'SAFETENSORS_OFFSETS',
    ],
    [
      'has negative offsets',
      file(entry('"dtype":"F32","shape":[1],"data_offsets":[-4,0]'), four),
      'SAFETENSORS_OFFSETS',
    ],
    ['has one offset', file(entry('"dtype":"F32","shape":[1],"data_offsets":[4]'), four), 'SAFETENSORS_OFFSETS'],
    ['has a hole', file(entry('"dtype":"U8","shape":[3],"data_offsets":[1,4]'), four), 'SAFETENSORS_OFFSETS'],
    [
      'has tensors that overlap',
      file(
        '{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}',
        four,
      ),
      'SAFETENSORS_OFFSETS',
    ],
    [
      'has bytes of no tensor at the end',
      file(entry('"dtype":"U8","shape":[3],"data_offsets":[0,3]'), four),
      'SAFETENSORS_TRAILING',
    ],
    ['has data and no tensors', file('{}', four), 'SAFETENSORS_TRAILING'],
  ])('%s', (_, bytes, code) => {
    expect(codeOf(bytes)).toBe(code);
  });

  it('names the tensor', () => {
    const bytes = file('{"layers.0.w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', four);
    expect(() => new Safetensors(bytes, 'm')).toThrow(
      expect.objectContaining({ where: { file: 'm', field: 'layers.0.w' } }),
    );
    expect(() => new Safetensors(file('{}')).read('w')).toThrow(expect.objectContaining({ code: 'TENSOR_MISSING' }));
  });

  it('may be padded with spaces and hold empty tensors and scalars', () => {
    const header =
      '{"e":{"dtype":"F32","shape":[0,9007199254740991],"data_offsets":[0,0]},"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}  ';
    const read = new Safetensors(file(header, four));
    expect(read.read('e').data).toHaveLength(0);
    expect([...read.read('s').data]).toEqual([0]);
  });
});

describe('a damaged file', () => {
  /** Whatever is read after damage must lie inside the file; anything else is an EngineError. */
  const survives = (bytes: Uint8Array) => {
    if (codeOf(bytes) !== 'read') return;
    const read = new Safetensors(bytes, 'f.safetensors');
    for (const [key, { shape }] of read.entries) {
      expect(read.read(key).data).toHaveLength(shape.reduce((p, e) => p * e, 1));
    }
  };
  const written = contents.map((tensors) => writeSafetensors(new Map(Object.entries(tensors)), { made: 'by a test' }));

  it('never does anything but fail clearly when bytes change', () => {
    const edits = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(written, edits, (bytes, changes) => {
        const header = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
        for (const [at, value] of changes) bytes[at % header] = value;
        survives(bytes);
      }),
      { numRuns: 1000 },
    );
  });

  it('never does anything but fail clearly when it is cut or grows', () => {
    fc.assert(
      fc.property(written, fc.nat(), fc.integer({ min: -64, max: 64 }), (bytes, at, by) => {
        if (by === 0) return;
        const cut = by < 0 ? bytes.subarray(0, at % bytes.length) : new Uint8Array([...bytes, ...new Uint8Array(by)]);
        expect(codeOf(cut)).not.toBe('read');
      }),
      { numRuns: 500 },
    );
  });

  it('never does anything but fail clearly when parts of the JSON are swapped for hostile ones', () => {
    const hostile = [
      '-1',
      '1e999',
      '9007199254740993',
      'null',
      '""',
      '[]',
      '{}',
      '"F64"',
      '18446744073709551616',
      '0.1',
    ];
    fc.assert(
      fc.property(written, fc.nat(), fc.constantFrom(...hostile), (bytes, pick, replacement) => {
        const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
        const text = new TextDecoder().decode(bytes.subarray(8, 8 + length));
        const numbers = [...text.matchAll(/\d+|"[A-Z0-9]+"|\[[^[\]]*\]/g)];
        if (numbers.length === 0) return;
        const { index, 0: found } = numbers[pick % numbers.length];
        const changed = text.slice(0, index) + replacement + text.slice(index + found.length);
        survives(file(changed, bytes.slice(8 + length)));
      }),
      { numRuns: 1000 },
    );
  });
});
