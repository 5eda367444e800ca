import type { LiveOutput } from '../../feed.js';

const escaped = (text: string) => text.replace(/[\\"\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`));

/**
 * Present forecasts in the text format of Prometheus. Without timestamps: a forecast lies in the future, where Prometheus
 * takes no samples, so the step ahead is a label.
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */
export function exposition(outputs: readonly LiveOutput[], steps: readonly number[]): string {
  const forecasts: string[] = [];
  const seen: string[] = [];
  const scores: string[] = [];
  for (const { series, levels, quantiles, times, at, scores: own } of outputs) {
    const label = `series="${escaped(series)}"`;
    for (const step of steps) {
      if (step > times.length) continue;
      levels.forEach((level, i) => {
        forecasts.push(`adder_forecast{${label},quantile="${level}",step="${step}"} ${quantiles[i]![step - 1]}`);
      });
    }
    seen.push(`adder_forecast_last_value_timestamp_seconds{${label}} ${at / 1000}`);
    const last = own.at(-1);
    if (last) scores.push(`adder_anomaly_score{${label}} ${last.score}`);
  }
  return [
    '# HELP adder_forecast Quantile of the forecast of a series, step steps after its latest value',
    '# TYPE adder_forecast gauge',
    ...forecasts,
    '# HELP adder_forecast_last_value_timestamp_seconds Time of the latest value that the forecast has seen',
    '# TYPE adder_forecast_last_value_timestamp_seconds gauge',
    ...seen,
    '# HELP adder_anomaly_score Distance of the latest value from its forecast, standard deviations',
    '# TYPE adder_anomaly_score gauge',
    ...scores,
    '',
  ].join('\n');
}
