import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseFrequency } from '../time/frequency.js';
import { readCsvStream } from './csv.js';
import { buildSeries, type SeriesOptions } from './series.js';

async function build(content: string, options: SeriesOptions = {}) {
  async function* bytes() {
    yield Buffer.from(content);
  }
  return buildSeries(await readCsvStream(bytes(), 'in.csv'), options);
}

const DAY = 86_400_000;
const date = (i: number) => new Date(Date.UTC(2024, 0, 1) + i * DAY).toISOString().slice(0, 10);
const daily = (values: (number | string)[], skip: number[] = []) =>
  `ds,y\n${values.map((v, i) => (skip.includes(i) ? '' : `${date(i)},${v}\n`)).join('')}`;
const count = (n: number) => Array.from({ length: n }, (_, i) => i);

describe('buildSeries', () => {
  it('puts values on a grid and continues it', async () => {
    const { series, notices } = await build(daily(count(20)));
    expect(notices).toEqual([]);
    expect(series).toHaveLength(1);
    expect(series[0]).toMatchObject({ id: '', frequency: 'D', season: 7, seasonSource: 'frequency', calendar: true });
    expect([...series[0]!.values]).toEqual(count(20));
    expect(series[0]!.labelAt(20)).toBe('2024-01-21');
  });

  it('gives the same series for rows in any order', async () => {
    const rows = daily(count(12)).trim().split('\n');
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray(rows.slice(1), { minLength: 12 }), async (shuffled) => {
        const { series } = await build(`ds,y\n${shuffled.join('\n')}\n`);
        expect([...series[0]!.values]).toEqual(count(12));
      }),
      { numRuns: 30 },
    );
  });

  it('says that it sorted', async () => {
    const { notices } = await build('ds,y\n2024-01-02,2\n2024-01-01,1\n2024-01-03,3\n');
    expect(notices).toEqual(['rows were not in time order and have been sorted']);
  });

  it('fills gaps as missing, and says how many', async () => {
    const { series, notices } = await build(daily([1, 2, 'NA', 4, 5, 6, 7], [1, 4]));
    expect([...series[0]!.values]).toEqual([1, Number.NaN, Number.NaN, 4, Number.NaN, 6, 7]);
    expect(notices).toEqual(['2 steps have no row and are treated as missing', '1 empty value is treated as missing']);
  });

  it('drops repeated rows and refuses contradictions', async () => {
    const { series, notices } = await build(`${daily([1, 2, 3, 4])}2024-01-04,4\n`);
    expect(series[0]!.values).toHaveLength(4);
    expect(notices).toEqual(['dropped 1 row that repeats another exactly']);
    await expect(build(`${daily([1, 2, 3, 4])}2024-01-04,5\n`)).rejects.toMatchObject({
      code: 'DUPLICATE_TIMESTAMP',
      where: { line: 6, field: 'ds' },
      message: expect.stringContaining('line 5'),
    });
  });

  it('refuses fewer than three values, but skips short series beside long ones', async () => {
    await expect(build(daily([1, 2]))).rejects.toMatchObject({ code: 'TOO_SHORT' });
    await expect(build(daily(['NA', 'NA', 'NA', 1, 2]))).rejects.toMatchObject({ code: 'TOO_SHORT' });
    const { series, notices } = await build('unique_id,ds,y\na,0,1\na,1,2\na,2,3\nb,0,1\n');
    expect(series.map((s) => s.id)).toEqual(['a']);
    expect(notices).toContain('skipped series "b" with fewer than 3 values');
    await expect(build('unique_id,ds,y\na,0,1\nb,0,1\n')).rejects.toMatchObject({
      code: 'TOO_SHORT',
      message: 'all 2 series have fewer than 3 values',
    });
  });

  it('says that a constant is one', async () => {
    expect((await build(daily([5, 5, 5, 5]))).notices).toEqual([
      'all values are equal, so the forecast is that value with no spread',
    ]);
  });

  it('says that the last time lies in the future', async () => {
    const { notices } = await build('ds,y\n9000-01-01,1\n9000-02-01,2\n9000-03-01,4\n');
    expect(notices).toEqual(['the last time lies in the future']);
  });

  it('refuses irregular times, and times that do not fit a stated frequency', async () => {
    await expect(
      build('ds,y\n2024-01-01,1\n2024-01-02,2\n2024-01-09,3\n2024-01-11T05:00:00,4\n2024-03-01,5\n'),
    ).rejects.toMatchObject({ code: 'IRREGULAR_TIMES' });
    await expect(build(daily(count(20)), { frequency: parseFrequency('W') })).rejects.toMatchObject({
      code: 'IRREGULAR_TIMES',
    });
    await expect(build('ds,y\n0,1\n2,2\n5,3\n')).rejects.toMatchObject({ code: 'IRREGULAR_TIMES' });
  });

  it('refuses a slip of the keyboard that would stretch the grid over years', async () => {
    const content = 'ds,y\n2024-01-01T00:00:00,1\n2024-01-01T00:00:01,2\n2034-01-01T00:00:00,3\n';
    await expect(build(content)).rejects.toMatchObject({ code: 'SPARSE_SERIES' });
  });

  it('counts steps where ds are whole numbers', async () => {
    const { series, notices } = await build(
      `ds,y\n${count(40)
        .map((i) => `${i * 10},${i % 5}\n`)
        .join('')}`,
    );
    expect(series[0]).toMatchObject({ frequency: undefined, calendar: false, season: 5, seasonSource: 'detected' });
    expect(series[0]!.labelAt(40)).toBe('400');
    expect(notices).toEqual(['ds holds whole numbers: steps are counted, no calendar is assumed']);
  });

  it('turns times of different offsets into UTC, and says so', async () => {
    const { series, notices } = await build(
      'ds,y\n2024-03-31T01:00+01:00,1\n2024-03-31T03:00+02:00,2\n2024-03-31T04:00+02:00,3\n',
    );
    expect(series[0]).toMatchObject({ frequency: 'H' });
    expect(series[0]!.labelAt(3)).toBe('2024-03-31T03:00:00Z');
    expect(notices).toEqual(['times with different UTC offsets were turned into UTC']);
  });

  it('names the series of an error', async () => {
    const content = 'unique_id,ds,y\na,0,1\na,1,2\na,2,2\nb,0,1\nb,0,2\nb,1,2\n';
    await expect(build(content)).rejects.toMatchObject({ where: { file: 'in.csv', series: 'b', line: 6 } });
  });

  it('uses a stated season, and no usual one that the history is too short for', async () => {
    expect((await build(daily(count(20)), { season: 3 })).series[0]).toMatchObject({
      season: 3,
      seasonSource: 'given',
    });
    expect((await build(daily(count(10)))).series[0]).toMatchObject({ season: 1, seasonSource: 'none' });
  });
});
