import type { Forecaster, ForecastRequest, ForecastResult } from '../forecaster.js';

/**
 * The mean of a forecast and of the mirrored forecast of the mirrored series. What is no series' nature but the
 * network's, a leaning to one side, cancels. The mirror image of level p is minus level 1 − p, so the levels must be
 * symmetric about the median.
 */
export class FlipAverage implements Forecaster {
  readonly id: string;

  constructor(private readonly inner: Forecaster) {
    this.id = inner.id;
  }

  async forecast(requests: ForecastRequest[]): Promise<ForecastResult[]> {
    const mirrored = requests.map((request) => ({ ...request, history: request.history.map((v) => -v) }));
    const results = await this.inner.forecast([...requests, ...mirrored]);
    return requests.map((_, i) => {
      const { quantiles } = results[i]!;
      const mirror = results[requests.length + i]!.quantiles;
      return {
        quantiles: quantiles.map((values, q) => values.map((v, t) => (v - mirror[quantiles.length - 1 - q]![t]!) / 2)),
      };
    });
  }

  async close(): Promise<void> {
    await this.inner.close?.();
  }
}
