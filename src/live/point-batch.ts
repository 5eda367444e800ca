/** Rows of a door as points of the store, and back: what became of each write. */
import type { ColumnStore } from '../forecast/series/columns.js';
import { AdderError, quote } from '../platform/errors.js';
import { checkName, isStorableTime } from '../store/checks.js';
import type { ChangedPoints, PointColumns, WriteResult } from '../store/points.js';
import type { Rejection } from './ingest.js';

/**
 * Rows that can be stored. With `rejected` the others are told there.
 * Otherwise throws `BAD_NAME`, `BAD_TIMESTAMP` or `BAD_VALUE` for the first that cannot.
 */
export function checked(rows: ColumnStore, rejected: Rejection[] | undefined): Uint32Array {
  const names = rows.ids.map((name) => {
    try {
      checkName(name, 'unique_id');
      return undefined;
    } catch (error) {
      return error as AdderError;
    }
  });
  const good = new Uint32Array(rows.length);
  let length = 0;
  for (let row = 0; row < rows.length; row++) {
    const error = names[rows.series[row]!] ?? fault(rows, row);
    if (!error) good[length++] = row;
    else if (!rejected) throw error;
    else {
      rejected.push({
        index: row,
        series: rows.ids[rows.series[row]!]!,
        code: error.code as Rejection['code'],
        message: error.message,
      });
    }
  }
  return good.subarray(0, length);
}

function fault(rows: ColumnStore, row: number): AdderError | undefined {
  const series = rows.ids[rows.series[row]!]!;
  if (!isStorableTime(rows.time[row]!)) {
    return new AdderError({
      code: 'BAD_TIMESTAMP',
      message: `point ${row} has a time outside the years 1 to 9999`,
      where: { series, field: `points[${row}].timestamp` },
      fix: 'send milliseconds since 1970 or an ISO 8601 date',
    });
  }
  const value = rows.value[row]!;
  if (value === Number.POSITIVE_INFINITY || value === Number.NEGATIVE_INFINITY) {
    return new AdderError({
      code: 'BAD_VALUE',
      message: `point ${row} of ${quote(series)} is infinite`,
      where: { series, field: `points[${row}].value` },
      fix: 'send null for a missing value',
    });
  }
  return undefined;
}

export function toColumns(rows: ColumnStore, good: Uint32Array, numbers: ReadonlyMap<string, bigint>): PointColumns {
  const ids = rows.ids.map((name) => numbers.get(name) ?? 0n);
  const points = {
    seriesIds: new BigInt64Array(good.length),
    times: new Float64Array(good.length),
    values: new Float64Array(good.length),
  };
  good.forEach((row, i) => {
    points.seriesIds[i] = ids[rows.series[row]!]!;
    points.times[i] = rows.time[row]!;
    points.values[i] = rows.value[row]!;
  });
  return points;
}

export function merged(items: readonly { points: PointColumns }[]): PointColumns {
  if (items.length === 1) return items[0]!.points;
  const total = items.reduce((sum, { points }) => sum + points.times.length, 0);
  const out = {
    seriesIds: new BigInt64Array(total),
    times: new Float64Array(total),
    values: new Float64Array(total),
  };
  let at = 0;
  for (const { points } of items) {
    out.seriesIds.set(points.seriesIds, at);
    out.times.set(points.times, at);
    out.values.set(points.values, at);
    at += points.times.length;
  }
  return out;
}

/** Splits what became of writes that shared a statement among them. */
export function share(
  items: readonly { points: PointColumns }[],
  total: WriteResult,
  changed: readonly ChangedPoints[],
): WriteResult[] {
  if (items.length === 1) return [total];
  const rows = items.reduce((sum, { points }) => sum + points.times.length, 0);
  const whole = total.inserted === rows ? 'inserted' : total.unchanged === rows ? 'unchanged' : undefined;
  const none = { inserted: 0, updated: 0, unchanged: 0, repeated: false };
  if (whole) return items.map(({ points }) => ({ ...none, [whole]: points.times.length }));
  const left = new Map<string, 'inserted' | 'updated'>();
  const name = (id: bigint, time: number) => `${id} ${time}`;
  for (const { fresh, updated } of changed) {
    fresh.times.forEach((time, i) => {
      left.set(name(fresh.seriesIds[i]!, time), 'inserted');
    });
    updated.times.forEach((time, i) => {
      left.set(name(updated.seriesIds[i]!, time), 'updated');
    });
  }
  return items.map(({ points }) => {
    const mine = { ...none };
    points.times.forEach((time, i) => {
      const point = name(points.seriesIds[i]!, time);
      mine[left.get(point) ?? 'unchanged']++;
      left.delete(point);
    });
    return mine;
  });
}
