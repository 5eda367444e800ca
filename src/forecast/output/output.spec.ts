import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { parse } from 'csv-parse/sync';
import { sba } from '../baselines/croston.js';
import { LocalForecaster } from '../baselines/local.js';
import { naive } from '../baselines/naive.js';
import { predict } from '../predict.js';
import type { Series } from '../series/series.js';
import { outputColumns } from './columns.js';
import { forecastTable } from './table.js';
import { outputFormat, writeForecasts } from './write.js';

function series(id: string, values: number[]): Series {
  return {
    id,
    values: Float64Array.from(values),
    timeAt: (k) => k,
    labelAt: (k) => `t${k}`,
    calendar: false,
    frequency: 'D',
    season: 1,
    seasonSource: 'none',
  };
}

const forecaster = new LocalForecaster('naive', naive);

async function written(name: string, forecasts: Awaited<ReturnType<typeof predict>>): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'adder-output-'));
  try {
    await writeForecasts(join(dir, name), 'naive', forecasts);
    return await readFile(join(dir, name), 'utf8');
  } finally {
    await rm(dir, { recursive: true });
  }
}

describe('predict', () => {
  it('names intervals by their levels and keeps the order of the series', async () => {
    const [a, b] = await predict(forecaster, [series('a', [1, 2, 3]), series('b', [5, 9, 5])], 2, [80, 95]);
    expect([a!.series.id, b!.series.id]).toEqual(['a', 'b']);
    expect([...b!.median]).toEqual([5, 5]);
    const [narrow, wide] = a!.intervals;
    expect([narrow!.percent, wide!.percent]).toEqual([80, 95]);
    expect(narrow!.low[0]).toBeCloseTo(3 - 1.2815516);
    expect(wide!.high[0]).toBeCloseTo(3 + 1.959964);
  });

  it('refuses to run past the calendar', async () => {
    const late: Series = {
      ...series('a', [1, 2, 3]),
      calendar: true,
      timeAt: (k) => Date.UTC(9999, 0, 1) + k * 86_400_000,
    };
    await expect(predict(forecaster, [late], 400, [80])).rejects.toMatchObject({ code: 'BAD_HORIZON' });
  });
});

describe('writeForecasts', () => {
  it('writes CSV with the columns of the Nixtla libraries, and quotes ids', async () => {
    const forecasts = await predict(forecaster, [series('a "b", c', [1, 2, 3]), series('d', [4, 4, 4])], 2, [80, 95]);
    const rows = parse(await written('out.csv', forecasts), { columns: true }) as Record<string, string>[];
    expect(Object.keys(rows[0]!)).toEqual([
      'unique_id',
      'ds',
      'naive',
      'naive-lo-95',
      'naive-lo-80',
      'naive-hi-80',
      'naive-hi-95',
    ]);
    expect(rows).toHaveLength(4);
    expect(rows[1]).toMatchObject({ unique_id: 'a "b", c', ds: 't4', naive: '3' });
    expect(Number(rows[0]!['naive-hi-80'])).toBe(forecasts[0]!.intervals[0]!.high[0]);
  });

  it('leaves out the id of a file without one', async () => {
    const text = await written('out.csv', await predict(forecaster, [series('', [1, 2, 3])], 1, [80]));
    expect(text.split('\n')[0]).toBe('ds,naive,naive-lo-80,naive-hi-80');
  });

  it('writes JSON that says the same', async () => {
    const json = JSON.parse(await written('out.json', await predict(forecaster, [series('a', [1, 2, 3])], 2, [80])));
    expect(json).toMatchObject({
      model: 'naive',
      series: [{ unique_id: 'a', frequency: 'D', season: 1, ds: ['t3', 't4'], naive: [3, 3] }],
    });
  });

  it('refuses other formats', () => {
    expect(outputFormat('A.CSV')).toBe('csv');
    for (const name of ['a.xlsx', 'a']) expect(() => outputFormat(name)).toThrow(/format/);
  });
});

describe('outputColumns', () => {
  it('adds the mean where it is known', async () => {
    const [forecast] = await predict(new LocalForecaster('sba', sba), [series('a', [0, 3, 0])], 1, [80]);
    expect(outputColumns('sba', forecast!).map((c) => c.name)).toEqual(['sba', 'sba-mean', 'sba-lo-80', 'sba-hi-80']);
  });
});

describe('forecastTable', () => {
  it('gives numbers the digits that their spread deserves', async () => {
    const table = async (values: number[]) => {
      const [forecast] = await predict(forecaster, [series('', values)], 1, [80]);
      return forecastTable(forecast!).split('\n')[1]!.split(/ +/).slice(1);
    };
    expect(await table([1000, 3000, 2000])).toEqual(['2000', '-26', '4026']);
    expect(await table([0.001, 0.002, 0.003])).toEqual(['0.003000', '0.001718', '0.004282']);
    expect(await table([1e-9, 2e-9, 3e-9])).toEqual(['3.0000e-9', '1.7184e-9', '4.2816e-9']);
    expect(await table([5, 5, 5])).toEqual(['5.000', '5.000', '5.000']);
  });

  it('cuts long horizons and says so', async () => {
    const [forecast] = await predict(forecaster, [series('', [1, 2, 3])], 100, [80]);
    expect(forecastTable(forecast!)).toMatch(/40 more rows/);
  });
});
