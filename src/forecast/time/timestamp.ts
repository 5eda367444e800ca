import { AdderError, quote } from '../../platform/errors.js';
import { daysInMonth, utc } from './grid.js';

/**
 * How the time column of one file is written. The first row decides, all others must follow:
 * `date` calendar dates and times; `year` four-digit years; `compact` dates such as 20240131; `epoch` Unix time in
 * seconds, milliseconds, microseconds or nanoseconds; `integer` plain counts such as 0, 1, 2.
 */
export type TimeKind = 'date' | 'year' | 'compact' | 'epoch' | 'integer';

const FIX = 'write times as 2024-01-31 or 2024-01-31T13:45:00Z';
const HOUR = 3_600_000;

/** Earliest and latest instants that are read and written: years 1 to 9999. */
const MIN_TIME = utc(1, 0, 1);
export const MAX_TIME = utc(10_000, 0, 1) - 1;

/**
 * Parses one time column row by row, and remembers what kind of times and zones it has seen.
 * Times with an offset become UTC; times without one are taken as they stand. A column may not mix the two.
 */
export class TimestampParser {
  /** Decided by the first row. */
  kind: TimeKind | undefined;
  /** Units of one millisecond in an `epoch` column: 0.001 for seconds, 1, 1000, 1e6. */
  private epochUnits = 1;
  private zoned: boolean | undefined;
  /** Offsets in minutes seen in a zoned column. */
  readonly offsets = new Set<number>();

  /**
   * Milliseconds since 1970 UTC, or for the kind `integer` the number itself.
   * Throws an AdderError (`BAD_TIMESTAMP`, `AMBIGUOUS_DATE`, `MIXED_TIMESTAMPS`, `MIXED_TIME_ZONES`).
   */
  parse(text: string): number {
    const trimmed = text.trim();
    if (/^[+-]?\d+(\.\d+)?$/.test(trimmed)) return this.number(trimmed);
    this.expect('date', text);
    return this.date(trimmed);
  }

  private expect(kind: TimeKind, text: string): void {
    this.kind ??= kind;
    if (this.kind === kind) return;
    throw new AdderError({
      code: 'MIXED_TIMESTAMPS',
      message: `${quote(text)} is not written like the times before it (${DESCRIPTION[this.kind]})`,
      fix: 'write all times in one way',
    });
  }

  private number(text: string): number {
    if (this.kind === undefined) this.kind = this.decide(text);
    const value = Number(text);
    switch (this.kind) {
      case 'year':
        if (!/^\d{4}$/.test(text) || value < 1) this.expect('integer', text);
        return utc(value, 0, 1);
      case 'compact':
        if (!/^\d{8}$/.test(text)) this.expect('integer', text);
        return this.day(text, Number(text.slice(0, 4)), Number(text.slice(4, 6)), Number(text.slice(6)));
      case 'epoch':
        return checkRange(Math.round((value / this.epochUnits) * 1000) / 1000, text);
      case 'integer':
        if (!/^[+-]?\d{1,15}$/.test(text)) throw badTimestamp(text, 'is no whole number');
        return value;
      default:
        this.expect('integer', text);
        return value;
    }
  }

  /** The kind of a column whose first value is this number. */
  private decide(text: string): TimeKind {
    const value = Number(text);
    if (/^\d{4}$/.test(text) && value >= 1500 && value <= 2200) return 'year';
    if (/^\d{6}$/.test(text) && isYearMonth(text)) {
      throw new AdderError({
        code: 'AMBIGUOUS_DATE',
        message: `${quote(text)} may be a month (YYYYMM) or a count`,
        fix: `write months as ${text.slice(0, 4)}-${text.slice(4)}`,
      });
    }
    if (
      /^\d{8}$/.test(text) &&
      isYearMonth(text.slice(0, 6)) &&
      Number(text.slice(6)) >= 1 &&
      Number(text.slice(6)) <= 31
    ) {
      return 'compact';
    }
    // 1e8 s is March 1973; counts do not start that high.
    for (const [limit, units] of [
      [1e11, 0.001],
      [1e14, 1],
      [1e17, 1e3],
      [1e20, 1e6],
    ] as const) {
      if (value >= 1e8 && value < limit) {
        this.epochUnits = units;
        return 'epoch';
      }
    }
    return 'integer';
  }

  private date(text: string): number {
    const iso = ISO.exec(text);
    if (iso) {
      const [, year, month, day, hour, minute, second, fraction, zone] = iso;
      const date = this.day(text, Number(year), Number(month), day === undefined ? 1 : Number(day));
      const h = Number(hour ?? 0);
      const m = Number(minute ?? 0);
      const s = Number(second ?? 0);
      // 24:00 ends a day in ISO 8601; a leap second is folded into the next minute.
      if (h > 24 || m > 59 || s > 60 || (h === 24 && (m > 0 || s > 0)))
        throw badTimestamp(text, 'has no such time of day');
      const milliseconds = fraction === undefined ? 0 : Math.round(Number(`0.${fraction}`) * 1e6) / 1e3;
      const local = date + h * HOUR + m * 60_000 + s * 1000 + milliseconds;
      return checkRange(local - this.offset(zone, text, hour !== undefined) * 60_000, text);
    }
    const quarter = /^(\d{4})[- ]?[Qq]([1-4])$/.exec(text);
    if (quarter) return checkRange(utc(Number(quarter[1]), (Number(quarter[2]) - 1) * 3, 1), text);
    const week = /^(\d{4})-?W(\d{2})(?:-?([1-7]))?$/.exec(text);
    if (week) return isoWeek(text, Number(week[1]), Number(week[2]), Number(week[3] ?? 1));
    const dotted = /^(\d{1,2})\.(\d{1,2})\.(\d{4})$/.exec(text);
    if (dotted) return this.day(text, Number(dotted[3]), Number(dotted[2]), Number(dotted[1]));
    if (/^\d{1,2}[/-]\d{1,2}[/-]\d{2,4}\b/.test(text)) {
      throw new AdderError({
        code: 'AMBIGUOUS_DATE',
        message: `${quote(text)} does not say which part is the month`,
        fix: FIX,
      });
    }
    if (text === '') throw new AdderError({ code: 'BAD_TIMESTAMP', message: 'the time is empty', fix: FIX });
    throw badTimestamp(text, 'is no time that Adder reads');
  }

