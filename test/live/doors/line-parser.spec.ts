import { Point } from '@influxdata/influxdb-client';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ColumnStore } from '../../../src/forecast/series/columns.js';
import { LineBatch, LineParser, type Precision } from '../../../src/live/doors/influx/line-parser.js';
import { parseLines } from '../../../src/live/doors/influx/parse-lines.js';

const NOW = 1_700_000_000_123;
const parse = (text: string, precision: Precision = 'ns', prefix = '') =>
  parseLines(new LineParser(), Buffer.from(text), { precision, now: NOW, prefix });

const rows = ({ points }: LineBatch) =>
  Array.from({ length: points.length }, (_, i) => [
    points.ids[points.series[i]!],
    points.time[i],
    points.value[i],
    points.line[i],
  ]);

describe('line protocol', () => {
  it('makes a point of every number and boolean', async () => {
    const batch = await parse(
      [
        'cpu,host=a,cpu=cpu0 usage_idle=98.25,usage_user=1i 1700000000000000000',
        '# a comment',
        '',
        'disk free=18446744073709551615u,ok=t,note="used, by = nobody" 1700000000123456789\r',
        'plain v=-1.5e3',
      ].join('\n'),
    );
    expect(batch.bad).toEqual([]);
    expect(rows(batch)).toEqual([
      ['cpu.usage_idle{cpu="cpu0",host="a"}', 1_700_000_000_000, 98.25, 1],
      ['cpu.usage_user{cpu="cpu0",host="a"}', 1_700_000_000_000, 1, 1],
      ['disk.free', 1_700_000_000_123, 2 ** 64, 4],
      ['disk.ok', 1_700_000_000_123, 1, 4],
      ['plain.v', NOW, -1500, 5],
    ]);
    expect(batch.texts).toBe(1);
  });

  it.each([
    ['ns', '1700000000123456789', 1_700_000_000_123],
    ['ns', '-1', -1],
    ['ns', '-1000000', -1],
    ['us', '1700000000123456', 1_700_000_000_123],
    ['ms', '1700000000123', 1_700_000_000_123],
    ['s', '1700000000', 1_700_000_000_000],
    ['m', '28333333', 1_699_999_980_000],
    ['h', '472222', 1_699_999_200_000],
    ['ns', '9223372036854775806', 9_223_372_036_854],
  ] as const)('reads a timestamp in %s: %s', async (precision, text, ms) => {
    expect(rows(await parse(`m f=1 ${text}`, precision))).toEqual([['m.f', ms, 1, 1]]);
  });

  it.each([
    ['m', 'missing fields'],
    ['m ', 'missing fields'],
    [',t=1 f=1', 'missing measurement'],
    ['m,=1 f=1', 'missing tag key'],
    ['m,t= f=1', 'missing tag value'],
    ['m,t f=1', 'missing tag value'],
    ['m,t=1,t=2 f=1', 'duplicate tags'],
    ['m,t=1=2 f=1', 'invalid tag format'],
    ['m =1', 'missing field key'],
    ['m f=', 'missing field value'],
    ['m f=NaN', 'invalid number'],
    ['m f=+Inf', 'invalid number'],
    ['m f=1e999', 'invalid number'],
    ['m f=1.1.1', 'invalid number'],
    ['m f=0x10', 'invalid number'],
    ['m f=-1u', 'invalid number'],
    ['m f=1.5i', 'invalid number'],
    ['m f=1e', 'invalid number'],
    ['m f=9223372036854775808i', /value out of range$/],
    ['m f=tru', 'invalid boolean'],
    ['m f=abc', 'invalid field format'],
    ['m f', 'invalid field format'],
    ['m f=1,', 'invalid field format'],
    ['m f="abc', 'unbalanced quotes'],
    ['m f="a"b', 'invalid field format'],
    ['m f=1 x', 'bad timestamp'],
    ['m f=1 1 1', 'bad timestamp'],
    ['m f=1 1.5', 'bad timestamp'],
    ['m f=1 9223372036855000000', /^time outside range/],
    ['m f=1 99999999999999999999', /^time outside range/],
  ])('refuses %j: %s', async (line, message) => {
    const batch = await parse(`good f=1 1000000\n${line}\nalso_good f=2 1000000\n`);
    expect(batch.bad).toEqual([{ line: 2, text: line, message: expect.stringMatching(message) }]);
    // Neither a point nor a name of the bad line is left.
    expect(batch.points.ids).toEqual(['good.f', 'also_good.f']);
    expect(rows(batch).map(([, , value, number]) => [value, number])).toEqual([
      [1, 1],
      [2, 3],
    ]);
  });

  it('counts bad lines beyond those that it keeps', async () => {
    const batch = await parse('bad\n'.repeat(1000));
    expect([batch.bad.length, batch.badLines]).toEqual([100, 1000]);
  });

  it('lets quoted text hold newlines, and counts them', async () => {
    const batch = await parse('a f="one\ntwo\\"\nthree",g=1 1000000\nb f=2 1000000');
    expect(rows(batch)).toEqual([
      ['a.g', 1, 1, 1],
      ['b.f', 1, 2, 4],
    ]);
  });

  it('names long and strange series so that they stay apart', async () => {
    const tags = Array.from({ length: 40 }, (_, i) => `label${i}=value-number-${i}`).join(',');
    const names = (await parse(`m,${tags},z=1 f=1\nm,${tags},z=2 f=1\nm,t=a\tb f=1\nm,t="q" f=1`)).points.ids;
    expect(names[0]).toHaveLength(256);
    expect(names[0]).not.toBe(names[1]);
    expect(names.slice(2)).toEqual(['m.f{t="a\\u0009b"}', 'm.f{t="\\"q\\""}']);
  });

  it('reads what the client library of InfluxDB writes', async () => {
    const text = fc
      .string({ minLength: 1, maxLength: 12 })
      .filter((s) => !/[\\\p{Surrogate}\p{Cc}]/u.test(s) && !s.startsWith('#') && s !== '__proto__');
    await fc.assert(
      fc.asyncProperty(
        text,
        fc.dictionary(text, text, { maxKeys: 3 }),
        text,
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        text,
        async (measurement, tags, field, value, note) => {
          const point = new Point(measurement)
            .floatField(field, value)
            .stringField('a note', note)
            .timestamp('1000000');
          for (const [name, tag] of Object.entries(tags)) point.tag(name, tag);
          const parser = new LineParser();
          const batch = await parseLines(parser, Buffer.from(`${point.toLineProtocol()}\n`), { precision: 'ns' });
          expect(batch.bad).toEqual([]);
          // The library writes the negative zero as 0.
          expect(batch.points.value[0]).toBe(value + 0);
          const { metadata } = parser.keys.describe(batch.points.ids[0]!);
          expect(metadata).toEqual({
            measurement,
            field,
            ...Object.fromEntries(Object.entries(tags).map(([name, tag]) => [`tag.${name}`, tag])),
          });
        },
      ),
      { numRuns: 500 },
    );
  });

  it('reads numbers as JavaScript does', async () => {
    await fc.assert(
      fc.asyncProperty(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.nat(20), async (value, digits) => {
        for (const text of [
          String(value),
          value.toExponential(digits),
          Math.abs(value) < 1e20 ? value.toFixed(digits) : '0',
        ]) {
          if (!Number.isFinite(Number(text))) continue;
          const batch = await parse(`m f=${text}`);
          expect(batch.points.value[0]).toBe(Number(text));
        }
      }),
    );
  });

  it('does not care where a body is cut', () => {
    const body = 'a,t=x f=1.5,g="q\nr\\"",h=2i 1000000\n\n# no\nbad\nb f=t 2000000\nc f="open\nd f=1e5 3000000\n';
    const whole = new LineBatch(new ColumnStore(), 'ns', NOW, '');
    new LineParser().parse(body, whole, true);
    for (let size = 1; size <= body.length; size++) {
      const batch = new LineBatch(new ColumnStore(), 'ns', NOW, '');
      const parser = new LineParser();
      let from = 0;
      for (let to = size; from < body.length; to += size) {
        const end = Math.min(to, body.length);
        from += parser.parse(body.slice(from, end), batch, end === body.length);
      }
      expect([rows(batch), batch.bad, batch.lines]).toEqual([rows(whole), whole.bad, whole.lines]);
    }
  });
});
