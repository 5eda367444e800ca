import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { defaultSeason, parseFrequency } from '../../../src/forecast/time/frequency.js';
import { gridOf } from '../../../src/forecast/time/grid.js';
import { housingStarts } from './expectations.js';

/** A measured series with a value at its first and at its last step. */
export interface RealSeries {
  name: string;
  /** Pandas-style. */
  frequency: string;
  season: number;
  /** Of each step, milliseconds since 1970. */
  times: number[];
  /** NaN where nothing was measured. */
  values: Float64Array;
}

/** Values of one series at most. */
const LONGEST = 400;

/** Series of the data folder: one of each kind of time and of measurement. */
const CHOSEN = [
  ['etth1', 3],
  ['exchange_rate', 2],
  ['m1_quarterly', 11],
  ['m3_monthly', 400],
  ['m4_hourly', 7],
  ['m4_weekly', 20],
  ['nab', 12],
  ['nn5_daily', 5],
  ['skab', 40],
  ['us_births_m', 0],
] as const;

/**
 * Real series for tests: the one that comes with the repository, whole and from 1990 on; with a data folder (as
 * ADDER_TS_DATA names it) also some of its development series.
 */
export function realSeries(folder: string | undefined): RealSeries[] {
  const { times, values } = housingStarts();
  const recent = times.findIndex((time) => time >= Date.UTC(1990, 0, 1));
  const housing = { frequency: 'M', season: 12 };
  const found: RealSeries[] = [
    { ...housing, name: 'housing', times, values: Float64Array.from(values) },
    { ...housing, name: 'recent', times: times.slice(recent), values: Float64Array.from(values.slice(recent)) },
  ];
  if (folder === undefined) return found;
  for (const [dataset, index] of CHOSEN) {
    const path = join(folder, 'dev', `${dataset}.ndjson.gz`);
    if (existsSync(path)) found.push(readSeries(path, dataset, index));
  }
  return found;
}

function readSeries(path: string, dataset: string, index: number): RealSeries {
  const line = gunzipSync(readFileSync(path)).toString('utf8').split('\n')[index]!;
  const { freq, start, target } = JSON.parse(line) as { freq: string; start: string | null; target: (number | null)[] };
  const all = target.slice(0, LONGEST).map((value) => value ?? Number.NaN);
  const first = all.findIndex(Number.isFinite);
  const values = all.slice(first, all.findLastIndex(Number.isFinite) + 1);
  const frequency = parseFrequency(freq);
  const grid = gridOf(frequency, start === null ? Date.UTC(2001, 0, 1) : Date.parse(withZone(start)));
  return {
    name: dataset,
    frequency: freq,
    season: defaultSeason(frequency),
    times: values.map((_, step) => grid.time(first + step)),
    values: Float64Array.from(values),
  };
}

const withZone = (text: string) => (text.includes('T') ? `${text}Z` : `${text}T00:00:00Z`);
