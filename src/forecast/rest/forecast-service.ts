import { paced } from '../../platform/pace.js';
import type { ForecastRequest } from '../forecaster.js';
import type { ModelNames } from '../model-names.js';
import { type CovariateColumn, type CovariateFit, effectOf, fitCovariates } from './covariates.js';
import type { EngineInfo, ForecastEngine } from './forecast-engine.js';

/** A history to be continued, with what may explain it. */
export interface Window {
  /** NaN is a missing value; at least one is not. */
  history: Float64Array;
  season: number;
  frequency: string | undefined;
  /** Step t of a column belongs to value t of the history; known ones go on over the horizon. */
  columns?: readonly CovariateColumn[];
}

export interface WindowForecast {
  /** One array of `horizon` values for each level asked for. */
  quantiles: Float64Array[];
  mean?: Float64Array;
  /** What covariates add to it, where there are any. */
  fit?: CovariateFit;
  /** Per column, its part of the forecast. */
  contributions?: Float64Array[];
}

export interface WantedForecast {
  horizon: number;
  /** Strictly increasing, each in (0, 1). */
  quantiles: number[];
  /** Who asks: models that this account fine-tuned may be named. */
  owner: string;
  /** Name of a model; the configured one when absent. */
  model?: string | null | undefined;
  signal?: AbortSignal;
}

/** Forecasts windows, covariates included. Every door that forecasts goes through here. */
export class ForecastService {
  constructor(
    readonly engine: ForecastEngine,
    readonly names: ModelNames,
  ) {}

  /** What runs a model. Throws `UNKNOWN_MODEL`. */
  async describe(owner: string, model?: string | null): Promise<EngineInfo> {
    return this.engine.describe(await this.names.resolve(owner, model));
  }

  async forecast(windows: readonly Window[], wanted: WantedForecast): Promise<WindowForecast[]> {
    const { horizon, quantiles, signal } = wanted;
    const model = await this.names.resolve(wanted.owner, wanted.model);
    const columns = await this.complete(windows, { horizon, model, signal });
    const fits = await paced(
      windows,
      ({ history, season }, i) => {
        const values = columns[i]!;
        return values.length > 0 ? fitCovariates(history, values, season) : undefined;
      },
      signal,
    );
    const requests = windows.map(
      (window, i): ForecastRequest => ({
        history: fits[i]
          ? without(window.history, effectOf(fits[i], columns[i]!, 0, window.history.length))
          : window.history,
        horizon,
        season: window.season,
        frequency: window.frequency,
        quantiles,
      }),
    );
    const results = await this.engine.forecast(requests, { model, ...(signal ? { signal } : {}) });
    return results.map((result, i) => {
      const fit = fits[i];
      if (!fit) return result;
      const from = windows[i]!.history.length;
      const effect = effectOf(fit, columns[i]!, from, horizon);
      const add = (values: Float64Array) => values.map((value, k) => value + effect[k]!);
      return {
        quantiles: result.quantiles.map(add),
        ...(result.mean ? { mean: add(result.mean) } : {}),
        fit,
        contributions: columns[i]!.map((column, j) => {
          const alone = { coefficients: Float64Array.of(fit.coefficients[j]!), means: Float64Array.of(fit.means[j]!) };
          return effectOf(alone, [column], from, horizon);
        }),
      };
    });
  }

  /** Columns over history and horizon: those that end with the history are continued by their own forecast. */
  private async complete(
    windows: readonly Window[],
    { horizon, model, signal }: { horizon: number; model: string | undefined; signal: AbortSignal | undefined },
  ): Promise<Float64Array[][]> {
    const asked: { window: number; column: number; request: ForecastRequest }[] = [];
    windows.forEach(({ history, season, frequency, columns }, window) => {
      columns?.forEach(({ values, known }, column) => {
        const past = values.subarray(0, history.length);
        if (known || !past.some((value) => !Number.isNaN(value))) return;
        asked.push({ window, column, request: { history: past, horizon, season, frequency, quantiles: [0.5] } });
      });
    });
    const forecasts =
      asked.length === 0
        ? []
        : await this.engine.forecast(
            asked.map(({ request }) => request),
            { model, ...(signal ? { signal } : {}) },
          );
    const out = windows.map(({ columns }) => (columns ?? []).map(({ values }) => values));
    asked.forEach(({ window, column, request }, i) => {
      const joined = new Float64Array(request.history.length + horizon);
      joined.set(request.history);
      joined.set(forecasts[i]!.quantiles[0]!, request.history.length);
      out[window]![column] = joined;
    });
    return out;
  }
}

const without = (values: Float64Array, effect: Float64Array) => values.map((value, i) => value - effect[i]!);
