import { AdderError } from '../../platform/errors.js';
import type { Forecaster, ForecastRequest } from '../forecaster.js';

/** GPU and WASM sum in different orders; more than this share of the series' spread is a fault. */
const TOLERANCE = 0.02;

/** Four days of hours with a daily rhythm and a missing value: what any forecaster must continue sensibly. */
function request(): ForecastRequest {
  const history = Float64Array.from({ length: 96 }, (_, i) => 100 + 20 * Math.sin((2 * Math.PI * i) / 24) + (i % 5));
  history[40] = Number.NaN;
  return { history, horizon: 24, season: 24, frequency: 'H', quantiles: [0.1, 0.5, 0.9] };
}

/**
 * Throws `SELF_TEST` unless the forecaster continues a known series with finite, ordered quantiles near its range, and like
 * the oracle where there is one.
 */
export async function checkForecaster(forecaster: Forecaster, oracle?: () => Promise<Forecaster>): Promise<void> {
  const fail = (message: string) => {
    throw new AdderError({ code: 'SELF_TEST', message, fix: 'start with ADDER_BACKEND=wasm; report the driver' });
  };
  const [{ quantiles }] = (await forecaster.forecast([request()])) as [{ quantiles: Float64Array[] }];
  const [low, median, high] = quantiles as [Float64Array, Float64Array, Float64Array];
  for (let i = 0; i < 24; i++) {
    const values = [low[i]!, median[i]!, high[i]!];
    if (!values.every(Number.isFinite)) fail(`the self-test forecast of ${forecaster.id} is not finite`);
    if (values[0]! > values[1]! || values[1]! > values[2]!) fail(`the quantiles of ${forecaster.id} cross`);
    if (values[1]! < 0 || values[1]! > 200) fail(`the self-test forecast of ${forecaster.id} left its range`);
  }
  if (!oracle) return;
  const reference = await oracle();
  try {
    const [expected] = await reference.forecast([request()]);
    expected!.quantiles.forEach((values, q) => {
      values.forEach((value, i) => {
        const difference = Math.abs(value - quantiles[q]![i]!);
        if (difference > TOLERANCE * 40) fail(`${forecaster.id} on this backend differs from WASM by ${difference}`);
      });
    });
  } finally {
    await reference.close?.();
  }
}
