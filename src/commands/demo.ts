import { writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LocalForecaster } from '../forecast/baselines/local.js';
import { seasonalNaive } from '../forecast/baselines/naive.js';
import { fanOf } from '../forecast/chart/fan.js';
import { svgChart } from '../forecast/chart/svg.js';
import { terminalAbilities, terminalChart } from '../forecast/chart/terminal.js';
import { mase } from '../forecast/metrics.js';
import { resolveForecaster } from '../forecast/models.js';
import { forecastTable } from '../forecast/output/table.js';
import { predict } from '../forecast/predict.js';
import { readCsv } from '../forecast/series/csv.js';
import { buildSeries, type Series } from '../forecast/series/series.js';
import { type Command, checkOutput, parseCommandLine, printNotice } from './command.js';
import { describe } from './forecast.js';

const help = `usage: adder demo [options]

Forecasts a bundled real series: US housing starts by month, not seasonally adjusted (US Census Bureau,
public domain). The last 12 months are held out, so that the forecast can be compared with what came.
Prints a table and a chart, and writes an SVG fan chart beside the data.

  --model M         what forecasts (adder; see adder forecast --help)
  --backend B       webgpu, wasm or reference, for the neural forecaster
  --plot FILE.svg   where to write the chart
`;

const OPTIONS = { model: { type: 'string' }, backend: { type: 'string' }, plot: { type: 'string' } } as const;

const TITLE = 'US housing starts, thousands a month';
const HORIZON = 12;

/** The examples folder: the compiled command lies in dist/src/commands, the source in src/commands. */
function examples(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const root = here.includes(join('dist', 'src')) ? join(here, '..', '..', '..') : join(here, '..', '..');
  return join(root, 'examples');
}

async function run(args: string[]): Promise<number> {
  const { values } = parseCommandLine('demo', args, OPTIONS, 0);
  const option = (name: keyof typeof OPTIONS) => values[name] as string | undefined;
  const file = join(examples(), 'us-housing-starts.csv');
  const plot = option('plot') ?? join(examples(), 'us-housing-starts.forecast.svg');
  await checkOutput(plot);
  const { series } = buildSeries(await readCsv(file));
  const whole = series[0]!;
  const split = whole.values.length - HORIZON;
  const past: Series = { ...whole, id: TITLE, values: whole.values.subarray(0, split) };
  const actual = whole.values.subarray(split);

  const forecaster = await resolveForecaster(option('model'), { backend: option('backend'), onNotice: printNotice });
  try {
    const [forecast] = await predict(forecaster, [past], HORIZON, [80, 95]);
    const [reference] = await predict(new LocalForecaster('seasonal-naive', seasonalNaive), [past], HORIZON, [80]);
    const { median, intervals } = forecast!;
    process.stdout.write(`${describe(past, forecaster.id)}; the last ${HORIZON} months are held out\n\n`);
    process.stdout.write(`${forecastTable(forecast!, [{ name: 'actual', values: actual }])}\n`);
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
    await writeFile(plot, svgChart([fan], { caption: `${forecaster.id}; data: US Census Bureau, public domain` }));
    process.stdout.write(`chart: ${relative(process.cwd(), plot) || plot}\n`);
    return 0;
  } finally {
    await forecaster.close?.();
  }
}

export default { help, run } satisfies Command;
