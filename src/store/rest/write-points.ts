import type { ColumnStore } from '../../forecast/series/columns.js';
import type { Caller } from '../../http/auth/caller.js';
import type { ApiContext } from '../../http/context.js';
import { RequestError } from '../../platform/request-error.js';
import type { WriteResult } from '../points.js';

/** Writes what a request brought; series that do not exist are created. When it returns, all of it is committed. */
export async function writePoints(
  api: Pick<ApiContext, 'live'>,
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
  const { rejected: _, ...result } = await api.live.ingest.write(
    caller,
    store,
    place.stream === undefined ? {} : { stream: place.stream, sequence: BigInt(place.sequence!) },
  );
  return result;
}
