import { type Frequency, MILLISECONDS, stepMonths } from './frequency.js';

const DAY = 86_400_000;

/**
 * A regular grid of instants: `time(k)` is the k-th step after the anchor, `index(t)` its inverse (NaN where `t` lies
 * on no step). Times are milliseconds since 1970 UTC and may have a fraction down to microseconds.
 */
export interface Grid {
  time(k: number): number;
  index(t: number): number;
}

/**
 * The grid of a frequency through an anchor.
 *
 * @param anchorDay day of the month of calendar frequencies; 31 means "the last day", because it is cut to the length
 *   of each month. Defaults to the anchor's own day.
 */
export function gridOf(frequency: Frequency, anchor: number, anchorDay?: number): Grid {
  const months = stepMonths(frequency);
  if (months !== undefined) return calendarGrid(anchor, months, anchorDay);
  if (frequency.unit === 'B') return businessGrid(anchor, frequency.count);
  return fixedGrid(anchor, MILLISECONDS[frequency.unit]! * frequency.count);
}

/** A grid of equal steps, in milliseconds or (for `ds` given as plain integers) in counts. */
export function fixedGrid(anchor: number, step: number): Grid {
  // Microseconds are fractions of a millisecond in binary: half a microsecond of slack, and far less for whole numbers.
  const slack = Math.max(5e-4 / step, 1e-9);
  return {
    time: (k) => (Number.isInteger(step) ? anchor + k * step : Math.round((anchor + k * step) * 1000) / 1000),
    index: (t) => {
      const k = Math.round((t - anchor) / step);
      return Math.abs((t - anchor) / step - k) <= slack ? k : Number.NaN;
    },
  };
}

function calendarGrid(anchor: number, months: number, day?: number): Grid {
  const start = new Date(anchor);
  const anchorMonth = start.getUTCFullYear() * 12 + start.getUTCMonth();
  const anchorDay = day ?? start.getUTCDate();
  const timeOfDay = anchor - utc(start.getUTCFullYear(), start.getUTCMonth(), start.getUTCDate());
  const time = (k: number) => {
    const month = anchorMonth + k * months;
    const year = Math.floor(month / 12);
    const inYear = month - year * 12;
    return utc(year, inYear, Math.min(anchorDay, daysInMonth(year, inYear))) + timeOfDay;
  };
  return {
    time,
    index: (t) => {
      const date = new Date(t);
      const k = (date.getUTCFullYear() * 12 + date.getUTCMonth() - anchorMonth) / months;
      return Number.isInteger(k) && time(k) === t ? k : Number.NaN;
    },
  };
}

function businessGrid(anchor: number, count: number): Grid {
  // Monday 1970-01-05 starts a week; weekday 0 is Monday.
  const day = (t: number) => Math.floor(t / DAY) - 4;
  const ordinal = (d: number) => {
    const week = Math.floor(d / 7);
    return week * 5 + (d - week * 7);
  };
  const anchorDay = day(anchor);
  const timeOfDay = anchor - Math.floor(anchor / DAY) * DAY;
  const weekday = anchorDay - Math.floor(anchorDay / 7) * 7;
  // A weekend anchor (only possible when B was asked for) stands for the Friday before it.
  const origin = ordinal(weekday > 4 ? anchorDay - (weekday - 4) : anchorDay);
  const time = (k: number) => {
    const n = origin + k * count;
    const week = Math.floor(n / 5);
    return (week * 7 + (n - week * 5) + 4) * DAY + timeOfDay;
  };
  return {
    time,
    index: (t) => {
      const d = day(t);
      if (d - Math.floor(d / 7) * 7 > 4) return Number.NaN;
      const k = (ordinal(d) - origin) / count;
      return Number.isInteger(k) && time(k) === t ? k : Number.NaN;
    },
  };
}

/** Date.UTC without its habit of reading the years 0 to 99 as 19xx. */
export function utc(year: number, month: number, day: number): number {
  const date = new Date(0);
  date.setUTCFullYear(year, month, day);
  return date.getTime();
}

/** Days of a month (0 = January) of the Gregorian calendar. */
export function daysInMonth(year: number, month: number): number {
  if (month === 1) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 3 || month === 5 || month === 8 || month === 10 ? 30 : 31;
}
