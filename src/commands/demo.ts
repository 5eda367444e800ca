import { writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LocalForecaster } from '../forecast/baselines/local.js';
import { seasonalNaive } from '../forecast/baselines/naive.js';
import { fanOf } from '../forecast/chart/fan.js';
import { svgChart } from '../forecast/chart/svg.js';
import { terminalAbilities, terminalChart } from '../forecast/chart/terminal.js';
import { mase } from '../forecast/metrics.js';
import { forecastTable } from '../forecast/output/table.js';
import { predict } from '../forecast/predict.js';
import { readCsv } from '../forecast/series/csv.js';
import { buildSeries, type Series } from '../forecast/series/series.js';
import { loadConfig } from '../platform/config.js';
import { AdderError } from '../platform/errors.js';
import { type Command, checkOutput, parseCommandLine } from './command.js';
import { startService } from './demo-service.js';
import { describe } from './forecast.js';

const help = `usage: adder demo [options]

Starts the service, stores a bundled real series in its database and asks for a forecast over HTTP: US housing starts
by month, not seasonally adjusted (US Census Bureau, public domain). The last 12 months are held out, so that the
forecast can be compared with what came. Prints a table and a chart, and writes an SVG fan chart beside the data.

  --model M         what forecasts (adder; GET /v1/models lists them)
  --backend B       webgpu or wasm, for the neural forecaster
  --plot FILE.svg   where to write the chart
  --keep            leave the service up until Ctrl-C, and print its address
`;

const OPTIONS = {
  model: { type: 'string' },
  backend: { type: 'string' },
  plot: { type: 'string' },
  keep: { type: 'boolean' },
} as const;

const TITLE = 'US housing starts, thousands a month';
const NAME = 'us-housing-starts';
const HORIZON = 12;
const LEVELS = [80, 95];

/** The examples folder: the compiled command lies in dist/src/commands, the source in src/commands. */
function examples(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const root = here.includes(join('dist', 'src')) ? join(here, '..', '..', '..') : join(here, '..', '..');
  return join(root, 'examples');
}

/** What `POST /v1/forecasts` answers, as far as it is shown. */
interface Answer {
  model: string;
  backend: string;
  forecasts: { median: number[]; intervals: Record<string, { low: number[]; high: number[] }> }[];
}

async function send<T>(address: string, path: string, type: string, body: string): Promise<T> {
  const response = await fetch(address + path, { method: 'POST', headers: { 'content-type': type }, body });
  const answer = (await response.json()) as T & { code: string; detail: string; fix: string };
  if (response.ok) return answer;
  throw new AdderError({ code: answer.code, message: answer.detail, where: { field: path }, fix: answer.fix });
}

async function run(args: string[]): Promise<number> {
  const { values } = parseCommandLine('demo', args, OPTIONS, 0);
  const option = (name: 'model' | 'backend' | 'plot') => values[name] as string | undefined;
  const plot = option('plot') ?? join(examples(), `${NAME}.forecast.svg`);
  await checkOutput(plot);
  const { series } = buildSeries(await readCsv(join(examples(), `${NAME}.csv`)));
  const whole = series[0]!;
  const split = whole.values.length - HORIZON;
  const past: Series = { ...whole, id: TITLE, values: whole.values.subarray(0, split) };
  const actual = whole.values.subarray(split);

  const service = await startService({
    PORT: process.env.PORT ?? '0',
    // Not the folder of `npm start`: what is stored there, keys among it, is none of the demo's business.
    ADDER_DATA_DIR: join(loadConfig({ ADDER_DATA_DIR: process.env.ADDER_DATA_DIR }).dataDir, 'demo'),
    ...(option('backend') ? { ADDER_BACKEND: option('backend')! } : {}),
  });
  try {
    const rows = Array.from(past.values, (value, k) => `${past.labelAt(k)},${value}`);
    await send(service.address, `/v1/series/${NAME}/points`, 'text/csv', `ds,y\n${rows.join('\n')}\n`);
    const request = {
      series: [{ stored: NAME, frequency: past.frequency }],
      horizon: HORIZON,
      levels: LEVELS,
      ...(option('model') ? { model: option('model') } : {}),
    };
    const answer = await send<Answer>(service.address, '/v1/forecasts', 'application/json', JSON.stringify(request));
    await show(past, actual, answer, plot);
    if (values.keep) {
      process.stdout.write(
        `the service is up at ${service.address}; the API is described at ${service.address}/docs\n`,
      );
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void service.stop());
      await service.ended;
    }
    return 0;
  } finally {
    await service.stop();
  }
}

async function show(past: Series, actual: Float64Array, answer: Answer, plot: string): Promise<void> {
  const [forecast] = answer.forecasts;
  const median = Float64Array.from(forecast!.median);
  const intervals = LEVELS.map((percent) => {
    const { low, high } = forecast!.intervals[String(percent)]!;
    return { percent, low: Float64Array.from(low), high: Float64Array.from(high) };
  });
  const [reference] = await predict(new LocalForecaster('seasonal-naive', seasonalNaive), [past], HORIZON, [80]);
  process.stdout.write(
    `${describe(past, `${answer.model} on ${answer.backend}`)}; the last ${HORIZON} months are held out\n`,
  );
  process.stdout.write('stored in PostgreSQL and forecast over HTTP: POST /v1/forecasts, queue, worker, engine\n\n');
  process.stdout.write(
    `${forecastTable({ series: past, horizon: HORIZON, median, intervals }, [{ name: 'actual', values: actual }])}\n`,
  );
  const fan = fanOf(past, { median, intervals, actual }, TITLE);
  process.stdout.write(`${terminalChart(fan, { ...terminalAbilities(process.stdout), height: 16 })}\n`);
  const score = (values: Float64Array) => mase(past.values, actual, values, past.season)!.toFixed(3);
  const inside = intervals.map(({ percent, low, high }) => {
    const hits = actual.filter((v, k) => v >= low[k]! && v <= high[k]!).length;
    return `${hits} of ${HORIZON} in the ${percent} % interval`;
  });
  process.stdout.write(
    `held out: MASE ${score(median)}, seasonal naive ${score(reference!.median)}; ${inside.join(', ')}\n`,
  );
  await writeFile(plot, svgChart([fan], { caption: `${answer.model}; data: US Census Bureau, public domain` }));
  process.stdout.write(`chart: ${relative(process.cwd(), plot) || plot}\n`);
}

export default { help, run } satisfies Command;
