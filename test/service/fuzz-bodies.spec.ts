/** Bodies that lie about what they are, at every route that takes one: a helpful 4xx, and no memory beyond what a body may take. */
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { brotliCompressSync, constants, deflateSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startApp, type TestApp } from '../http/app.js';
import { zstdCompressSync } from '../http/compress.js';
import { sendHostile } from './fuzz/answers.js';
import { EXAMPLES, PATHS } from './fuzz/examples.js';
import { nameOf, type Operation, readApi } from './fuzz/operations.js';
import { processesNaming } from './support/processes.js';

const LIMIT_MB = 8;
/** What a bomb unpacks to. */
const BOMB = 256 * 2 ** 20;
/** More than the process takes with two full threads for bodies, far less than one bomb. */
const MAX_GROWTH_MB = 400;

let app: TestApp;
let operations: Operation[];

beforeAll(async () => {
  app = await startApp({
    ADDER_MAX_BODY_MB: String(LIMIT_MB),
    ADDER_RATE_PER_MINUTE: '1000000',
    ADDER_RATE_BURST: '100000',
  });
  const api = await readApi(app);
  operations = api.operations.filter(({ body, path }) => body !== undefined && path !== '/v1/keys');
  expect(operations.length).toBeGreaterThan(12);
});
afterAll(async () => {
  expect(await app.stop()).toBe(0);
});

const pathOf = ({ path }: Operation) =>
  path.replace(/\{(\w+)\}/g, (_all, name: string) => PATHS[path]?.[name] ?? 'unknown');
const exampleOf = (operation: Operation) => JSON.stringify(EXAMPLES[nameOf(operation)] ?? { none: true });

const json = { 'content-type': 'application/json' };
const encoded = (encoding: string) => ({ ...json, 'content-encoding': encoding });
const PACK = {
  gzip: (bytes: Buffer) => gzipSync(bytes, { level: 1 }),
  deflate: (bytes: Buffer) => deflateSync(bytes, { level: 1 }),
  br: (bytes: Buffer) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
  zstd: zstdCompressSync,
};
const half = (bytes: Buffer) => bytes.subarray(0, bytes.length >> 1);
const flipped = (bytes: Buffer) => {
  const out = Buffer.from(bytes);
  for (let i = 12; i < out.length; i += 7) out[i]! ^= 0x55;
  return out;
};

/** Status that one body gets everywhere. */
async function everywhere(
  make: (operation: Operation) => [Uint8Array | string, Record<string, string>],
): Promise<Set<number>> {
  const found = new Set<number>();
  for (const operation of operations) {
    const [body, headers] = make(operation);
    found.add(await sendHostile(app.address, { method: operation.method, path: pathOf(operation), body, headers }));
  }
  return found;
}

describe('text', () => {
  const cases: [string, (text: string) => Uint8Array | string, number[]][] = [
    ['that is cut off', (text) => text.slice(0, -3), [400]],
    ['with a byte order mark of UTF-8', (text) => `\ufeff${text}`, [400]],
    ['in UTF-16', (text) => Buffer.from(`\ufeff${text}`, 'utf16le'), [400]],
    ['in Latin 1', () => Buffer.from('{"id": "\u00e9"}', 'latin1'), [400]],
    ['that is no JSON', () => 'hello', [400]],
    ['with something behind it', (text) => `${text} ${text}`, [400]],
    ['that is a form', () => 'series=1&horizon=2', [400]],
    ['of nothing but white space', () => ' \n\t ', [400]],
    ['deep as the sea', () => '['.repeat(500_000), [400]],
    ['deep, and closed again', () => `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`, [400]],
    ['of more brackets than fit in memory', () => `[${'[],'.repeat(2_500_000)}[]]`, [400]],
    ['of one endless number', () => `{"horizon": ${'9'.repeat(4_000_000)}}`, [422]],
    ['of one endless name', () => `{"${'a'.repeat(4_000_000)}": 1}`, [422]],
    ['of many names', () => `{${Array.from({ length: 400_000 }, (_, i) => `"k${i}":${i}`).join(',')}}`, [400]],
    ['of many small objects', () => `[${'{"a":1},'.repeat(600_000)}1]`, [400]],
    ['of unclosed text', () => `{"a": "${'x'.repeat(1_000_000)}`, [400]],
    ['of nothing', () => '', [400, 422]],
  ];
  it.each(cases)(
    '%s',
    async (_what, make, statuses) => {
      const found = await everywhere((operation) => [make(exampleOf(operation)), json]);
      // An empty body and one with unknown fields only are fine where no field is needed.
      expect([...found].filter((status) => status >= 400 && !statuses.includes(status))).toEqual([]);
      expect([...found].some((status) => statuses.includes(status))).toBe(true);
    },
    120_000,
  );
});

describe.each(Object.keys(PACK) as (keyof typeof PACK)[])('%s', (encoding) => {
  const pack = PACK[encoding];
  it.each([
    ['cut off', (text: string) => half(Buffer.from(pack(Buffer.from(text))))],
    ['damaged', (text: string) => flipped(Buffer.from(pack(Buffer.from(text.repeat(20)))))],
    ['that it is not', (text: string) => Buffer.from(text)],
    ['of nothing', () => Buffer.alloc(0)],
    ['packed twice', (text: string) => Buffer.from(pack(pack(Buffer.from(text))))],
  ])('%s', async (_what, make) => {
    const found = await everywhere((operation) => [make(exampleOf(operation)), encoded(encoding)]);
    for (const status of found) expect([400, 413, 415, 422]).toContain(status);
  });
});

it.each(['gzip, gzip', 'zstd, gzip', 'lzma', 'compress', 'x'.repeat(50)])(
  'the encoding %s is refused by name',
  async (encoding) => {
    expect([...(await everywhere((operation) => [exampleOf(operation), encoded(encoding)]))]).toEqual([415]);
  },
);

