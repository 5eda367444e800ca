import { gzipSync } from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type CsvOptions, readCsv, readCsvStream } from './csv.js';

async function* chunks(bytes: Uint8Array, sizes: number[] = [bytes.length || 1]): AsyncGenerator<Uint8Array> {
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length]!;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

const read = (content: string | Uint8Array, options?: CsvOptions, sizes?: number[]) =>
  readCsvStream(chunks(typeof content === 'string' ? Buffer.from(content) : content, sizes), 'in.csv', options);

const rowsOf = async (content: string | Uint8Array, options?: CsvOptions, sizes?: number[]) => {
  const { store } = await read(content, options, sizes);
  return Array.from({ length: store.length }, (_, i) => [
    store.ids[store.series[i]!],
    store.time[i],
    store.value[i],
    store.line[i],
  ]);
};

describe('readCsv', () => {
  it('reads ids, times, values and lines', async () => {
    expect(await rowsOf('unique_id,ds,y\nb,0,1.5\na,1,-2e3\nb,1,+.5\n')).toEqual([
      ['b', 0, 1.5, 2],
      ['a', 1, -2000, 3],
      ['b', 1, 0.5, 4],
    ]);
  });

  it.each([
    ['a byte-order mark', '\ufeffds,y\n0,1\n1,2\n'],
    ['CRLF', 'ds,y\r\n0,1\r\n1,2\r\n'],
    ['CR', 'ds,y\r0,1\r1,2\r'],
    ['no newline at the end', 'ds,y\n0,1\n1,2'],
    ['semicolons', 'ds;y\n0;1\n1;2\n'],
    ['tabs', 'ds\ty\n0\t1\n1\t2\n'],
    ['quotes and blanks', '"ds", y\n"0", "1"\n 1 ,2\n'],
    ['blank lines', '\nds,y\n\n0,1\n\n1,2\n\n'],
    ['other columns and order', 'x,Y,DS\n9,1,0\n9,2,1\n'],
  ])('understands %s', async (_, content) => {
    const rows = await rowsOf(content);
    expect(rows.map((row) => row.slice(1, 3))).toEqual([
      [0, 1],
      [1, 2],
    ]);
  });

  it('does not depend on where the bytes are cut', async () => {
    const content = Buffer.from('\ufeffunique_id;ds;y\r\n"Kö;ln 🜁";0;1\r\nx;1;\r\n"Kö;ln 🜁";2;-3.5\r\n');
    const whole = await rowsOf(content);
    expect(whole[0]).toEqual(['Kö;ln 🜁', 0, 1, 2]);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 20 }), async (sizes) => {
        expect(await rowsOf(content, {}, sizes)).toEqual(whole);
      }),
      { numRuns: 40 },
    );
  });

  it.each(['', 'NA', 'NaN', 'null', 'None', 'n/a'])('takes %j in y as missing', async (text) => {
    expect(await rowsOf(`ds,y\n0,${text}\n`)).toEqual([['', 0, Number.NaN, 2]]);
  });

  it('reads columns of other names when told so', async () => {
    const columns = { id: 'sensor', time: 'Time', target: 'v' };
    expect(await rowsOf('time,V,sensor\n0,1,a\n', { columns })).toEqual([['a', 0, 1, 2]]);
  });

  it('names what it ignores', async () => {
    expect((await read('ds,y,price\n0,1,2\n')).notices).toEqual(['ignored column "price"']);
  });

  it.each([
    ['an empty file', '', 'EMPTY_FILE', {}],
    ['blank lines only', '\n\n', 'EMPTY_FILE', {}],
    ['a header only', 'ds,y\n', 'EMPTY_FILE', {}],
    ['a wrong header', 'date,value\n2024-01-01,1\n', 'BAD_HEADER', { line: 1 }],
    ['no header', '2024-01-01,1\n2024-01-02,2\n', 'BAD_HEADER', { line: 1 }],
    ['a doubled column', 'ds,y,y\n0,1,2\n', 'BAD_HEADER', { line: 1 }],
    ['text in y', 'ds,y\n0,1\n1,abc\n', 'BAD_NUMBER', { line: 3, field: 'y' }],
    ['hexadecimal', 'ds,y\n0,0x10\n', 'BAD_NUMBER', { line: 2, field: 'y' }],
    ['a decimal comma', 'ds;y\n0;1,5\n', 'BAD_NUMBER', { line: 2, field: 'y' }],
    ['infinity', 'ds,y\n0,Infinity\n', 'NOT_FINITE', { line: 2, field: 'y' }],
    ['minus infinity', 'ds,y\n0,-inf\n', 'NOT_FINITE', { line: 2, field: 'y' }],
    ['a number that overflows', 'ds,y\n0,1e400\n', 'TOO_LARGE', { line: 2, field: 'y' }],
    ['a number whose square overflows', 'ds,y\n0,-1e200\n', 'TOO_LARGE', { line: 2, field: 'y' }],
    ['a bad time', 'ds,y\n2024-01-01,1\n2024-02-30,1\n', 'BAD_TIMESTAMP', { line: 3, field: 'ds' }],
    ['an empty time', 'ds,y\n,1\n', 'BAD_TIMESTAMP', { line: 2, field: 'ds' }],
    ['an empty id', 'unique_id,ds,y\n,0,1\n', 'NO_ID', { line: 2, field: 'unique_id' }],
    ['a row too long', 'ds,y\n0,1\n1,2,3\n', 'BAD_ROW', { line: 3 }],
    ['a row too short', 'ds,y\n0,1\n1\n', 'BAD_ROW', { line: 3 }],
    ['an open quote', 'ds,y\n0,1\n"1,2\n', 'BAD_CSV', {}],
    ['a quote amid a field', 'ds,y\n0,1"2"\n', 'BAD_CSV', {}],
    ['too many rows', 'ds,y\n0,1\n1,2\n2,3\n3,4\n', 'TOO_MANY_ROWS', { line: 5 }],
    ['zero bytes', 'ds,y\n0,\u0000\n', 'NOT_CSV', {}],
  ])('refuses %s', async (_, content, code, where) => {
    await expect(read(content, { maxRows: 3 })).rejects.toMatchObject({
      name: 'AdderError',
      code,
      ...(Object.keys(where).length > 0 ? { where } : {}),
    });
  });

  it('points to the line of a broken character', async () => {
    const bytes = Buffer.concat([
      Buffer.from('unique_id,ds,y\na,0,1\nK'),
      Buffer.from([0xf6]),
      Buffer.from('ln,0,1\n'),
    ]);
    for (const sizes of [[bytes.length], [1], [7]]) {
      await expect(read(bytes, {}, sizes)).rejects.toMatchObject({ code: 'NOT_UTF8', where: { line: 3 } });
    }
  });

  it.each([
    ['UTF-16', Buffer.from('\ufeffds,y\n', 'utf16le'), 'NOT_UTF8'],
    ['gzip', gzipSync('ds,y\n0,1\n'), 'NOT_CSV'],
    ['a spreadsheet', Buffer.from('PK\u0003\u0004xyz'), 'NOT_CSV'],
    ['Parquet', Buffer.from('PAR1xyz'), 'NOT_CSV'],
  ])('recognises %s', async (_, bytes, code) => {
    await expect(read(bytes)).rejects.toMatchObject({ code });
  });

  it('names a missing file and a folder', async () => {
    await expect(readCsv('/no/such.csv')).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
      where: { file: '/no/such.csv' },
    });
    await expect(readCsv('/')).rejects.toMatchObject({ code: 'NOT_A_FILE' });
  });
});
