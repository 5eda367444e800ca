/** What each part of the inference stack adds, and the factors of its calibration. */
import type { Forecaster } from '../forecaster.js';
import { STANDARD_LEVELS } from '../forecaster.js';
import { geometricMean, seasonalError } from '../metrics.js';
import { type Factors, fitFactors, type Outcome } from '../stack/calibration.js';
import { STACK_PARTS, StackedForecaster, type StackPart } from '../stack/stack.js';
import { type EvaluateOptions, type EvaluationReport, evaluate, type LoadedTask } from './evaluate.js';
import type { HeldOutTask } from './held-out.js';
import { percent, table } from './report.js';

export interface AblationRow {
  parts: StackPart[];
  report: EvaluationReport;
}

/** Evaluates the bare forecaster, then with the parts put on one after another. */
export async function ablate(
  bare: Forecaster,
  parts: readonly StackPart[],
  factors: Factors,
  tasks: readonly LoadedTask[],
  options: EvaluateOptions & { onRow?: (row: AblationRow) => void } = {},
): Promise<AblationRow[]> {
  const ordered = STACK_PARTS.filter((part) => parts.includes(part));
  const rows: AblationRow[] = [];
  for (let count = 0; count <= ordered.length; count++) {
    const some = ordered.slice(0, count);
    const row = { parts: some, report: await evaluate(new StackedForecaster(bare, some, factors), tasks, options) };
    rows.push(row);
    options.onRow?.(row);
  }
  return rows;
}

/** Geometric means by suite, coverage and time, one line for each part that was put on. */
export function ablationTable(rows: readonly AblationRow[]): string[] {
  const suites = rows[0]!.report.suites.map(({ label }) => label);
  const cells = rows.map(({ parts, report }) => [
    parts.length === 0 ? 'bare' : `+ ${parts.at(-1)}`,
    ...report.suites.map(({ mase, wql }) => `${mase.toFixed(4)} / ${wql.toFixed(4)}`),
    ...(suites.length > 1 ? [overall(report)] : []),
    percent(report.coverage[80]!),
    percent(report.coverage[95]!),
    report.seconds.toFixed(1),
  ]);
  return table(['', ...suites, ...(suites.length > 1 ? ['all'] : []), '80 %', '95 %', 'seconds'], cells);
}

function overall({ suites }: EvaluationReport): string {
  const mean = (of: 'mase' | 'wql') => geometricMean(suites.map((suite) => suite[of])).toFixed(4);
  return `${mean('mase')} / ${mean('wql')}`;
}

/** Held-out windows as tasks of one suite a frequency. */
export function heldOutTasks(tasks: readonly HeldOutTask[]): LoadedTask[] {
  return tasks.map(({ name, frequency, horizon, season, windows }) => ({
    spec: { suite: frequency ?? 'other', name, pool: [name], horizon, windows: windows.length, mase_m: season },
    windows,
    published: {},
  }));
}

/** Fits the calibration of a forecaster (with all other parts on it) by held-out windows. */
export async function fitCalibration(forecaster: Forecaster, tasks: readonly HeldOutTask[]): Promise<Factors> {
  const outcomes: Outcome[] = [];
  for (const { windows, horizon } of tasks) {
    const results = await forecaster.forecast(
      windows.map(({ history, series: { season, frequency } }) => ({
        history,
        horizon,
        season,
        frequency,
        quantiles: [...STANDARD_LEVELS],
      })),
    );
    windows.forEach(({ history, actual, series }, i) => {
      const scale = seasonalError(history, series.season) || seasonalError(history, 1);
      if (scale > 0) outcomes.push({ frequency: series.frequency, quantiles: results[i]!.quantiles, actual, scale });
    });
  }
  return fitFactors(outcomes);
}
