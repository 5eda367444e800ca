import { AdderError } from '../../platform/errors.js';
import { chooseSeason, type SeasonSource } from '../series/choose-season.js';
import { type Frequency, formatFrequency, parseFrequency } from '../time/frequency.js';
import { fixedGrid, type Grid, gridOf } from '../time/grid.js';
import { formatTime, MAX_TIME, type TimeStyle, TimestampParser } from '../time/timestamp.js';
import { readCovariates } from './covariate-columns.js';
import type { CovariateColumn } from './covariates.js';
import { place, regularise } from './regularise.js';
import type { SeriesInput } from './series-input.js';

/** A series of a request on its regular grid. */
export interface PreparedSeries {
  id: string;
  /** NaN is a missing value. */
  values: Float64Array;
  frequency: string | undefined;
  season: number;
  seasonSource: SeasonSource;
  /** Label of step k; the index itself where the request had no times. */
  labelAt: ((k: number) => string) | undefined;
  /** Time of step k, milliseconds since 1970; absent where the request had no instants. */
  timeAt: ((k: number) => number) | undefined;
  /** On the grid: history, then the steps of the horizon as far as they are known. */
  covariates: CovariateColumn[];
  /** What was changed or assumed. */
  notices: string[];
}

export interface PrepareDefaults {
  frequency?: string | null | undefined;
  season?: number | null | undefined;
  horizon: number;
}

/** Puts one series of a request on its grid. Throws AdderErrors that name the field. */
export function prepareSeries(
  input: SeriesInput & { values: Float64Array; times?: Float64Array },
  id: string,
  defaults: PrepareDefaults,
): PreparedSeries {
  const stated = input.frequency ?? defaults.frequency ?? undefined;
  const frequency = stated === undefined ? undefined : parse(stated);
  const notices: string[] = [];
  const raw = readTimes(input);
  if (raw && raw.times.length !== input.values.length) {
    throw new AdderError({
      code: 'LENGTH_MISMATCH',
      message: `${raw.times.length} timestamps for ${input.values.length} values`,
      where: { field: 'timestamps' },
      fix: 'give one timestamp for each value',
    });
  }
  const columns = readCovariates(input, defaults.horizon);
  const placed = raw
    ? placeRows(input.values, raw, frequency, columns, notices)
    : { values: input.values, columns, ...startGrid(input, frequency) };
  if (!placed.values.some((value) => !Number.isNaN(value))) {
    throw new AdderError({
      code: 'NO_VALUES',
      message: 'a history without any value cannot be forecast',
      where: { field: 'values' },
      fix: 'give at least one number',
    });
  }
  const { season, source } = chooseSeason(
    placed.values,
    placed.frequency,
    input.season ?? defaults.season ?? undefined,
  );
  checkEnd(placed.grid, placed.values.length + defaults.horizon, placed.style);
  const { grid, style } = placed;
  return {
    id,
    values: placed.values,
    frequency: placed.frequency ? formatFrequency(placed.frequency) : undefined,
    season,
    seasonSource: source,
    labelAt: grid && style ? (k) => formatTime(grid.time(k), style) : undefined,
    timeAt: grid && style?.kind === 'date' ? (k) => grid.time(k) : undefined,
    covariates: placed.columns,
    notices,
  };
}

interface Times {
  times: Float64Array;
  style: TimeStyle;
}

function readTimes(input: SeriesInput & { times?: Float64Array }): Times | undefined {
  if (input.times) return { times: input.times, style: { kind: 'date', zoned: true } };
  if (input.timestamps === undefined) return undefined;
  const parser = new TimestampParser();
  const source = input.timestamps as ArrayLike<unknown>;
  if (typeof source !== 'object' || source === null || typeof source.length !== 'number') {
    throw new AdderError({
      code: 'BAD_TIMESTAMP',
      message: 'expected an array of times',
      where: { field: 'timestamps' },
      fix: 'write times as 2024-01-31 or 2024-01-31T13:45:00Z',
    });
  }
  const times = new Float64Array(source.length);
  for (let i = 0; i < source.length; i++) {
    const value = source[i];
    if (typeof value !== 'string' && typeof value !== 'number') throw badTime(i, 'is no time');
    try {
      times[i] = parser.parse(typeof value === 'number' ? plain(value) : value);
    } catch (error) {
      throw error instanceof AdderError ? error.at({ field: `timestamps[${i}]` }) : error;
    }
  }
  return { times, style: { kind: parser.kind ?? 'date', zoned: parser.offsets.size > 0 } };
}

const badTime = (i: number, what: string) =>
  new AdderError({
    code: 'BAD_TIMESTAMP',
    message: `timestamp ${i} ${what}`,
    where: { field: `timestamps[${i}]` },
    fix: 'write times as 2024-01-31 or 2024-01-31T13:45:00Z',
  });

/** Digits without an exponent, as the parser of timestamps reads them. */
const plain = (value: number) => (Number.isInteger(value) && Math.abs(value) < 1e21 ? String(value) : value.toFixed(6));

