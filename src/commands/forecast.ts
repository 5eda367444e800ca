import { writeFile } from 'node:fs/promises';
import { type Fan, fanOf } from '../forecast/chart/fan.js';
import { svgChart } from '../forecast/chart/svg.js';
import { terminalAbilities, terminalChart } from '../forecast/chart/terminal.js';
import type { Forecaster } from '../forecast/forecaster.js';
import { describeModels, resolveForecaster } from '../forecast/models.js';
import { forecastTable } from '../forecast/output/table.js';
import { outputFormat, writeForecasts } from '../forecast/output/write.js';
import { predict, type SeriesForecast } from '../forecast/predict.js';
import { readCsv } from '../forecast/series/csv.js';
import { buildSeries, type Series } from '../forecast/series/series.js';
import { describeStack, parseStack, STACK_PARTS } from '../forecast/stack/stack.js';
import { parseFrequency } from '../forecast/time/frequency.js';
import { AdderError, oneLine, quote } from '../platform/errors.js';
import { type Command, checkOutput, integerOption, parseCommandLine, printNotice } from './command.js';

const help = `usage: adder forecast FILE.csv --h N [options]

Forecasts every series of a CSV file with the columns ds,y and, for several series, unique_id.
FILE may be - for standard input. Prints a table and a chart; warnings go to standard error.

  --h N             steps ahead (1 to 10000)
  --freq F          sampling: Y Q M W D B H 30min 15min 10min 5min 1min 10s 1s or a multiple (inferred)
  --season M        steps of one season (from the frequency or the data; 1 for none)
  --level 80,95     central intervals in percent (80,95)
  --model M         what forecasts (adder):
${describeModels()}
  --backend B       webgpu, wasm or reference, for the neural forecaster
  --stack PARTS     bare: the network alone, faster; or some of ${STACK_PARTS.join(',')}:
${describeStack()}
  --out FILE        write all forecasts to FILE.csv or FILE.json
  --plot FILE.svg   write a fan chart, one panel a series (24 at most)
  --id-col NAME, --time-col NAME, --target-col NAME
                    columns of the file if they are not unique_id, ds, y

Sorting, gaps, repeated rows and the like are handled and said; what cannot be handled is one line with a fix.
`;

const OPTIONS = {
  h: { type: 'string' },
  freq: { type: 'string' },
  season: { type: 'string' },
  level: { type: 'string', default: '80,95' },
  model: { type: 'string' },
  backend: { type: 'string' },
  stack: { type: 'string' },
  out: { type: 'string' },
  plot: { type: 'string' },
  'id-col': { type: 'string' },
  'time-col': { type: 'string' },
  'target-col': { type: 'string' },
} as const;

/** Series printed with table and chart; further ones are only counted. */
const MAX_PRINTED = 6;

