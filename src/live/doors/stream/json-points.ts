import { AdderError, quote } from '../../../platform/errors.js';
import { checkName, isStorableTime } from '../../../store/checks.js';
import { instantReader } from '../../../store/rest/read-points.js';

/** Takes one point: name of the series, milliseconds since 1970, value (NaN is missing). */
export type PointSink = (series: string, time: number, value: number) => void;

/** Series whose way of writing times is remembered. */
const MAX_READERS = 10_000;

/**
 * Reads points from JSON: `{"series", "timestamp", "value"}`, the same with the names of a data frame (`unique_id`, `ds`,
 * `y`), or by column with `timestamps` and `values`. `null` is a missing value. A stream has one reader, because ways of
 * writing times are learnt from the series' first one.
 */
export class JsonPoints {
  private readonly readers = new Map<string, (value: unknown) => number>();

  /** Throws AdderErrors that name the field; then nothing was given to the sink. */
  read(value: unknown, sink: PointSink): void {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw notAPoint();
    const fields = value as Record<string, unknown>;
    const series = checkName(nameOf(fields.series ?? fields.unique_id), 'series');
    if ('values' in fields || 'timestamps' in fields) this.readColumns(series, fields, sink);
    else {
      const time = this.timeOf(series, fields.timestamp ?? fields.ds, 'timestamp');
      sink(series, time, numberOf(series, 'value' in fields ? fields.value : fields.y, 'value'));
    }
  }

  private readColumns(series: string, { timestamps, values }: Record<string, unknown>, sink: PointSink): void {
    if (!Array.isArray(timestamps) || !Array.isArray(values) || timestamps.length !== values.length) {
      throw new AdderError({
        code: 'LENGTH_MISMATCH',
        message: 'timestamps and values must be arrays of one length',
        where: { series, field: 'timestamps' },
        fix: 'give one timestamp for each value',
      });
    }
    const times = timestamps.map((time, i) => this.timeOf(series, time, `timestamps[${i}]`));
    const numbers = values.map((value, i) => numberOf(series, value, `values[${i}]`));
    for (let i = 0; i < times.length; i++) sink(series, times[i]!, numbers[i]!);
  }

  private timeOf(series: string, value: unknown, field: string): number {
    let time: number;
    if (typeof value === 'number') time = Math.round(value);
    else {
      let read = this.readers.get(series);
      if (!read) {
        if (this.readers.size >= MAX_READERS) this.readers.clear();
        read = instantReader();
        this.readers.set(series, read);
      }
      try {
        time = read(value);
      } catch (error) {
        throw error instanceof AdderError ? error.at({ series, field }) : error;
      }
    }
    if (isStorableTime(time)) return time;
    throw new AdderError({
      code: 'BAD_TIMESTAMP',
      message: 'this time lies outside the years 1 to 9999',
      where: { series, field },
      fix: 'send milliseconds since 1970 or an ISO 8601 date',
    });
  }
}

function nameOf(name: unknown): string {
  if (typeof name === 'string') return name;
  throw new AdderError({
    code: 'BAD_SERIES',
    message: name === undefined ? 'this point names no series' : 'the name of a series is a text',
    where: { field: 'series' },
    fix: 'add "series"',
  });
}

function numberOf(series: string, value: unknown, field: string): number {
  if (value === null) return Number.NaN;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw new AdderError({
    code: 'BAD_VALUE',
    message: `expected a number or null, got ${value === undefined ? 'nothing' : quote(String(value))}`,
    where: { series, field },
    fix: 'send a finite number, or null for a missing value',
  });
}

const notAPoint = () =>
  new AdderError({
    code: 'BAD_JSON',
    message: 'expected an object',
    fix: 'send {"series": "a", "timestamp": 1700000000000, "value": 1.5}',
  });
