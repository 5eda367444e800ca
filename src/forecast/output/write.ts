import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { extname } from 'node:path';
import { finished } from 'node:stream/promises';
import { AdderError } from '../../platform/errors.js';
import type { SeriesForecast } from '../predict.js';
import { outputColumns } from './columns.js';

/** Formats that `--out` writes, by the file's extension. */
export type OutputFormat = 'csv' | 'json';

/** The format of an output file; an AdderError if its extension is neither .csv nor .json. */
export function outputFormat(file: string): OutputFormat {
  const extension = extname(file).toLowerCase();
  if (extension === '.csv' || extension === '.json') return extension.slice(1) as OutputFormat;
  throw new AdderError({
    code: 'BAD_OPTION',
    message: `cannot tell the format of the output from ${extension === '' ? 'a name without extension' : `the extension ${extension}`}`,
    where: { file },
    fix: 'end the name in .csv or .json',
  });
}

/** Writes forecasts to a file, series by series, so that memory does not grow with their number. */
export async function writeForecasts(file: string, model: string, forecasts: SeriesForecast[]): Promise<void> {
  const format = outputFormat(file);
  const stream = createWriteStream(file);
  // Errors surface through `finished`; without a listener an early one would be unhandled.
  const done = finished(stream);
  done.catch(() => {});
  const lines = format === 'csv' ? csvLines(model, forecasts) : jsonLines(model, forecasts);
  for (const line of lines) {
    if (stream.destroyed) break;
    if (!stream.write(line)) await Promise.race([once(stream, 'drain'), done]);
  }
  stream.end();
  await done;
}

function* csvLines(model: string, forecasts: SeriesForecast[]): Generator<string> {
  const withId = forecasts.length > 1 || forecasts[0]?.series.id !== '';
  const names = forecasts[0] ? outputColumns(model, forecasts[0]).map((column) => column.name) : [];
  yield `${[...(withId ? ['unique_id'] : []), 'ds', ...names].map(csvField).join(',')}\n`;
  for (const forecast of forecasts) {
    const columns = outputColumns(model, forecast);
    const past = forecast.series.values.length;
    const id = withId ? `${csvField(forecast.series.id)},` : '';
    let block = '';
    for (let k = 0; k < forecast.horizon; k++) {
      block += `${id}${csvField(forecast.series.labelAt(past + k))},${columns.map(({ values }) => String(values[k])).join(',')}\n`;
    }
    yield block;
  }
}

function* jsonLines(model: string, forecasts: SeriesForecast[]): Generator<string> {
  yield `{"model":${JSON.stringify(model)},"series":[`;
  for (const [i, forecast] of forecasts.entries()) {
    const { series, horizon } = forecast;
    const times = Array.from({ length: horizon }, (_, k) => series.labelAt(series.values.length + k));
    const record = {
      unique_id: series.id,
      frequency: series.frequency ?? null,
      season: series.season,
      ds: times,
      ...Object.fromEntries(outputColumns(model, forecast).map(({ name, values }) => [name, [...values]])),
    };
    yield `${i === 0 ? '\n' : ',\n'}${JSON.stringify(record)}`;
  }
  yield '\n]}\n';
}

/** Quotes a field if it holds a separator, a quote or a line break. */
function csvField(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