async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseCommandLine('forecast', args, OPTIONS, 1);
  const option = (name: keyof typeof OPTIONS) => values[name] as string | undefined;
  const file = positionals[0];
  if (file === undefined) throw missing('the CSV file is missing', 'adder forecast FILE.csv --h 24');
  const horizon = integerOption(option('h'), '--h', 1, 10_000);
  if (horizon === undefined) throw missing('--h is missing: how many steps ahead?', 'e.g. --h 24');
  const season = integerOption(option('season'), '--season', 1, 100_000);
  const intervals = parseLevels(option('level') ?? '80,95');
  const frequency = option('freq') === undefined ? undefined : parseFrequency(option('freq')!);
  const out = option('out');
  const plot = option('plot');
  const stack = parseStack(option('stack'));
  if (out !== undefined) outputFormat(out);
  if (plot !== undefined && !plot.toLowerCase().endsWith('.svg')) {
    throw new AdderError({
      code: 'BAD_OPTION',
      message: 'the chart is an SVG',
      where: { file: plot },
      fix: 'end the name of --plot in .svg',
    });
  }

  await checkOutput(out);
  await checkOutput(plot);

  const columns = { id: option('id-col'), time: option('time-col'), target: option('target-col') };
  const table = await readCsv(file, {
    columns: Object.fromEntries(Object.entries(columns).filter(([, name]) => name !== undefined)),
    onProgress: (rows) => process.stderr.write(`read ${rows.toLocaleString('en')} rows …\n`),
  });
  const { series, notices } = buildSeries(table, { frequency, season });
  notices.forEach(printNotice);

  const forecaster = await resolveForecaster(option('model'), {
    backend: option('backend'),
    stack,
    onNotice: printNotice,
  });
  try {
    const forecasts = await predict(forecaster, series, horizon, intervals);
    print(forecaster, forecasts);
    if (out !== undefined) {
      await writeForecasts(out, forecaster.id, forecasts);
      process.stderr.write(`wrote ${out}\n`);
    }
    if (plot !== undefined) {
      const fans = forecasts
        .slice(0, 24)
        .map((forecast) => fanOf(forecast.series, forecast, forecast.series.id || titleOf(file)));
      const left = forecasts.length - fans.length;
      const caption = `${forecaster.id}, ${horizon} steps ahead${left > 0 ? `; ${left} more series not drawn` : ''}`;
      await writeFile(plot, svgChart(fans, { title: forecasts.length > 1 ? titleOf(file) : undefined, caption }));
      process.stderr.write(`wrote ${plot}\n`);
    }
    return 0;
  } finally {
    await forecaster.close?.();
  }
}

function print(forecaster: Forecaster, forecasts: SeriesForecast[]): void {
  const abilities = terminalAbilities(process.stdout);
  for (const forecast of forecasts.slice(0, MAX_PRINTED)) {
    process.stdout.write(`${describe(forecast.series, forecaster.id)}\n\n${forecastTable(forecast)}\n`);
    const fan: Fan = fanOf(forecast.series, forecast, '');
    process.stdout.write(`${terminalChart(fan, { ...abilities, height: 16 })}\n`);
  }
  if (forecasts.length > MAX_PRINTED) {
    process.stdout.write(
      `… and ${(forecasts.length - MAX_PRINTED).toLocaleString('en')} more series; --out FILE.csv writes all\n`,
    );
  }
}

/** One line on what was understood: id, length, sampling, season, model. */
export function describe(series: Series, model: string): string {
  const { id, values, frequency, season, seasonSource } = series;
  const sampling = frequency === undefined ? 'steps without a calendar' : `frequency ${frequency}`;
  const seasonal = season > 1 ? `season ${season} (${SEASON_SOURCE[seasonSource]})` : 'no season';
  return oneLine(
    `${id === '' ? '' : `${id}: `}${values.length.toLocaleString('en')} steps, ${sampling}, ${seasonal}, model ${model}`,
  );
}

const SEASON_SOURCE: Record<Series['seasonSource'], string> = {
  given: 'as given',
  frequency: 'usual for the frequency',
  detected: 'found in the data',
  none: 'none found',
};

function titleOf(file: string): string {
  const name = file.split(/[/\\]/).at(-1) ?? file;
  return file === '-' ? 'forecast' : name.replace(/\.[^.]*$/, '');
}

/** `80,95` as numbers; whole or decimal percentages, each once. */
export function parseLevels(text: string): number[] {
  const levels = text
    .split(',')
    .map((part) => (/^\s*\d{1,2}(\.\d{1,6})?\s*%?\s*$/.test(part) ? Number.parseFloat(part) : Number.NaN));
  if (!levels.every((level) => level > 0 && level < 100)) {
    throw new AdderError({
      code: 'BAD_LEVEL',
      message: `--level takes percentages between 0 and 100, not ${quote(text)}`,
      fix: 'e.g. --level 80,95',
    });
  }
  return [...new Set(levels)].sort((a, b) => a - b);
}

function missing(message: string, fix: string): AdderError {
  return new AdderError({ code: 'BAD_OPTION', message, fix });
}

export default { help, run } satisfies Command;
