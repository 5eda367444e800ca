/** The binary tensor extension of the Open Inference Protocol, on the wire. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type Datatype, decodeTensor, encodeTensor } from '../../src/forecast/kserve/tensors.js';
import { type Answer, call, startApp, type TestApp, weekly } from './app.js';
import { gzipSync, zstdCompressSync } from './compress.js';

let app: TestApp;
beforeAll(async () => {
  app = await startApp();
});
afterAll(async () => {
  expect(await app.stop()).toBe(0);
});

const PATH = '/v2/models/theta/infer';
const values = [...weekly(40), ...weekly(40, 10)];
const parameters = { horizon: 5, season: 7, quantiles: [0.1, 0.5] };

/** A request with `tail` behind its JSON. */
const message = (json: object, tail: Uint8Array) => {
  const head = Buffer.from(JSON.stringify(json));
  return { bytes: Buffer.concat([head, tail]), headers: { 'inference-header-content-length': String(head.length) } };
};
const request = (tail: Uint8Array, datatype: string, extra: object = {}, size = tail.byteLength) => ({
  inputs: [{ name: 'history', shape: [2, 40], datatype, parameters: { binary_data_size: size } }],
  parameters: { ...parameters, ...extra },
});
const infer = <T = { error: string }>(json: object, tail: Uint8Array, headers: Record<string, string> = {}) => {
  const { bytes, headers: own } = message(json, tail);
  return call<T>(app, 'POST', PATH, bytes, {
    ...own,
    'content-type': 'application/octet-stream',
    ...headers,
  }) as Promise<Answer<T>>;
};
const float64 = encodeTensor(values);

interface Outputs {
  outputs: { name: string; shape: number[]; data?: number[]; parameters?: { binary_data_size: number } }[];
}
/** What the same request answers in JSON alone. */
const plain = async () =>
  (
    await call<Outputs>(app, 'POST', PATH, {
      inputs: [{ name: 'history', shape: [2, 40], datatype: 'FP64', data: values }],
      parameters,
    })
  ).body;

it('is announced', async () => {
  expect((await call(app, 'GET', '/v2')).body).toMatchObject({ extensions: ['binary_tensor_data'] });
});

it('takes tensors behind the JSON and gives the answer of the JSON form', async () => {
  const { status, body } = await infer<Outputs>(request(float64, 'FP64'), float64);
  expect(status).toBe(200);
  expect(body).toEqual(await plain());
});

it.each(['gzip', 'zstd'] as const)(
  'takes them compressed with %s, the header counting unpacked bytes',
  async (encoding) => {
    const { bytes, headers } = message(request(float64, 'FP64'), float64);
    const packed = encoding === 'gzip' ? gzipSync(bytes) : zstdCompressSync(bytes);
    const answer = await call<Outputs>(app, 'POST', PATH, packed, { ...headers, 'content-encoding': encoding });
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual(await plain());
  },
);

it('takes them without a content type, as tritonclient sends them', async () => {
  const { bytes, headers } = message(request(float64, 'FP64'), float64);
  const response = await fetch(app.address + PATH, { method: 'POST', headers, body: new Uint8Array(bytes) });
  expect(response.status).toBe(200);
  expect(await response.json()).toEqual(await plain());
});

it('reads NaN as a missing value, and refuses infinity at its place', async () => {
  const holes = values.map((v, i) => (i === 3 ? null : v));
  const json = await call<Outputs>(app, 'POST', PATH, {
    inputs: [{ name: 'history', shape: [2, 40], datatype: 'FP64', data: holes }],
    parameters,
  });
  const missing = encodeTensor(values.map((v, i) => (i === 3 ? Number.NaN : v)));
  expect((await infer<Outputs>(request(missing, 'FP64'), missing)).body).toEqual(json.body);
  const infinite = encodeTensor(values.map((v, i) => (i === 3 ? Number.POSITIVE_INFINITY : v)));
  const refused = await infer(request(infinite, 'FP64'), infinite);
  expect(refused.status).toBe(422);
  expect(refused.body.error).toContain('inputs[0].data[3]');
});

/** JSON and tensors of a binary answer. */
async function binary(json: object) {
  const { bytes, headers } = message(json, float64);
  const response = await fetch(app.address + PATH, { method: 'POST', headers, body: new Uint8Array(bytes) });
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('application/octet-stream');
  const body = Buffer.from(await response.arrayBuffer());
  expect(response.headers.get('content-length')).toBe(String(body.length));
  const end = Number(response.headers.get('inference-header-content-length'));
  return { json: JSON.parse(body.subarray(0, end).toString()) as Outputs, tail: body.subarray(end) };
}

