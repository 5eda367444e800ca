/**
 * A picture of what a model forecasts: one series of each of ten evaluation tasks, with what came.
 *
 *   node dist/src/forecast/training/gallery.js MODEL_DIR --data DIR --specs FILE
 *
 * writes MODEL_DIR/forecasts.svg. The series are those in the middle of their files: not chosen for their looks.
 */
import { realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Fan, shownHistory } from '../chart/fan.js';
import { svgChart } from '../chart/svg.js';
import { type EvaluationWindow, readDataset, readSpecs, windowsOf } from '../evaluation/dataset.js';
import type { Forecaster } from '../forecaster.js';
import { loadForecaster } from '../model/load.js';

const PANELS = 10;

/** The forecast windows as small charts; all their charts count time in steps. */
export async function gallery(
  forecaster: Forecaster,
  windows: readonly (EvaluationWindow & { title: string })[],
): Promise<string> {
  const results = await forecaster.forecast(
    windows.map(({ series: { season, frequency }, history, actual }) => {
      const quantiles = [0.025, 0.1, 0.5, 0.9, 0.975];
      return { history, horizon: actual.length, season, frequency, quantiles };
    }),
  );
  const fans = windows.map(({ title, history, actual, series }, i): Fan => {
    const [low95, low80, median, high80, high95] = results[i]!.quantiles as [
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const shown = shownHistory(history.length, actual.length, series.season);
    const times = (from: number, count: number) => Float64Array.from({ length: count }, (_, t) => from + t);
    return {
      title,
      calendar: false,
      historyTimes: times(history.length - shown, shown),
      history: history.subarray(history.length - shown),
      futureTimes: times(history.length, actual.length),
      median,
      intervals: [
        { percent: 95, low: low95, high: high95 },
        { percent: 80, low: low80, high: high80 },
      ],
      actual,
    };
  });
  return svgChart(fans, { title: `${forecaster.id}: the middle series of ${fans.length} development tasks` });
}

/** One window of each of the first tasks. */
async function pickWindows(data: string, specsFile: string): Promise<(EvaluationWindow & { title: string })[]> {
  const specs = (await readSpecs(specsFile)).slice(0, 2 * PANELS);
  const out = [];
  for (const { name, pool, split, horizon } of specs) {
    if (out.length === PANELS) break;
    const series = await readDataset(data, split ?? 'dev', pool[0]!);
    const [window] = windowsOf([series[series.length >> 1]!], { horizon, windows: 1 });
    if (window) out.push({ ...window, title: `${name}: ${window.series.id}` });
  }
  return out;
}

async function main(args: string[]): Promise<void> {
  const options = { data: { type: 'string' }, specs: { type: 'string' } } as const;
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
  const folder = positionals[0];
  if (!folder || !values.data || !values.specs) {
    throw new Error('usage: gallery.js MODEL_DIR --data DIR --specs FILE');
  }
  const forecaster = await loadForecaster({ model: folder, backend: 'wasm' });
  const svg = await gallery(forecaster, await pickWindows(values.data, values.specs));
  writeFileSync(join(folder, 'forecasts.svg'), svg);
  await forecaster.close();
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  await main(process.argv.slice(2));
}
