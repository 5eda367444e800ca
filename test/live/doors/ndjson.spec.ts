import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { call, startApp, type TestApp } from '../../http/app.js';
import { until } from '../../service/support/processes.js';

let app: TestApp;
beforeAll(async () => {
  app = await startApp({ ADDER_MAX_SERIES: '20' });
});
afterAll(async () => {
  expect(await app.stop()).toBe(0);
});

const T = Date.UTC(2024, 0, 1);
const line = (series: string, i: number, value: unknown = i) =>
  `${JSON.stringify({ series, timestamp: T + i * 1000, value })}\n`;
const values = async (series: string) =>
  (await call<{ values: unknown[] }>(app, 'GET', `/v1/series/${series}/points?limit=100000`)).body.values;

/** An upload that stays open. */
function open(query = '', headers: Record<string, string> = {}) {
  const upload = request(`${app.address}/v1/live/points${query}`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson', accept: 'application/x-ndjson', ...headers },
  });
  upload.on('error', () => {});
  const told: Record<string, unknown>[] = [];
  const answered = once(upload, 'response').then(([response]: IncomingMessage[]) => {
    let rest = '';
    response!.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop()!;
      for (const one of lines) told.push(JSON.parse(one));
    });
    return response!;
  });
  return { upload, told, answered };
}

describe('a stream of lines', () => {
  it('is committed while it is still open, and told so', async () => {
    const { upload, told, answered } = open('?stream=gw');
    for (let i = 0; i < 5; i++) {
      upload.write(line('open', i));
      await until(() => told.some(({ committed }) => committed === i + 1));
      expect(await values('open')).toHaveLength(i + 1);
    }
    upload.end();
    await once(await answered, 'end');
    expect(told.at(-1)).toEqual({ done: { lines: 5, points: 5, inserted: 5, updated: 0, unchanged: 0 } });
    expect((await call(app, 'GET', '/v1/live/streams/gw')).body).toEqual({ stream: 'gw', sequence: 5 });
    expect((await call(app, 'GET', '/v1/live/streams/unknown')).body).toEqual({ stream: 'unknown', sequence: 0 });
  });

  it('is answered at its end where the client does not ask for more', async () => {
    const body = Array.from({ length: 3000 }, (_, i) => line('many', i)).join('');
    const columns = JSON.stringify({ series: 'columns', timestamps: [T, '2024-01-01T00:00:01Z'], values: [1, null] });
    const frame = JSON.stringify({ unique_id: 'frame', ds: '2024-01-01', y: 7 });
    const answer = await call(app, 'POST', '/v1/live/points', `${body}\n${columns}\n${frame}`, {
      'content-type': 'application/x-ndjson',
    });
    expect([answer.status, answer.body]).toEqual([
      200,
      { lines: 3003, points: 3003, inserted: 3003, updated: 0, unchanged: 0 },
    ]);
    expect(await values('many')).toEqual(Array.from({ length: 3000 }, (_, i) => i));
    expect([await values('columns'), await values('frame')]).toEqual([[1, null], [7]]);
  });

  it('goes on where it broke off, whatever was sent twice', async () => {
    const lines = Array.from({ length: 400 }, (_, i) => line('resumed', i));
    const first = open('?stream=resume');
    first.upload.write(lines.slice(0, 150).join(''));
    await until(() => first.told.length > 0);
    first.upload.write(lines[150]!.slice(0, 20));
    first.upload.destroy();
    const { body } = await call<{ sequence: number }>(app, 'GET', '/v1/live/streams/resume');
    expect(body.sequence).toBe(150);
    // A client that is not sure sends more again than it must.
    const again = await call(app, 'POST', `/v1/live/points?stream=resume&after=100`, lines.slice(100).join(''), {
      'content-type': 'application/x-ndjson',
    });
    expect(again.status).toBe(200);
    expect(await values('resumed')).toEqual(Array.from({ length: 400 }, (_, i) => i));
    expect((await call(app, 'GET', '/v1/live/streams/resume')).body).toEqual({ stream: 'resume', sequence: 400 });
  });

  it('keeps the good lines and names the others', async () => {
    const bad = [
      line('good', 1),
      'no json\n',
      '[]\n',
      line('good', 2, 'text'),
      `{"series":"good","value":1}\n`,
      `{"series":"good","timestamp":1e300,"value":1}\n`,
      `{"series":"a\\u0000","timestamp":1,"value":1}\n`,
      `{"series":"good","timestamp":1,"value":1e999}\n`,
      line('good', 3),
    ].join('');
    const answer = await call<{ errors: { field: string }[] }>(app, 'POST', '/v1/live/points', bad, {
      'content-type': 'application/x-ndjson',
    });
    expect(answer).toMatchObject({
      status: 422,
      body: { code: 'LINES_REFUSED', detail: expect.stringMatching(/^7 of 9 lines/) },
    });
    expect(answer.body.errors.map(({ field }) => field)).toEqual([2, 3, 4, 5, 6, 7, 8].map((n) => `line[${n}]`));
    expect(await values('good')).toEqual([1, 3]);
  });

  it('says which lines found no place under the quota', async () => {
    const { upload, told, answered } = open();
    upload.end(Array.from({ length: 30 }, (_, i) => line(`quota${i}`, i)).join('') + line('good', 4));
    await once(await answered, 'end');
    expect(told.filter(({ code }) => code === 'TOO_MANY_SERIES').length).toBeGreaterThan(10);
    expect(told.at(-1)).toMatchObject({ error: { code: 'LINES_REFUSED', status: 422 } });
    expect(await values('good')).toEqual([1, 3, 4]);
  });
});

describe('what is refused', () => {
  it('another type, another compression, a line without end', async () => {
    expect((await call(app, 'POST', '/v1/live/points', '{}')).status).toBe(415);
    const ndjson = { 'content-type': 'application/x-ndjson' };
    expect((await call(app, 'POST', '/v1/live/points', 'x', { ...ndjson, 'content-encoding': 'zstd' })).status).toBe(
      415,
    );
    const broken = await call(app, 'POST', '/v1/live/points', 'not gzip', { ...ndjson, 'content-encoding': 'gzip' });
    expect(broken).toMatchObject({ status: 400, body: { code: 'BAD_COMPRESSION' } });
    const long = open();
    long.upload.write(line('good', 5));
    for (let i = 0; i < 20; i++) long.upload.write('x'.repeat(100_000));
    await long.answered;
    await until(() => long.told.some(({ error }) => error));
    expect(long.told.at(-1)).toMatchObject({ error: { code: 'LINE_TOO_LONG' } });
    expect(await values('good')).toContain(5);
    long.upload.destroy();
  });

  it('a bomb takes no memory: it is one long line', async () => {
    const before = await memory();
    const bomb = gzipSync(Buffer.alloc(512 * 2 ** 20, 0x20));
    const answer = await call(app, 'POST', '/v1/live/points', bomb, {
      'content-type': 'application/x-ndjson',
      'content-encoding': 'gzip',
    });
    expect(answer).toMatchObject({ status: 422, body: { code: 'LINE_TOO_LONG' } });
    expect((await memory()) - before).toBeLessThan(150e6);
  });
});

async function memory(): Promise<number> {
  const { body } = await call<string>(app, 'GET', '/metrics');
  return Number(/^adder_process_resident_memory_bytes (\S+)/m.exec(body)![1]);
}
