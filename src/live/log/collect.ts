import { ascending } from '../../store/point-order.js';
import type { ChangedPoints } from '../../store/points.js';
import type { Changes } from './entry.js';
import { partitionOf } from './partition.js';

/** More new points of one series in one transaction than this are history: their owner reads them from the store. */
const MANY = 256;

/** Changes of each partition, and the earliest changed time of each series. */
export interface Collected {
  byPartition: Map<number, Changes>;
  earliest: Map<bigint, number>;
}

/**
 * What the statements of a transaction changed, as entries for the log. A series whose points changed in another way
 * than by new ones is told as touched.
 */
export function collect(statements: readonly ChangedPoints[]): Collected {
  if (statements.length === 0) return { byPartition: new Map(), earliest: new Map() };
  return collectOne(statements.length === 1 ? statements[0]! : together(statements));
}

function together(statements: readonly ChangedPoints[]): ChangedPoints {
  const join = <T extends Float64Array | BigInt64Array>(parts: readonly T[], out: T): T => {
    let at = 0;
    for (const part of parts) {
      out.set(part as never, at);
      at += part.length;
    }
    return out;
  };
  const count = statements.reduce((sum, { fresh }) => sum + fresh.times.length, 0);
  const changes = statements.reduce((sum, { updated }) => sum + updated.times.length, 0);
  const fresh = ascending({
    seriesIds: join(
      statements.map((s) => s.fresh.seriesIds),
      new BigInt64Array(count),
    ),
    times: join(
      statements.map((s) => s.fresh.times),
      new Float64Array(count),
    ),
    values: join(
      statements.map((s) => s.fresh.values),
      new Float64Array(count),
    ),
  });
  const updated = {
    seriesIds: join(
      statements.map((s) => s.updated.seriesIds),
      new BigInt64Array(changes),
    ),
    times: join(
      statements.map((s) => s.updated.times),
      new Float64Array(changes),
    ),
  };
  return { fresh, updated };
}

function collectOne({ fresh, updated }: ChangedPoints): Collected {
  const earliest = new Map<bigint, number>();
  const touched = new Map<bigint, number>();
  for (let i = 0; i < updated.times.length; i++) {
    const id = updated.seriesIds[i]!;
    touched.set(id, Math.min(touched.get(id) ?? Number.POSITIVE_INFINITY, updated.times[i]!));
  }
  const runs = new Map<number, { from: number; to: number }[]>();
  const { seriesIds, times, values } = fresh;
  for (let from = 0; from < times.length; ) {
    const id = seriesIds[from]!;
    let to = from + 1;
    while (to < times.length && seriesIds[to] === id) to++;
    earliest.set(id, times[from]!);
    if (to - from > MANY) touched.set(id, Math.min(touched.get(id) ?? Number.POSITIVE_INFINITY, times[from]!));
    else if (!touched.has(id)) {
      const partition = partitionOf(id);
      const list = runs.get(partition);
      if (list) list.push({ from, to });
      else runs.set(partition, [{ from, to }]);
    } else touched.set(id, Math.min(touched.get(id)!, times[from]!));
    from = to;
  }
  const marks = new Map<number, [number, number][]>();
  for (const [id, from] of touched) {
    earliest.set(id, Math.min(earliest.get(id) ?? Number.POSITIVE_INFINITY, from));
    const partition = partitionOf(id);
    const list = marks.get(partition);
    if (list) list.push([Number(id), from]);
    else marks.set(partition, [[Number(id), from]]);
  }
  const byPartition = new Map<number, Changes>();
  for (const partition of new Set([...runs.keys(), ...marks.keys()])) {
    const list = runs.get(partition) ?? [];
    const count = list.reduce((sum, { from, to }) => sum + to - from, 0);
    const points = { ids: new Float64Array(count), times: new Float64Array(count), values: new Float64Array(count) };
    let at = 0;
    for (const { from, to } of list) {
      points.ids.fill(Number(seriesIds[from]!), at, at + to - from);
      points.times.set(times.subarray(from, to), at);
      points.values.set(values.subarray(from, to), at);
      at += to - from;
    }
    const mine = marks.get(partition) ?? [];
    byPartition.set(partition, {
      points,
      touched: { ids: Float64Array.from(mine, ([id]) => id), from: Float64Array.from(mine, ([, from]) => from) },
    });
  }
  return { byPartition, earliest };
}