/** Rows with a time each: sorted, put on a grid, and gathered where they are irregular. */
function placeRows(
  values: Float64Array,
  { times, style }: Times,
  wanted: Frequency | undefined,
  columns: CovariateColumn[],
  notices: string[],
) {
  if (times.length < 2 && !wanted && style.kind !== 'integer') {
    throw new AdderError({
      code: 'IRREGULAR_TIMES',
      message: 'one timestamp says nothing about the sampling',
      where: { field: 'frequency' },
      fix: 'state the frequency',
    });
  }
  const order = Uint32Array.from(times, (_, i) => i).sort((a, b) => times[a]! - times[b]! || a - b);
  if (order.some((from, to) => from !== to)) notices.push('the rows were not in order of time and have been sorted');
  const sorted = Float64Array.from(order, (i) => times[i]!);
  if (style.kind === 'integer') return placeCounts(values, sorted, order, wanted, style, columns, notices);
  const regular = regularise(sorted, wanted);
  const name = formatFrequency(regular.frequency);
  const length = regular.positions.at(-1)! + 1;
  if (regular.how === 'moved')
    notices.push(`timestamps stray from a regular step and were moved to the nearest ${name}`);
  if (regular.how === 'resampled') {
    notices.push(
      `timestamps are irregular: resampled to ${name}, ${times.length} values became the means of ${length} steps`,
    );
  }
  const filled = new Set(regular.positions).size;
  if (filled < length) notices.push(`${length - filled} steps have no row and are treated as missing`);
  const { positions, grid, frequency } = regular;
  return { ...moved(values, order, positions, length, columns), grid, style, frequency };
}

function placeCounts(
  values: Float64Array,
  sorted: Float64Array,
  order: Uint32Array,
  frequency: Frequency | undefined,
  style: TimeStyle,
  columns: CovariateColumn[],
  notices: string[],
) {
  let step = Number.POSITIVE_INFINITY;
  for (let i = 1; i < sorted.length; i++)
    if (sorted[i]! > sorted[i - 1]!) step = Math.min(step, sorted[i]! - sorted[i - 1]!);
  const grid = fixedGrid(sorted[0]!, Number.isFinite(step) ? step : 1);
  const positions = sorted.map((t) => Math.round((t - sorted[0]!) / (Number.isFinite(step) ? step : 1)));
  const length = positions.at(-1)! + 1;
  if (length > Math.max(10_000, 50 * sorted.length)) {
    throw new AdderError({
      code: 'SPARSE_SERIES',
      message: `${sorted.length} observations are spread over ${length} steps`,
      where: { field: 'timestamps' },
      fix: 'number the steps 0, 1, 2, …',
    });
  }
  const filled = new Set(positions).size;
  if (filled < length) notices.push(`${length - filled} steps have no row and are treated as missing`);
  return { ...moved(values, order, positions, length, columns), grid, style, frequency };
}

function moved(
  values: Float64Array,
  order: Uint32Array,
  positions: Float64Array,
  length: number,
  columns: CovariateColumn[],
) {
  const pick = (from: Float64Array) =>
    place(
      Float64Array.from(order, (i) => from[i]!),
      positions,
      length,
    );
  return {
    values: pick(values),
    columns: columns.map((column) => {
      const history = pick(column.values);
      const future = column.values.subarray(values.length);
      const joined = new Float64Array(length + future.length);
      joined.set(history);
      joined.set(future, length);
      return { ...column, values: joined };
    }),
  };
}

function startGrid(input: SeriesInput, frequency: Frequency | undefined) {
  if (input.start === undefined) return { grid: undefined, style: undefined, frequency };
  if (!frequency) {
    throw new AdderError({
      code: 'BAD_FREQUENCY',
      message: 'a start needs a frequency',
      where: { field: 'frequency' },
      fix: 'state the frequency, or give timestamps',
    });
  }
  const parser = new TimestampParser();
  try {
    const at = parser.parse(typeof input.start === 'number' ? plain(input.start) : input.start);
    const style: TimeStyle = { kind: parser.kind ?? 'date', zoned: parser.offsets.size > 0 };
    return { grid: style.kind === 'integer' ? fixedGrid(at, 1) : gridOf(frequency, at), style, frequency };
  } catch (error) {
    throw error instanceof AdderError ? error.at({ field: 'start' }) : error;
  }
}

function checkEnd(grid: Grid | undefined, steps: number, style: TimeStyle | undefined): void {
  if (!grid || style?.kind === 'integer' || grid.time(steps - 1) <= MAX_TIME) return;
  throw new AdderError({
    code: 'BAD_HORIZON',
    message: 'the horizon runs past the year 9999',
    where: { field: 'horizon' },
    fix: 'ask for fewer steps',
  });
}

function parse(text: string): Frequency {
  try {
    return parseFrequency(text);
  } catch (error) {
    throw error instanceof AdderError ? error.at({ field: 'frequency' }) : error;
  }
}
