import { AdderError, type ErrorPlace } from '../../platform/errors.js';
import { type Frequency, formatFrequency } from '../time/frequency.js';
import { fixedGrid, type Grid } from '../time/grid.js';
import { inferSampling, samplingWith } from '../time/infer.js';
import { formatTime, type TimeStyle } from '../time/timestamp.js';
import { chooseSeason, type SeasonSource } from './choose-season.js';
import type { CsvTable } from './csv.js';

/** One series on a regular grid, ready to be forecast. */
export interface Series {
  id: string;
  /** Observations from the first to the last timestamp; NaN where one is missing. */
  values: Float64Array;
  /** Time of step k (0 = the first value) in the unit of `timeStyle`; k ≥ values.length is the future. */
  timeAt(k: number): number;
  /** Times are instants of the calendar, not counts. */
  calendar: boolean;
  /** Time of step k as text, written as in the source. */
  labelAt(k: number): string;
  /** Undefined for `ds` given as whole numbers. */
  frequency: string | undefined;
  /** Steps of a season; 1 when none is known or found. */
  season: number;
  seasonSource: SeasonSource;
}

export interface SeriesOptions {
  /** Frequency stated by the user; otherwise it is inferred from each series. */
  frequency?: Frequency;
  /** Season stated by the user. */
  season?: number;
}

/** Series shorter than this say nothing about their scatter. */
export const MIN_POINTS = 3;

/** A grid may be this many times longer than the rows that fill it. */
const MAX_SPARSENESS = 50;

/**
 * Turns the rows of a CSV file into series on regular grids, with a notice for everything that was changed:
 * unsorted rows are sorted, equal duplicate rows dropped, gaps become missing values, jittered times go to their grid.
 * Conflicting duplicates, irregular times and implausibly sparse series are errors. Of several series, those with fewer
 * than three values are skipped with a notice; a single one is an error.
 */
export function buildSeries(table: CsvTable, options: SeriesOptions = {}): { series: Series[]; notices: string[] } {
  const notices = new Notices(table.notices);
  const style: TimeStyle = { kind: table.times.kind ?? 'date', zoned: table.times.offsets.size > 0 };
  if (table.times.offsets.size > 1) notices.once('times with different UTC offsets were turned into UTC');
  else if (table.times.offsets.size === 1 && !table.times.offsets.has(0)) notices.once('times were turned into UTC');
  if (style.kind === 'integer') notices.once('ds holds whole numbers: steps are counted, no calendar is assumed');
  if (style.kind === 'compact') notices.once('ds was read as dates written YYYYMMDD');
  if (style.kind === 'epoch') notices.once('ds was read as Unix time, in UTC');

  const series: Series[] = [];
  const short: string[] = [];
  for (const [s, rows] of table.store.groups().entries()) {
    const id = table.store.ids[s]!;
    const where: ErrorPlace = { file: table.file, ...(table.hasId ? { series: id } : {}) };
    const { time, value } = ordered(table, rows, style, where, notices);
    let finite = 0;
    for (const v of value) if (!Number.isNaN(v)) finite++;
    if (finite < MIN_POINTS) {
      short.push(id);
      if (table.store.ids.length === 1) throw tooShort(finite, where);
      continue;
    }
    const sampled = sample(time, style, options, where, notices);
    const length = sampled.positions.at(-1)! + 1;
    if (length > Math.max(10_000, MAX_SPARSENESS * time.length)) {
      const step = sampled.frequency ? formatFrequency(sampled.frequency) : 'its smallest difference';
      throw new AdderError({
        code: 'SPARSE_SERIES',
        message: `${time.length.toLocaleString('en')} rows are spread over ${length.toLocaleString('en')} steps of ${step}, from ${formatTime(time[0]!, style)} to ${formatTime(time.at(-1)!, style)}`,
        where: { ...where, field: 'ds' },
        fix: 'check the first and last times for slips, or state the frequency with --freq',
      });
    }
    const values = new Float64Array(length).fill(Number.NaN);
    for (let i = 0; i < time.length; i++) values[sampled.positions[i]!] = value[i]!;
    if (length > time.length) notices.count('gap', length - time.length, id);
    if (finite < time.length) notices.count('empty', time.length - finite, id);
    if (isConstant(value)) notices.count('constant', 1, id);
    if (style.kind !== 'integer' && time.at(-1)! > Date.now() + 86_400_000) notices.count('future', 1, id);
    const { season, source } = chooseSeason(values, sampled.frequency, options.season);
    series.push({
      id,
      values,
      timeAt: sampled.grid.time,
      calendar: style.kind !== 'integer',
      labelAt: (k) => formatTime(sampled.grid.time(k), style),
      frequency: sampled.frequency ? formatFrequency(sampled.frequency) : undefined,
      season,
      seasonSource: source,
    });
  }
  if (series.length === 0) throw tooShort(MIN_POINTS - 1, { file: table.file }, short.length);
  if (short.length > 0) notices.once(`skipped ${named(short)} with fewer than ${MIN_POINTS} values`);
  return { series, notices: notices.all() };
}

