import { checkRequest } from '../baselines/local.js';
import type { Forecaster, ForecastRequest, ForecastResult } from '../forecaster.js';
import { gaussianQuantiles } from '../quantiles.js';

/**
 * Histories with fewer observations are answered without the network. On 3,600 beginnings of held-out training series
 * the random walk below beats it after two observations (quantile loss 1.11 against 1.20), but not after three (1.10
 * against 1.04).
 */
export const FEWEST = 3;

/** Spread of one step where there is nothing but one value: a share of it. Chosen on the same beginnings. */
const SHARE_OF_LEVEL = 0.02;
/** Standard deviation of one step over the mean absolute difference; √(π/2) ≈ 1.25 would be a normal distribution's. */
const SHARE_OF_DIFFERENCE = 0.8;

/** Answers histories of one or two observations with a random walk and leaves the others to the inner forecaster. */
export class ShortFallback implements Forecaster {
  readonly id: string;

  constructor(private readonly inner: Forecaster) {
    this.id = inner.id;
  }

  async forecast(requests: ForecastRequest[]): Promise<ForecastResult[]> {
    requests.forEach(checkRequest);
    const short = requests.map(({ history }) => history.reduce((n, v) => n + (Number.isNaN(v) ? 0 : 1), 0) < FEWEST);
    const rest = requests.filter((_, i) => !short[i]);
    const results = rest.length > 0 ? await this.inner.forecast(rest) : [];
    let next = 0;
    return requests.map((request, i) => (short[i] ? randomWalk(request) : results[next++]!));
  }

  async close(): Promise<void> {
    await this.inner.close?.();
  }
}

function randomWalk({ history, horizon, quantiles }: ForecastRequest): ForecastResult {
  const seen = history.filter((v) => !Number.isNaN(v));
  const last = seen[seen.length - 1]!;
  const step = seen.length > 1 ? SHARE_OF_DIFFERENCE * Math.abs(last - seen[0]!) : SHARE_OF_LEVEL * Math.abs(last);
  const mean = new Float64Array(horizon).fill(last);
  const sd = mean.map((_, h) => step * Math.sqrt(h + 1));
  return { quantiles: gaussianQuantiles(mean, sd, quantiles) };
}
