import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import protobuf from 'protobufjs';
import { compressSync, uncompressSync } from 'snappy';
import { type Answer, call, startApp, type TestApp } from '../../http/app.js';
import { HEADERS_1, HEADERS_2, labels, one, packed, two } from './prometheus.js';

const T = 1_700_000_000_000;

/** The specification's bit pattern of a series that has ended. */
const stale = () => {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, 0x7ff0000000000002n);
  return Buffer.from(view.buffer);
};

let app: TestApp;
beforeAll(async () => {
  app = await startApp({ ADDER_MAX_BODY_MB: '4', ADDER_MAX_POINTS_PER_REQUEST: '20000' });
});
afterAll(async () => {
  expect(await app.stop()).toBe(0);
});

const send = (body: Uint8Array, headers: Record<string, string> = HEADERS_1) =>
  call<unknown>(app, 'POST', '/api/v1/write', body, headers);
const points = async (series: string) =>
  (
    (await call(app, 'GET', `/v1/series/${encodeURIComponent(series)}/points`)) as unknown as Answer<{
      timestamps: string[];
      values: (number | null)[];
    }>
  ).body.values;
const written = ({ headers }: Answer<unknown>) =>
  ['samples', 'histograms', 'exemplars'].map((what) => headers.get(`x-prometheus-remote-write-${what}-written`));

describe('remote write 1.0', () => {
  it('commits a request of Prometheus itself, sample for sample', async () => {
    const body = readFileSync(join(process.cwd(), 'test/live/doors/fixtures/prometheus-2.42.snappy'));
    expect((await send(body)).status).toBe(204);
    interface Sent {
      timeseries: { labels: { name: string; value: string }[]; samples: { value: number; timestamp: string }[] }[];
    }
    const decoded = one.decode(uncompressSync(body) as Buffer);
    const { timeseries } = one.toObject(decoded, { longs: String, defaults: true }) as Sent;
    expect(timeseries.length).toBeGreaterThan(50);
    for (const { labels: pairs, samples } of timeseries) {
      const metric = pairs.find(({ name }) => name === '__name__')!.value;
      const inside = pairs.filter(({ name }) => name !== '__name__').map(({ name, value }) => `${name}="${value}"`);
      const stored = await points(`${metric}{${inside.sort().join(',')}}`);
      expect(stored).toEqual(expect.arrayContaining(samples.map(({ value }) => (Number.isNaN(value) ? null : value))));
    }
  });

  it('commits samples, whatever the order of labels, and takes repetitions', async () => {
    const request = packed(one, {
      timeseries: [
        {
          labels: labels({ __name__: 'up', instance: 'a:9090', job: 'node' }),
          samples: [
            { value: 1, timestamp: T },
            { value: 0, timestamp: T + 15_000 },
          ],
        },
        {
          labels: labels({ job: 'node', instance: 'a:9090', __name__: 'up' }),
          samples: [{ value: 5, timestamp: T + 30_000 }],
        },
      ],
      metadata: [{ type: 2, metricFamilyName: 'up', help: 'whether it is up' }],
    });
    for (let i = 0; i < 2; i++) {
      const answer = await send(request);
      expect([answer.status, answer.body]).toEqual([204, '']);
    }
    expect(await points('up{instance="a:9090",job="node"}')).toEqual([1, 0, 5]);
  });

  it('keeps stale markers and NaN as missing values, also out of order', async () => {
    const bytes = Buffer.from(
      one
        .encode(
          one.fromObject({
            timeseries: [
              {
                labels: labels({ __name__: 'ends' }),
                samples: [
                  { value: 2, timestamp: T + 2000 },
                  { value: 12345.678, timestamp: T + 1000 },
                  { value: Number.NaN, timestamp: T },
                ],
              },
            ],
          }),
        )
        .finish(),
    );
    const mark = Buffer.alloc(8);
    mark.writeDoubleLE(12345.678);
    stale().reverse().copy(bytes, bytes.indexOf(mark));
    expect((await send(compressSync(bytes))).status).toBe(204);
    expect(await points('ends')).toEqual([null, null, 2]);
  });

  it('leaves out what can never be stored, says so by a status that is not tried again, and commits the rest', async () => {
    const answer = await send(
      packed(one, {
        timeseries: [
          { labels: labels({ __name__: 'ok' }), samples: [{ value: 1, timestamp: T }] },
          { labels: labels({ __name__: 'infinite' }), samples: [{ value: Number.POSITIVE_INFINITY, timestamp: T }] },
          { labels: labels({ __name__: 'far' }), samples: [{ value: 1, timestamp: '9223372036854775807' }] },
          { labels: [...labels({ a: '1' }), ...labels({ a: '2' })], samples: [{ value: 1, timestamp: T }] },
          { labels: labels({ '': 'x' }), samples: [{ value: 1, timestamp: T }] },
          { labels: [], samples: [{ value: 1, timestamp: T }] },
        ],
      }),
    );
    expect(answer.status).toBe(400);
    expect(answer.body).toMatch(/^5 samples were refused and the others written;.*named twice.*infinite/);
    expect(await points('ok')).toEqual([1]);
  });
});