function tooShort(found: number, where: ErrorPlace, ofSeries = 1): AdderError {
  return new AdderError({
    code: 'TOO_SHORT',
    message:
      ofSeries > 1
        ? `all ${ofSeries} series have fewer than ${MIN_POINTS} values`
        : `only ${found} ${found === 1 ? 'value' : 'values'}; a forecast needs at least ${MIN_POINTS}`,
    where,
    fix: 'give a longer history',
  });
}

/** Rows of one series in time order; equal duplicates dropped, conflicting ones refused. */
function ordered(table: CsvTable, rows: Uint32Array, style: TimeStyle, where: ErrorPlace, notices: Notices) {
  const { time: t, value: y, line } = table.store;
  let sorted = true;
  for (let i = 1; i < rows.length && sorted; i++) sorted = t[rows[i]!]! >= t[rows[i - 1]!]!;
  if (!sorted) {
    // Row numbers break ties, so the sort is stable; typed arrays sort in place without boxing.
    rows = rows.slice().sort((a, b) => t[a]! - t[b]! || a - b);
    notices.count('unsorted', 1, where.series ?? '');
  }
  const time = new Float64Array(rows.length);
  const value = new Float64Array(rows.length);
  let n = 0;
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    if (n > 0 && t[row] === time[n - 1]) {
      if (!Object.is(y[row], value[n - 1])) {
        throw new AdderError({
          code: 'DUPLICATE_TIMESTAMP',
          message: `${formatTime(t[row]!, style)} occurs twice with different values (also line ${line[rows[i - 1]!]})`,
          where: { ...where, line: line[row]!, field: 'ds' },
          fix: table.hasId
            ? 'keep one row for each time'
            : 'keep one row for each time; a file with several series needs a unique_id column',
        });
      }
      notices.count('duplicate', 1, where.series ?? '');
      continue;
    }
    time[n] = t[row]!;
    value[n] = y[row]!;
    n++;
  }
  return { time: time.subarray(0, n), value: value.subarray(0, n) };
}

interface Sampled {
  positions: Float64Array;
  grid: Grid;
  frequency: Frequency | undefined;
}

