/**
 * Binary tensors of the Open Inference Protocol: little-endian, row-major, one after the other behind the JSON of a message.
 */
import { z } from 'zod';
import { binaryTail } from '../../http/body/binary-tail.js';

type Read = (view: DataView, at: number) => number;

const reader = (bytes: number, read: Read) => ({ bytes, read });

/** Types that a history may have, with the bytes of one value. 64-bit integers are rounded to the nearest 64-bit float. */
const READERS = {
  FP64: reader(8, (view, at) => view.getFloat64(at, true)),
  FP32: reader(4, (view, at) => view.getFloat32(at, true)),
  INT64: reader(8, (view, at) => Number(view.getBigInt64(at, true))),
  INT32: reader(4, (view, at) => view.getInt32(at, true)),
  INT16: reader(2, (view, at) => view.getInt16(at, true)),
  INT8: reader(1, (view, at) => view.getInt8(at)),
  UINT64: reader(8, (view, at) => Number(view.getBigUint64(at, true))),
  UINT32: reader(4, (view, at) => view.getUint32(at, true)),
  UINT16: reader(2, (view, at) => view.getUint16(at, true)),
  UINT8: reader(1, (view, at) => view.getUint8(at)),
};

export type Datatype = keyof typeof READERS;
export const DATATYPES = Object.keys(READERS) as [Datatype, ...Datatype[]];

/** The values of one tensor; `bytes` must hold a whole number of them. */
export function decodeTensor(datatype: Datatype, bytes: Uint8Array): Float64Array {
  const { bytes: width, read } = READERS[datatype];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out = new Float64Array(bytes.byteLength / width);
  for (let i = 0; i < out.length; i++) out[i] = read(view, i * width);
  return out;
}

/** FP64 bytes of `values`; what is missing is NaN. */
export function encodeTensor(values: ArrayLike<number>): Buffer {
  const out = Buffer.alloc(values.length * 8);
  for (let i = 0; i < values.length; i++) out.writeDoubleLE(values[i]!, i * 8);
  return out;
}

const binaryInputs = z.object({
  inputs: z.array(
    z.looseObject({
      datatype: z.enum(DATATYPES),
      data: z.unknown().optional(),
      parameters: z.looseObject({ binary_data_size: z.unknown().optional() }).optional(),
    }),
  ),
});

interface Context {
  addIssue(issue: { code: 'custom'; message: string; path?: (string | number)[] }): void;
}

/**
 * The request with the bytes behind its JSON as the `data` of the inputs that announce a `binary_data_size`. What is wrong
 * with them is reported at its input; a request without such inputs stays as it is.
 */
export function withBinaryInputs(request: unknown, context: Context): unknown {
  const tail = binaryTail(request);
  const parsed = binaryInputs.safeParse(request);
  // What else is wrong with the request its own schema says.
  if (!parsed.success) return request;
  const { inputs } = parsed.data;
  const refuse = (message: string, ...path: (string | number)[]) => {
    context.addIssue({ code: 'custom', message, path });
    return z.NEVER;
  };
  let at = 0;
  for (const [i, input] of inputs.entries()) {
    const size = input.parameters?.binary_data_size;
    if (size === undefined) continue;
    const place = ['inputs', i, 'parameters', 'binary_data_size'];
    if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
      return refuse('expected a number of bytes', ...place);
    }
    if (input.data !== undefined) return refuse('a tensor has either data or binary_data_size', ...place);
    const left = (tail?.byteLength ?? 0) - at;
    if (size > left) {
      return refuse(
        `${size} bytes are announced, and ${left} are left behind the JSON (Inference-Header-Content-Length says where it ends)`,
        ...place,
      );
    }
    const { bytes } = READERS[input.datatype];
    if (size % bytes !== 0) return refuse(`${size} bytes are no whole number of ${input.datatype} values`, ...place);
    input.data = decodeTensor(input.datatype, tail!.subarray(at, at + size));
    at += size;
  }
  if (tail && at < tail.byteLength) {
    return refuse(`${tail.byteLength - at} bytes behind the JSON belong to no input (binary_data_size)`, 'inputs');
  }
  return { ...(request as object), inputs };
}