  private day(text: string, year: number, month: number, day: number): number {
    if (month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month - 1))
      throw badTimestamp(text, 'is no day of the calendar');
    return checkRange(utc(year, month - 1, day), text);
  }

  /** Minutes east of UTC. A date without a time of day has no zone and mixes with neither. */
  private offset(zone: string | undefined, text: string, hasTime: boolean): number {
    if (!hasTime) return 0;
    const zoned = zone !== undefined;
    if (this.zoned !== undefined && this.zoned !== zoned) {
      throw new AdderError({
        code: 'MIXED_TIME_ZONES',
        message: `${quote(text)} ${zoned ? 'has a time zone but others have none' : 'has no time zone but others have one'}`,
        fix: 'give every time a zone (Z or +02:00), or none',
      });
    }
    this.zoned = zoned;
    if (!zone) return 0;
    let minutes = 0;
    if (!/^(Z|UTC|GMT)$/i.test(zone)) {
      const [, sign, h, m] = /^([+-])(\d{2}):?(\d{2})?$/.exec(zone)!;
      minutes = (sign === '-' ? -1 : 1) * (Number(h) * 60 + Number(m ?? 0));
      if (Math.abs(minutes) > 18 * 60) throw badTimestamp(text, 'has no such time zone');
    }
    this.offsets.add(minutes);
    return minutes;
  }
}

const ISO =
  /^(\d{4})[-/](\d{1,2})(?:[-/](\d{1,2})(?:(?:[T_ ]|\s+)(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*(Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?)?)?$/i;

const DESCRIPTION: Record<TimeKind, string> = {
  date: 'calendar dates',
  year: 'four-digit years',
  compact: 'dates as YYYYMMDD',
  epoch: 'Unix time',
  integer: 'whole numbers',
};

function isYearMonth(text: string): boolean {
  const year = Number(text.slice(0, 4));
  const month = Number(text.slice(4, 6));
  return year >= 1800 && year < 2200 && month >= 1 && month <= 12;
}

function badTimestamp(text: string, what: string): AdderError {
  return new AdderError({ code: 'BAD_TIMESTAMP', message: `${quote(text)} ${what}`, fix: FIX });
}

function checkRange(t: number, text: string): number {
  if (!(t >= MIN_TIME && t <= MAX_TIME)) throw badTimestamp(text, 'lies outside the years 1 to 9999');
  return t;
}

/** ISO 8601: week 1 holds the first Thursday of the year. */
function isoWeek(text: string, year: number, week: number, weekday: number): number {
  const fourth = utc(year, 0, 4);
  const mondayOfFirst = fourth - ((new Date(fourth).getUTCDay() + 6) % 7) * 24 * HOUR;
  const t = mondayOfFirst + ((week - 1) * 7 + weekday - 1) * 24 * HOUR;
  const thursday = new Date(mondayOfFirst + ((week - 1) * 7 + 3) * 24 * HOUR);
  if (week < 1 || thursday.getUTCFullYear() !== year) throw badTimestamp(text, 'is no week of that year');
  return checkRange(t, text);
}

/** How timestamps of a file are written back. */
export interface TimeStyle {
  kind: TimeKind;
  /** Times carried a zone: written with a closing Z, because they were turned into UTC. */
  zoned: boolean;
}

/**
 * Writes a time as shortly as it allows: `2024`, `2024-01-31`, `2024-01-31T13:45:00`, with milliseconds or microseconds
 * only if it has them.
 */
export function formatTime(t: number, style: TimeStyle): string {
  if (style.kind === 'integer') return String(t);
  const milliseconds = Math.floor(t);
  const micros = Math.round((t - milliseconds) * 1000);
  const iso = new Date(milliseconds).toISOString();
  if (style.kind === 'year' && iso.endsWith('-01-01T00:00:00.000Z')) return iso.slice(0, 4);
  const date = iso.slice(0, 10);
  if (style.kind !== 'epoch' && !style.zoned && micros === 0 && iso.endsWith('T00:00:00.000Z')) return date;
  let clock = iso.slice(11, 19);
  const thousandths = iso.slice(20, 23);
  if (micros > 0) clock += `.${thousandths}${String(micros).padStart(3, '0')}`;
  else if (thousandths !== '000') clock += `.${thousandths}`;
  return `${date}T${clock}${style.zoned || style.kind === 'epoch' ? 'Z' : ''}`;
}