function sample(
  time: Float64Array,
  style: TimeStyle,
  options: SeriesOptions,
  where: ErrorPlace,
  notices: Notices,
): Sampled {
  const irregular = (message: string, fix: string) =>
    new AdderError({ code: 'IRREGULAR_TIMES', message, where: { ...where, field: 'ds' }, fix });
  if (style.kind === 'integer') {
    const step = smallestStep(time);
    const grid = fixedGrid(time[0]!, step);
    const positions = time.map((t) => grid.index(t));
    if (positions.some(Number.isNaN)) {
      throw irregular(
        'the numbers in ds are not multiples of their smallest step',
        'number the steps 0, 1, 2, … or give dates',
      );
    }
    return { positions, grid, frequency: options.frequency };
  }
  const sampling = options.frequency ? samplingWith(time, options.frequency) : inferSampling(time);
  if (!sampling) {
    if (options.frequency) {
      const wanted = formatFrequency(options.frequency);
      throw irregular(
        `the times do not fit the frequency ${wanted}: several rows fall on one step, or rows lie between steps`,
        `resample to ${wanted} first, or leave --freq out to have it inferred`,
      );
    }
    if (time.length < 2) throw irregular('one row says nothing about the sampling', 'state it with --freq');
    throw irregular(
      'the times are irregular: no common step lies between them',
      'resample to a regular step (e.g. hourly means), or state one with --freq',
    );
  }
  if (sampling.jitter > 0) notices.count('jitter', 1, where.series ?? '');
  return sampling;
}

/** Smallest difference of sorted, distinct whole numbers. */
function smallestStep(time: Float64Array): number {
  let step = Number.POSITIVE_INFINITY;
  for (let i = 1; i < time.length; i++) step = Math.min(step, time[i]! - time[i - 1]!);
  return Number.isFinite(step) ? step : 1;
}

function isConstant(values: Float64Array): boolean {
  let first = Number.NaN;
  for (const v of values) {
    if (Number.isNaN(v)) continue;
    if (Number.isNaN(first)) first = v;
    else if (v !== first) return false;
  }
  return true;
}

type NoticeKind = 'unsorted' | 'duplicate' | 'gap' | 'empty' | 'jitter' | 'constant' | 'future';

const NOTICE_TEXT: Record<NoticeKind, (count: number, where: string) => string> = {
  unsorted: (_, where) => `rows were not in time order and have been sorted${where}`,
  duplicate: (n, where) =>
    `dropped ${n} ${n === 1 ? 'row that repeats another' : 'rows that repeat others'} exactly${where}`,
  gap: (n, where) =>
    `${n.toLocaleString('en')} ${n === 1 ? 'step has' : 'steps have'} no row and ${n === 1 ? 'is' : 'are'} treated as missing${where}`,
  empty: (n, where) =>
    `${n.toLocaleString('en')} empty ${n === 1 ? 'value is' : 'values are'} treated as missing${where}`,
  jitter: (_, where) => `times stray from a regular step and were moved to the nearest one${where}`,
  constant: (_, where) => `all values are equal, so the forecast is that value with no spread${where}`,
  future: (_, where) => `the last time lies in the future${where}`,
};

/** Collects what happened to many series into one line for each kind. */
class Notices {
  private readonly lines: string[];
  private readonly counts = new Map<NoticeKind, { count: number; ids: Set<string> }>();

  constructor(initial: string[]) {
    this.lines = [...initial];
  }

  once(text: string): void {
    this.lines.push(text);
  }

  count(kind: NoticeKind, count: number, id: string): void {
    const entry = this.counts.get(kind) ?? { count: 0, ids: new Set() };
    entry.count += count;
    entry.ids.add(id);
    this.counts.set(kind, entry);
  }

  all(): string[] {
    const counted = [...this.counts].map(([kind, { count, ids }]) => {
      const known = [...ids].filter((id) => id !== '');
      return NOTICE_TEXT[kind](count, known.length > 0 ? ` (${named(known)})` : '');
    });
    return [...this.lines, ...counted];
  }
}

/** `series "a"`, or `3 series: "a", "b", …`. */
function named(ids: string[]): string {
  if (ids.length === 1) return `series ${JSON.stringify(ids[0])}`;
  const shown = ids
    .slice(0, 3)
    .map((id) => JSON.stringify(id))
    .join(', ');
  return `${ids.length} series: ${shown}${ids.length > 3 ? ', …' : ''}`;
}
