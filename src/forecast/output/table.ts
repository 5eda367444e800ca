import { oneLine } from '../../platform/errors.js';
import type { SeriesForecast } from '../predict.js';
import type { OutputColumn } from './columns.js';

/** Rows of one series in a terminal; more go through `--out`. */
const MAX_ROWS = 60;

/**
 * The forecast of one series as text: time, median, intervals from the widest low to the widest high, and held-out
 * values where they are given. Numbers carry the digits that the width of the forecast justifies.
 */
export function forecastTable(forecast: SeriesForecast, extra: OutputColumn[] = []): string {
  const { series, horizon, median, mean, intervals } = forecast;
  const wide = [...intervals].sort((a, b) => b.percent - a.percent);
  const columns: OutputColumn[] = [
    { name: 'median', values: median },
    ...(mean ? [{ name: 'mean', values: mean }] : []),
    ...wide.map(({ percent, low }) => ({ name: `low ${percent} %`, values: low })),
    ...wide.toReversed().map(({ percent, high }) => ({ name: `high ${percent} %`, values: high })),
    ...extra,
  ];
  const digits = decimals(columns.map((column) => column.values));
  const rows = Math.min(horizon, MAX_ROWS);
  const times = Array.from({ length: rows }, (_, k) => oneLine(series.labelAt(series.values.length + k)));
  const cells = columns.map(({ name, values }) => [
    name,
    ...Array.from({ length: rows }, (_, k) => formatNumber(values[k]!, digits)),
  ]);
  const timeColumn = ['ds', ...times];
  const timeWidth = Math.max(...timeColumn.map((cell) => cell.length));
  const widths = cells.map((column) => Math.max(...column.map((cell) => cell.length)));
  const lines = timeColumn.map((time, r) =>
    [time.padEnd(timeWidth), ...cells.map((column, c) => column[r]!.padStart(widths[c]!))].join('  ').trimEnd(),
  );
  if (horizon > rows) lines.push(`… ${horizon - rows} more rows; --out FILE.csv writes all`);
  return `${lines.join('\n')}\n`;
}

/**
 * Decimals so that the spread of the numbers has four significant digits; none for large numbers, and undefined (powers
 * of ten) if even the largest is tiny.
 */
function decimals(columns: Float64Array[]): number | undefined {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  let largest = 0;
  for (const values of columns) {
    for (const v of values) {
      if (!Number.isFinite(v)) continue;
      low = Math.min(low, v);
      high = Math.max(high, v);
      largest = Math.max(largest, Math.abs(v));
    }
  }
  const spread = high > low ? high - low : largest;
  if (largest > 0 && largest < 1e-5) return undefined;
  if (!(spread > 0)) return 0;
  return Math.min(8, Math.max(0, 3 - Math.floor(Math.log10(spread))));
}

function formatNumber(value: number, digits: number | undefined): string {
  if (Number.isNaN(value)) return '-';
  if (digits === undefined || Math.abs(value) >= 1e15) return value.toExponential(4);
  return value.toFixed(digits).replace(/^-(0(?:\.0*)?)$/, '$1');
}
