import type { PointColumns } from './points.js';

/**
 * The points ascending by (series, time), each such pair once: of repetitions the last one stays. One order for all
 * writers means that no two can wait for each other's rows, and one statement may not touch a row twice.
 * Columns that are in order already are returned as they are.
 */
export function ascending(points: PointColumns): PointColumns {
  const { seriesIds, times, values } = points;
  const length = times.length;
  let i = 1;
  while (i < length && before(points, i - 1, i)) i++;
  if (i >= length) return points;

  // Batches of many series repeat few ids; their rank as a number sorts much faster than the bigint.
  const ids = [...new Set(seriesIds)].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  const rankOf = new Map(ids.map((id, rank) => [id, rank]));
  const rank = Uint32Array.from(seriesIds, (id) => rankOf.get(id)!);
  // Equal pairs keep the order of arrival, because the index breaks the tie.
  const order = Uint32Array.from({ length }, (_, k) => k).sort(
    (a, b) => rank[a]! - rank[b]! || times[a]! - times[b]! || a - b,
  );
  const out: PointColumns = {
    seriesIds: new BigInt64Array(length),
    times: new Float64Array(length),
    values: new Float64Array(length),
  };
  let size = 0;
  for (let k = 0; k < length; k++) {
    const at = order[k]!;
    const next = order[k + 1];
    if (next !== undefined && rank[next] === rank[at] && times[next] === times[at]) continue;
    out.seriesIds[size] = seriesIds[at]!;
    out.times[size] = times[at]!;
    out.values[size++] = values[at]!;
  }
  return {
    seriesIds: out.seriesIds.subarray(0, size),
    times: out.times.subarray(0, size),
    values: out.values.subarray(0, size),
  };
}

const before = ({ seriesIds, times }: PointColumns, a: number, b: number) =>
  seriesIds[a] === seriesIds[b] ? times[a]! < times[b]! : seriesIds[a]! < seriesIds[b]!;