describe('gives tensors as bytes', () => {
  it('of all outputs, in their order, with binary_data_output', async () => {
    const { json, tail } = await binary(request(float64, 'FP64', { binary_data_output: true }));
    const expected = await plain();
    expect(json.outputs.map(({ name, shape }) => [name, shape])).toEqual(
      expected.outputs.map(({ name, shape }) => [name, shape]),
    );
    expect(json.outputs.map(({ data }) => data)).toEqual([undefined, undefined]);
    expect(json.outputs.map(({ parameters }) => parameters?.binary_data_size)).toEqual([160, 16]);
    expect([...decodeTensor('FP64', tail)]).toEqual(expected.outputs.flatMap(({ data }) => data));
  });

  it('of the outputs that ask for it, whatever holds for the rest', async () => {
    const outputs = [{ name: 'quantiles' }, { name: 'levels', parameters: { binary_data: false } }];
    const { json, tail } = await binary({ ...request(float64, 'FP64', { binary_data_output: true }), outputs });
    expect(json.outputs[1]).toEqual({ name: 'levels', datatype: 'FP64', shape: [2], data: [0.1, 0.5] });
    expect(tail).toHaveLength(160);
    const one = [{ name: 'levels', parameters: { binary_data: true } }];
    const only = await binary({ ...request(float64, 'FP64'), outputs: one });
    expect(only.json.outputs.map(({ name }) => name)).toEqual(['levels']);
    expect([...decodeTensor('FP64', only.tail)]).toEqual([0.1, 0.5]);
  });
});

describe('refuses, saying where', () => {
  const cases: [string, object, Uint8Array, Record<string, string>, number, RegExp][] = [
    ['a size beyond the body', request(float64, 'FP64', {}, 648), float64, {}, 422, /binary_data_size: 648 .* 640/],
    ['bytes of no input', request(float64, 'FP64', {}, 632), float64, {}, 422, /inputs: 8 bytes/],
    ['half a value', request(float64, 'FP64', {}, 639), float64, {}, 422, /binary_data_size: 639 .* FP64/],
    ['a size that is negative', request(float64, 'FP64', {}, -8), float64, {}, 422, /binary_data_size/],
    ['too few values for the shape', request(float64.subarray(8), 'FP64'), float64.subarray(8), {}, 400, /80.* 79/],
    ['a type that is none', request(float64, 'BYTES'), float64, {}, 422, /datatype/],
    [
      'a header beyond the body',
      request(float64, 'FP64'),
      float64,
      { 'inference-header-content-length': '9999' },
      400,
      /9999/,
    ],
    [
      'a header that is no number',
      request(float64, 'FP64'),
      float64,
      { 'inference-header-content-length': '-1' },
      400,
      /-1/,
    ],
    [
      'a header inside the JSON',
      request(float64, 'FP64'),
      float64,
      { 'inference-header-content-length': '20' },
      400,
      /JSON/,
    ],
  ];
  it.each(cases)('%s', async (_what, json, tail, headers, status, text) => {
    const { bytes, headers: own } = message(json, tail);
    const answer = await call<{ error: string }>(app, 'POST', PATH, bytes, { ...own, ...headers });
    expect([answer.status, answer.body.error]).toEqual([status, expect.stringMatching(text)]);
  });

  it('data and binary_data_size together, and a tensor with neither', async () => {
    const both = request(float64, 'FP64');
    (both.inputs[0] as { data?: number[] }).data = values;
    expect((await infer(both, float64)).body.error).toMatch(/either data or binary_data_size/);
    const neither = { inputs: [{ name: 'history', shape: [2, 40], datatype: 'FP64' }], parameters };
    const answer = await call<{ error: string }>(app, 'POST', PATH, neither);
    expect([answer.status, answer.body.error]).toEqual([422, expect.stringContaining('inputs[0].data')]);
  });
});

describe('tensors', () => {
  const arrays = {
    FP64: Float64Array,
    FP32: Float32Array,
    INT32: Int32Array,
    INT16: Int16Array,
    INT8: Int8Array,
    UINT32: Uint32Array,
    UINT16: Uint16Array,
    UINT8: Uint8Array,
    INT64: BigInt64Array,
    UINT64: BigUint64Array,
  } satisfies Record<Datatype, unknown>;

  it.each(Object.entries(arrays))('of %s are read at any offset as a typed array has them', (name, Type) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 96 }), fc.nat(7), (bytes, offset) => {
        const whole = bytes.subarray(0, bytes.length - (bytes.length % Type.BYTES_PER_ELEMENT));
        const moved = new Uint8Array(offset + whole.length);
        moved.set(whole, offset);
        const expected = Array.from(new Type(Uint8Array.from(whole).buffer) as ArrayLike<number | bigint>, Number);
        expect([...decodeTensor(name as Datatype, moved.subarray(offset))]).toEqual(expected);
      }),
    );
  });

  it('come back from their bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.double()), (numbers) => {
        expect([...decodeTensor('FP64', encodeTensor(numbers))]).toEqual(numbers);
      }),
    );
  });
});