it.each([
  'text/plain',
  'text/xml',
  'multipart/form-data; boundary=x',
  'application/octet-stream',
  'image/png',
  'application/cbor',
  ';;;',
  'a/b/c',
])('the type %s is refused by name', async (type) => {
  const found = await everywhere((operation) => [exampleOf(operation), { 'content-type': type }]);
  expect([...found]).toEqual([415]);
});

/** Most memory that a process has had at once, MiB. */
const peak = (pid: number) =>
  Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;

/** Processes of the service that this test started, by their part. */
function parts(): Record<string, number> {
  const mine = new Set([app.process.child.pid!]);
  const parent = (pid: number) => Number(/PPid:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  const named = ['src/main.ts', 'src/worker.ts'].map((file) => {
    const pid = processesNaming(file).find((candidate) => mine.has(parent(candidate)));
    return [file, pid] as const;
  });
  return Object.fromEntries(named.filter((entry): entry is [string, number] => entry[1] !== undefined));
}

(process.platform === 'linux' ? describe : describe.skip)('memory is bounded', () => {
  const zeros = (bytes: number) => Buffer.alloc(bytes, 0x20);
  const bomb: Record<string, Buffer> = {};
  beforeAll(() => {
    const plain = zeros(BOMB);
    for (const [encoding, pack] of Object.entries(PACK)) bomb[encoding] = Buffer.from(pack(plain));
  }, 120_000);

  it.each(Object.keys(PACK))(
    'against bombs of %s',
    async (encoding) => {
      const before = parts();
      expect(Object.keys(before)).toHaveLength(2);
      const start = Object.values(before).map(peak);
      const found = await everywhere(() => [bomb[encoding]!, encoded(encoding)]);
      expect([...found]).toEqual([413]);
      // Many at once, too.
      const path = pathOf(operations[0]!);
      const many = await Promise.all(
        Array.from({ length: 24 }, () =>
          sendHostile(app.address, { method: 'POST', path, body: bomb[encoding]!, headers: encoded(encoding) }),
        ),
      );
      expect(new Set(many)).toEqual(new Set([413]));
      expect(parts()).toEqual(before);
      for (const [i, pid] of Object.values(before).entries()) expect(peak(pid) - start[i]!).toBeLessThan(MAX_GROWTH_MB);
    },
    120_000,
  );

  it('against bodies that are larger than allowed, or never end', async () => {
    const before = parts();
    const start = Object.values(before).map(peak);
    for (const operation of operations) {
      const status = await sendHostile(app.address, {
        method: operation.method,
        path: pathOf(operation),
        body: zeros((LIMIT_MB + 4) * 2 ** 20),
        headers: json,
      });
      expect(status).toBe(413);
    }
    const { answer } = await endless(pathOf(operations[0]!));
    expect(answer).toMatch(/^HTTP\/1.1 413 |^$/);
    expect(parts()).toEqual(before);
    for (const [i, pid] of Object.values(before).entries()) expect(peak(pid) - start[i]!).toBeLessThan(MAX_GROWTH_MB);
  }, 120_000);
});

/** Sends chunk after chunk until the server answers or hangs up. */
async function endless(path: string): Promise<{ answer: string; sent: number }> {
  const { hostname, port } = new URL(app.address);
  const socket = connect(Number(port), hostname);
  let answer = '';
  let over = false;
  let sent = 0;
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    answer += chunk;
    over = true;
  });
  socket.on('error', () => {
    over = true;
  });
  socket.on('close', () => {
    over = true;
  });
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n`,
  );
  const chunk = Buffer.alloc(2 ** 20, 0x20);
  while (!over && sent < 1024) {
    socket.write('100000\r\n');
    socket.write(chunk);
    if (!socket.write('\r\n')) {
      await new Promise<void>((done) => {
        socket.once('drain', done).once('close', done);
      });
    }
    sent++;
  }
  // It gave up long before a gigabyte.
  expect(sent).toBeLessThan(200);
  socket.destroy();
  return { answer, sent };
}

it.each([
  ['no HTTP at all', 'HELO there\r\n\r\n'],
  ['a length that is none', 'POST /v1/forecasts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n'],
  [
    'two lengths',
    'POST /v1/forecasts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd',
  ],
  [
    'a length and chunks',
    'POST /v1/forecasts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  [
    'a chunk of no number',
    'POST /v1/forecasts HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
  ],
  ['headers without end', `GET /v1/series HTTP/1.1\r\nHost: 127.0.0.1\r\n${'x-a: b\r\n'.repeat(20_000)}\r\n`],
  ['a header of a megabyte', `GET /v1/series HTTP/1.1\r\nHost: 127.0.0.1\r\nx: ${'y'.repeat(2 ** 20)}\r\n\r\n`],
  ['an address that is none', 'GET /%ff%zz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n'],
  [
    'another server in the address',
    'GET http://evil.example/v1/series HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n',
  ],
  ['a method that is none', 'BREW /v1/series HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'],
])('%s is answered 4xx', async (_what, text) => {
  const { hostname, port } = new URL(app.address);
  const answer = await new Promise<string>((done) => {
    const socket = connect(Number(port), hostname, () => socket.write(text));
    let got = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      got += chunk;
      socket.end();
    });
    socket.on('error', () => done(got)).on('close', () => done(got));
  });
  // Who sends more headers than fit may find the line closed before the answer.
  if (answer !== '') {
    expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /);
    expect(answer).toMatch(/content-type: application\/problem\+json/);
    expect(answer).toMatch(/x-request-id: \S+/);
    expect(answer).toMatch(/"detail":"/);
  }
  expect((await fetch(`${app.address}/health/live`)).status).toBe(200);
});
