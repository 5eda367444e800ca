import { AdderError, quote } from '../../platform/errors.js';

/** Time units, coarse to fine. Q counts quarters, B business days (Monday to Friday). */
export type Unit = 'Y' | 'Q' | 'M' | 'W' | 'D' | 'B' | 'H' | 'min' | 's' | 'ms' | 'us';

/** A regular sampling: one observation every `count` units. */
export interface Frequency {
  readonly count: number;
  readonly unit: Unit;
}

/** Months in the units that the calendar defines. */
export const MONTHS: Partial<Record<Unit, number>> = { Y: 12, Q: 3, M: 1 };

/** Milliseconds in the units of fixed length. B is a day here; its weekends are the grid's business. */
export const MILLISECONDS: Partial<Record<Unit, number>> = {
  W: 604_800_000,
  D: 86_400_000,
  B: 86_400_000,
  H: 3_600_000,
  min: 60_000,
  s: 1000,
  ms: 1,
  us: 0.001,
};

/** Spellings of pandas (old and new) and of everyday use, upper-cased except where case tells M from min. */
const ALIASES: Record<string, Unit> = {
  Y: 'Y',
  YE: 'Y',
  YS: 'Y',
  A: 'Y',
  AS: 'Y',
  BYE: 'Y',
  BYS: 'Y',
  BA: 'Y',
  BAS: 'Y',
  Q: 'Q',
  QE: 'Q',
  QS: 'Q',
  BQ: 'Q',
  BQE: 'Q',
  BQS: 'Q',
  M: 'M',
  ME: 'M',
  MS: 'M',
  BM: 'M',
  BME: 'M',
  BMS: 'M',
  W: 'W',
  D: 'D',
  B: 'B',
  H: 'H',
  T: 'min',
  MIN: 'min',
  S: 's',
  L: 'ms',
  U: 'us',
  US: 'us',
};

const EXAMPLES = 'Y, Q, M, W, D, B, H, 30min, 15min, 5min, 1min, 10s, 1s or a multiple such as 2H';

/**
 * Reads a pandas-style frequency: an optional count, a unit, an optional anchor (`W-SUN`, `QS-OCT`; the anchor is
 * dropped, because the timestamps themselves show it). Lower-case `ms` is milliseconds, upper-case `MS` month start.
 */
export function parseFrequency(text: string): Frequency {
  const match = /^\s*(\d{1,9})?\s*([A-Za-z]{1,5})(?:-[A-Za-z0-9]{1,4})?\s*$/.exec(text);
  const word = match?.[2] ?? '';
  const unit = word === 'ms' ? 'ms' : ALIASES[word.toUpperCase()];
  const count = match?.[1] === undefined ? 1 : Number(match[1]);
  if (!match || unit === undefined || count < 1) {
    throw new AdderError({
      code: 'BAD_FREQUENCY',
      message: `${quote(text)} is no frequency`,
      fix: `use one of ${EXAMPLES}`,
    });
  }
  return { count, unit };
}

/** The pandas-style name: `H`, `4W`, and for sub-hourly units always with a count, as in `1min`. */
export function formatFrequency({ count, unit }: Frequency): string {
  const short = MILLISECONDS[unit] !== undefined && MILLISECONDS[unit] < 3_600_000;
  return count === 1 && !short ? unit : `${count}${unit}`;
}

/** Calendar months of one step, or undefined for a frequency of fixed length. */
export function stepMonths({ count, unit }: Frequency): number | undefined {
  const months = MONTHS[unit];
  return months === undefined ? undefined : months * count;
}

/** Milliseconds of one step; for calendar units the average length. */
export function stepMilliseconds({ count, unit }: Frequency): number {
  const months = MONTHS[unit];
  return months === undefined ? MILLISECONDS[unit]! * count : (months * count * 365.2425 * 86_400_000) / 12;
}

/**
 * The frequency with the coarsest unit that expresses a step of `milliseconds` exactly: 3,600,000 gives H,
 * 900,000 gives 15min, 604,800,000 gives W. Steps finer than a microsecond do not exist.
 */
export function frequencyOfStep(milliseconds: number): Frequency {
  for (const unit of ['W', 'D', 'H', 'min', 's', 'ms', 'us'] as const) {
    const count = milliseconds / MILLISECONDS[unit]!;
    const whole = Math.round(count);
    if (whole >= 1 && Math.abs(count - whole) < 1e-6) return { count: whole, unit };
  }
  return { count: Math.max(1, Math.round(milliseconds * 1000)), unit: 'us' };
}

/** The frequency with the coarsest unit that expresses a step of whole months: 3 gives Q, 12 gives Y, 6 gives 6M. */
export function frequencyOfMonths(months: number): Frequency {
  if (months % 12 === 0) return { count: months / 12, unit: 'Y' };
  if (months === 3) return { count: 1, unit: 'Q' };
  return { count: months, unit: 'M' };
}

/**
 * The usual season of a frequency, in steps: the year for months, quarters and weeks (52), the week for days (7) and
 * business days (5), the day for hours and minutes. Seconds and finer have no usual season (1), nor have multiples
 * that do not divide it.
 */
export function defaultSeason(frequency: Frequency | string | undefined): number {
  if (frequency === undefined) return 1;
  const { count, unit } = typeof frequency === 'string' ? parseFrequency(frequency) : frequency;
  const months = stepMonths({ count, unit });
  const whole = (steps: number) => (Number.isInteger(steps) && steps > 1 ? steps : 1);
  if (months !== undefined) return whole(12 / months);
  if (unit === 'W') return whole(52 / count);
  if (unit === 'B') return whole(5 / count);
  if (unit === 'D') return whole(7 / count);
  if (unit === 'H') return whole(24 / count);
  if (unit === 'min') return whole(1440 / count);
  return 1;
}
