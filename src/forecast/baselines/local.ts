import { setImmediate as breathe } from 'node:timers/promises';
import { AdderError } from '../../platform/errors.js';
import type { Forecaster, ForecastRequest, ForecastResult } from '../forecaster.js';

/** Statistical methods look at this many recent observations: what lies further back moves nothing but the run time. */
export const MAX_HISTORY = 20_000;

/** Between two breaths of the event loop, so that signals, timers and other requests are served. */
const SLICE_MS = 50;

/** A method that is fitted to one series at a time. The history has at least one finite value. */
export type LocalMethod = (request: ForecastRequest) => ForecastResult;

/** A Forecaster that fits a statistical method to each history on its own. */
export class LocalForecaster implements Forecaster {
  constructor(
    readonly id: string,
    private readonly method: LocalMethod,
  ) {}

  async forecast(requests: ForecastRequest[]): Promise<ForecastResult[]> {
    const results: ForecastResult[] = [];
    let sliceEnds = performance.now() + SLICE_MS;
    for (const request of requests) {
      checkRequest(request);
      const { history } = request;
      const recent = history.length > MAX_HISTORY ? history.subarray(history.length - MAX_HISTORY) : history;
      // A history whose recent part is all missing is still a history.
      const usable = recent === history || recent.some(Number.isFinite) ? recent : history;
      results.push(this.method({ ...request, history: usable, season: Math.max(1, Math.round(request.season)) }));
      if (performance.now() > sliceEnds) {
        await breathe();
        sliceEnds = performance.now() + SLICE_MS;
      }
    }
    return results;
  }
}

/** Refuses what no forecaster can answer; every Forecaster calls this on each request. */
export function checkRequest({ history, horizon, quantiles }: ForecastRequest): void {
  if (!history.some(Number.isFinite)) {
    throw new AdderError({
      code: 'NO_VALUES',
      message: 'the history holds no value',
      fix: 'give at least one observation',
    });
  }
  if (history.some((v) => v === Number.POSITIVE_INFINITY || v === Number.NEGATIVE_INFINITY)) {
    throw new AdderError({
      code: 'NOT_FINITE',
      message: 'the history holds an infinite value',
      fix: 'mark missing values as NaN',
    });
  }
  if (!Number.isInteger(horizon) || horizon < 1) {
    throw new AdderError({
      code: 'BAD_HORIZON',
      message: `the horizon is a whole number from 1, not ${horizon}`,
      fix: 'e.g. --h 24',
    });
  }
  for (let i = 0; i < quantiles.length; i++) {
    if (!(quantiles[i]! > 0 && quantiles[i]! < 1) || (i > 0 && !(quantiles[i]! > quantiles[i - 1]!))) {
      throw new AdderError({
        code: 'BAD_LEVEL',
        message: 'quantile levels lie between 0 and 1 and increase',
        fix: 'e.g. 0.1, 0.5, 0.9',
      });
    }
  }
}
