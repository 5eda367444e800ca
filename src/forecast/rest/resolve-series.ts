import type { Account } from '../../platform/account.js';
import { AdderError } from '../../platform/errors.js';
import { paced } from '../../platform/pace.js';
import { inSeries, RequestError } from '../../platform/request-error.js';
import type { PointReader } from '../../store/point-reader.js';
import type { SeriesStore } from '../../store/series.js';
import { type PrepareDefaults, type PreparedSeries, prepareSeries } from './prepare.js';
import type { SeriesInput } from './series-input.js';

/** Points of a stored series that are read when the request does not say: more than any forecaster looks at. */
const DEFAULT_LAST = 4096;

/** The series of a request on their grids, stored ones read; errors name the series and its place in the request. */
export async function resolveSeries(
  stores: { series: SeriesStore; reader: PointReader },
  account: Account,
  inputs: readonly SeriesInput[],
  defaults: PrepareDefaults,
  signal?: AbortSignal,
): Promise<PreparedSeries[]> {
  checkSize(account, inputs, defaults.horizon);
  const stored = await stores.series.find(
    account.owner,
    inputs.flatMap(({ stored }) => (stored === undefined ? [] : [stored])),
  );
  const loaded: (SeriesInput & { values: Float64Array; times?: Float64Array })[] = [];
  for (const [i, input] of inputs.entries()) {
    if (input.stored === undefined) {
      loaded.push(input as SeriesInput & { values: Float64Array });
      continue;
    }
    const row = stored.get(input.stored);
    if (!row) {
      throw new RequestError({
        status: 404,
        code: 'UNKNOWN_SERIES',
        message: `there is no series ${JSON.stringify(input.stored)}`,
        where: { series: input.stored, field: `series[${i}].stored` },
        index: i,
        fix: 'create it by writing points to it, or check the spelling',
      });
    }
    const limit = Math.min(input.last ?? DEFAULT_LAST, account.limits.pointsPerRequest);
    const { times, values } = await stores.reader.read(row.id, { limit, last: true });
    signal?.throwIfAborted();
    if (values.length === 0) {
      throw inSeries(
        new AdderError({ code: 'NO_VALUES', message: 'this series has no points', fix: 'write points to it first' }),
        i,
        input.stored,
      );
    }
    loaded.push({
      ...input,
      id: input.id ?? input.stored,
      values,
      times,
      frequency: input.frequency ?? row.freq ?? undefined,
      season: input.season ?? row.season ?? undefined,
    });
  }
  return paced(
    loaded,
    (input, i) => {
      const id = input.id ?? String(i);
      try {
        return prepareSeries(input, id, defaults);
      } catch (error) {
        throw error instanceof AdderError ? inSeries(error, i, id) : error;
      }
    },
    signal,
  );
}

function checkSize({ limits }: Account, inputs: readonly SeriesInput[], horizon: number): void {
  const refuse = (message: string, field: string, fix: string) => {
    throw new RequestError({ status: 422, code: 'TOO_MUCH', message, where: { field }, fix });
  };
  if (inputs.length > limits.seriesPerRequest) {
    refuse(
      `${inputs.length} series, at most ${limits.seriesPerRequest} fit in one request`,
      'series',
      'send them in parts',
    );
  }
  if (horizon > limits.horizon)
    refuse(`a horizon of ${horizon} steps, at most ${limits.horizon}`, 'horizon', 'ask for fewer steps');
  const points = inputs.reduce((sum, { values }) => sum + (values?.length ?? 0) + horizon, 0);
  if (points > limits.pointsPerRequest) {
    refuse(`${points} points, at most ${limits.pointsPerRequest} fit in one request`, 'series', 'send them in parts');
  }
}

/** Refuses rolling work that would not end while a client waits. */
export function checkWindows(windows: number, horizon: number): void {
  const most = Math.min(MAX_WINDOWS, Math.floor(2_000_000 / horizon));
  if (windows <= most) return;
  throw new RequestError({
    status: 422,
    code: 'TOO_MUCH',
    message: `${windows} forecasts would be needed, at most ${most} fit in one request`,
    where: { field: 'series' },
    fix: 'send fewer series, fewer windows or a longer stride, or use a job (POST /v1/jobs)',
  });
}

const MAX_WINDOWS = 50_000;