describe('remote write 2.0', () => {
  const symbols = ['', '__name__', 'rpc_seconds', 'job', 'api', 'seconds', 'Latency', 'free'];
  const request = {
    symbols,
    timeseries: [
      {
        labelsRefs: [1, 2, 3, 4],
        samples: [
          { value: 0.5, timestamp: T, startTimestamp: T - 1000 },
          { value: 0.7, timestamp: T + 1000 },
        ],
        metadata: { type: 2, helpRef: 6, unitRef: 5 },
      },
      { labelsRefs: [1, 7], samples: [{ value: 3, timestamp: T }] },
    ],
  };

  it('commits and counts', async () => {
    const answer = await send(packed(two, request), HEADERS_2);
    expect([answer.status, answer.body, written(answer)]).toEqual([204, '', ['3', '0', '0']]);
    expect(await points('rpc_seconds{job="api"}')).toEqual([0.5, 0.7]);
    const { body } = await call<{ metadata: unknown }>(
      app,
      'GET',
      `/v1/series/${encodeURIComponent('rpc_seconds{job="api"}')}`,
    );
    expect(body.metadata).toEqual({
      metric: 'rpc_seconds',
      type: 'gauge',
      help: 'Latency',
      unit: 'seconds',
      'label.job': 'api',
    });
  });

  it('says what it does not keep: 400 with exact counts', async () => {
    const timeseries = [
      { ...request.timeseries[1], exemplars: [{ labelsRefs: [3, 4], value: 1, timestamp: T }] },
      { labelsRefs: [1, 2], histograms: [{ countInt: 3, sum: 1.5, schema: 1, timestamp: T }] },
    ];
    const answer = await send(packed(two, { symbols, timeseries }), HEADERS_2);
    expect([answer.status, written(answer)]).toEqual([400, ['1', '0', '0']]);
    expect(answer.body).toBe('1 native histograms are not supported; 1 exemplars are not supported\n');
  });

  it('reads labels that are not packed, and symbols behind the series', async () => {
    const series = new protobuf.Writer();
    for (const ref of [1, 2]) series.uint32((1 << 3) | 0).uint32(ref);
    series
      .uint32((2 << 3) | 2)
      .fork()
      .uint32((1 << 3) | 1)
      .double(9)
      .uint32((2 << 3) | 0)
      .int64(T)
      .ldelim();
    const all = new protobuf.Writer();
    all.uint32((5 << 3) | 2).bytes(series.finish());
    for (const symbol of ['', '__name__', 'behind']) all.uint32((4 << 3) | 2).string(symbol);
    const answer = await send(compressSync(Buffer.from(all.finish())), HEADERS_2);
    expect([answer.status, written(answer)]).toEqual([204, ['1', '0', '0']]);
    expect(await points('behind')).toEqual([9]);
  });

  it.each([
    [
      'a symbol that does not exist',
      { symbols: [''], timeseries: [{ labelsRefs: [1, 9], samples: [{ value: 1, timestamp: T }] }] },
    ],
    [
      'an odd number of references',
      { symbols: ['', 'a'], timeseries: [{ labelsRefs: [1], samples: [{ value: 1, timestamp: T }] }] },
    ],
    ['a first symbol that is not empty', { symbols: ['a', 'b'], timeseries: [] }],
  ])('refuses %s', async (_, message) => {
    expect((await send(packed(two, message), HEADERS_2)).status).toBe(400);
  });
});

describe('what is no remote write', () => {
  const good = packed(one, {
    timeseries: [{ labels: labels({ __name__: 'x' }), samples: [{ value: 1, timestamp: T }] }],
  });

  it.each([
    ['another message', { 'content-type': 'application/x-protobuf;proto=io.prometheus.write.v3.Request' }],
    ['another type', { 'content-type': 'application/json' }],
    ['another compression', { 'content-encoding': 'zstd' }],
  ])('%s is 415', async (_, headers) => {
    expect((await send(good, { ...HEADERS_1, ...headers })).status).toBe(415);
  });

  it('broken snappy and broken protobuf are 400, a bomb is 413, and none of them hangs', async () => {
    expect((await send(Buffer.from('not snappy at all'))).status).toBe(400);
    expect((await send(Buffer.from([100, 0xfc, 0xfa, 0xff, 0xff, 0xff, 1, 2, 3]))).status).toBe(400);
    expect((await send(Buffer.alloc(0))).status).toBe(400);
    expect((await send(compressSync(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0x7f, 1])))).status).toBe(400);
    expect((await send(compressSync(Buffer.from('random bytes that are no message')))).status).toBe(400);
    expect((await send(compressSync(Buffer.alloc(64 * 2 ** 20)))).status).toBe(413);
    const many = Array.from({ length: 20_001 }, (_, i) => ({ value: i, timestamp: T + i }));
    expect(
      (await send(packed(one, { timeseries: [{ labels: labels({ __name__: 'many' }), samples: many }] }))).status,
    ).toBe(413);
    expect((await send(good)).status).toBe(204);
  });

  it('a message of one version under the name of the other brings nothing, and says so', async () => {
    const answer = await send(good, HEADERS_2);
    expect(answer.status).toBe(400);
  });
});
