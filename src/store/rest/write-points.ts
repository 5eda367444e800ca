import type { ColumnStore } from '../../forecast/series/columns.js';
import type { Caller } from '../../http/auth/caller.js';
import type { ApiContext } from '../../http/context.js';
import { RequestError } from '../../http/request-error.js';
import type { WriteResult } from '../points.js';

/** Writes what a request brought; series that do not exist are created. When it returns, all of it is committed. */
export async function writePoints(
  api: Pick<ApiContext, 'series' | 'points'>,
  caller: Caller,
  store: ColumnStore,
  place: { stream?: string | undefined; sequence?: string | undefined },
): Promise<WriteResult & { series: number }> {
  if (store.ids.length > caller.limits.seriesPerRequest) {
    throw new RequestError({
      status: 422,
      code: 'TOO_MUCH',
      message: `${store.ids.length} series, at most ${caller.limits.seriesPerRequest} fit in one request`,
      fix: 'send them in parts',
    });
  }
  const known = await api.series.ensure(
    caller.owner,
    store.ids.map((uniqueId) => ({ uniqueId })),
    caller.limits.storedSeries,
  );
  const ids = store.ids.map((name) => known.get(name)!.id);
  const length = store.length;
  const seriesIds = new BigInt64Array(length);
  for (let i = 0; i < length; i++) seriesIds[i] = ids[store.series[i]!]!;
  const result = await api.points.write(
    caller.owner,
    { seriesIds, times: store.time.subarray(0, length), values: store.value.subarray(0, length) },
    place.stream === undefined ? undefined : { stream: place.stream, sequence: BigInt(place.sequence!) },
  );
  return { ...result, series: ids.length };
}
