import { AdderError, quote } from '../../platform/errors.js';
import { LocalForecaster } from '../baselines/local.js';
import { seasonalNaive } from '../baselines/naive.js';
import { type Forecaster, STANDARD_LEVELS } from '../forecaster.js';
import { geometricMean, type TaskScore, TaskScorer } from '../metrics.js';
import { chooseSeason } from '../series/choose-season.js';
import { parseFrequency } from '../time/frequency.js';
import { type EvaluationWindow, readDataset, type TaskSpec, windowsOf } from './dataset.js';
import type { Published, PublishedScore } from './published.js';

/** Nine scored levels, and the ends of the 95 % interval. */
const LEVELS = [0.025, ...STANDARD_LEVELS, 0.975];
const INTERVALS = [80, 95];

/** Published models that a report names when a task has them, under either suite's spelling; the rest stay in the JSON. */
export const REFERENCE_MODELS: readonly (readonly [label: string, names: readonly string[]])[] = [
  ['Chronos-Bolt small', ['chronos_bolt_small']],
  ['TiRex', ['tirex', 'TiRex']],
  ['FlowState-9.1M', ['FlowState-9.1M']],
  ['TimeCopilot', ['timecopilot']],
  ['AutoTheta', ['auto_theta']],
  ['AutoETS', ['auto_ets']],
  ['AutoARIMA', ['auto_arima']],
];

export interface TaskResult {
  suite: string;
  name: string;
  horizon: number;
  /** Season of the published MASE. */
  season: number;
  windows: number;
  /** Whether the task counts in the geometric means: its data agree with the published ones (see `isComparable`). */
  comparable: boolean;
  score: TaskScore;
  /** Seasonal naive as computed here, by the rules of the suite (see `referenceNaive`). */
  seasonalNaive: TaskScore;
  published: Record<string, PublishedScore>;
  /** Seconds spent inside the forecaster. */
  seconds: number;
}

/** Geometric means over the comparable tasks of one suite, relative to seasonal naive. */
export interface SuiteSummary {
  /** C10, G5, or the suite's own name. */
  label: string;
  suite: string;
  tasks: string[];
  /** What the denominators are: the published seasonal naive where every task has it, else ours. */
  relativeTo: 'published seasonal naive' | 'seasonal naive computed here';
  mase: number;
  wql: number;
  /** The same means of published models that cover all tasks of the suite. */
  published: Record<string, PublishedScore>;
}

export interface EvaluationReport {
  model: string;
  tasks: TaskResult[];
  suites: SuiteSummary[];
  /** Over all tasks, each with equal weight. */
  coverage: Record<number, number>;
  /** Spent inside the forecaster, over all tasks. */
  seconds: number;
  /** Forecasts a second over all tasks. */
  forecastsPerSecond: number;
}

/**
 * A task is like for like if the seasonal-naive MASE on our data is within 2 % (Chronos zero-shot) or 1 % (other suites)
 * of the published one. Specs without that ratio are taken at their word.
 */
export function isComparable({ suite, ratio }: Pick<TaskSpec, 'suite' | 'ratio'>): boolean {
  if (ratio === undefined || ratio === null) return true;
  return Math.abs(ratio - 1) < (suite === 'chronos_zeroshot' ? 0.02 : 0.01);
}

/** A task with its windows. */
export interface LoadedTask {
  spec: TaskSpec;
  windows: EvaluationWindow[];
  published: Record<string, PublishedScore>;
}

/** Reads the data of tasks. */
export async function loadTasks(
  specs: readonly TaskSpec[],
  options: { dataDir: string; split: string; published?: Published },
): Promise<LoadedTask[]> {
  const tasks: LoadedTask[] = [];
  for (const spec of specs) {
    const pools = await Promise.all(
      spec.pool.map((name) => readDataset(options.dataDir, spec.split ?? options.split, name)),
    );
    const published = Object.fromEntries(options.published?.get(spec.name) ?? []);
    tasks.push({ spec, windows: windowsOf(pools.flat(), spec), published });
  }
  return tasks;
}

/**
 * What the forecaster is not told of the series: `nothing`; their `season`, so that it is chosen as for a user's file; or
 * the `sampling` too, so that the season is found in the values alone.
 */
export type Withheld = 'nothing' | 'season' | 'sampling';

export interface EvaluateOptions {
  withheld?: Withheld;
  onTask?: (result: TaskResult) => void;
}

/** Evaluates a forecaster on tasks, one after another. */
export async function evaluate(
  forecaster: Forecaster,
  loaded: readonly LoadedTask[],
  { withheld = 'nothing', onTask }: EvaluateOptions = {},
): Promise<EvaluationReport> {
  const tasks: TaskResult[] = [];
  for (const { spec, windows, published } of loaded) {
    const { score, seconds } = await scoreTask(forecaster, spec, windows, withheld);
    const { score: naiveScore } = await scoreTask(referenceNaive(spec), spec, windows, 'nothing');
    const result: TaskResult = {
      suite: spec.suite,
      name: spec.name,
      horizon: spec.horizon,
      season: spec.mase_m,
      windows: windows.length,
      comparable: isComparable(spec),
      score,
      seasonalNaive: naiveScore,
      published,
      seconds,
    };
    tasks.push(result);
    onTask?.(result);
  }
  const seconds = tasks.reduce((sum, task) => sum + task.seconds, 0);
  const count = tasks.reduce((sum, task) => sum + task.windows, 0);
  const coverage = Object.fromEntries(
    INTERVALS.map((p) => [p, tasks.reduce((s, t) => s + t.score.coverage[p]!, 0) / tasks.length]),
  );
  return {
    model: forecaster.id,
    tasks,
    suites: summarise(tasks),
    coverage,
    seconds,
    forecastsPerSecond: count / seconds,
  };
}

/**
 * Seasonal naive as each suite publishes it: with the season of the published MASE, and for Chronos zero-shot as a point
 * forecast (all quantiles equal, so that WQL is the normalised deviation), elsewhere with normal intervals.
 */
function referenceNaive({ suite, mase_m }: TaskSpec): Forecaster {
  return new LocalForecaster('seasonal-naive', (request) => {
    if (suite !== 'chronos_zeroshot') return seasonalNaive({ ...request, season: mase_m });
    const point = seasonalNaive({ ...request, season: mase_m, quantiles: [0.5] }).quantiles[0]!;
    return { quantiles: request.quantiles.map(() => point) };
  });
}

async function scoreTask(
  forecaster: Forecaster,
  spec: TaskSpec,
  windows: EvaluationWindow[],
  withheld: Withheld,
): Promise<{ score: TaskScore; seconds: number }> {
  if (windows.length === 0) {
    throw new AdderError({
      code: 'NO_WINDOWS',
      message: `no series of task ${quote(spec.name)} is long enough for its ${spec.windows} × ${spec.horizon} held-out steps`,
      fix: 'lower horizon or windows in the specs',
    });
  }
  const scorer = new TaskScorer(spec.mase_m, LEVELS, STANDARD_LEVELS, INTERVALS);
  const started = performance.now();
  const results = await forecaster.forecast(
    windows.map((window) => ({
      history: window.history,
      horizon: spec.horizon,
      ...declared(window, withheld),
      quantiles: LEVELS,
    })),
  );
  const seconds = (performance.now() - started) / 1000;
  for (const [i, { history, actual }] of windows.entries()) scorer.add(history, actual, results[i]!.quantiles);
  return { score: scorer.score(), seconds };
}

function declared({ history, series }: EvaluationWindow, withheld: Withheld) {
  if (withheld === 'nothing') return { season: series.season, frequency: series.frequency };
  const frequency = withheld === 'sampling' ? undefined : series.frequency;
  const { season } = chooseSeason(history, frequency === undefined ? undefined : parseFrequency(frequency), undefined);
  return { season, frequency };
}

const LABELS: Record<string, string> = { chronos_zeroshot: 'C', gift_eval: 'G' };

/** Geometric means by suite over its comparable tasks. */
export function summarise(tasks: TaskResult[]): SuiteSummary[] {
  const suites = [...new Set(tasks.map((task) => task.suite))];
  return suites.flatMap((suite) => {
    const counted = tasks.filter((task) => task.suite === suite && task.comparable);
    if (counted.length === 0) return [];
    const base = counted.map((task) => task.published.seasonal_naive);
    const all = base.every((score) => score !== undefined);
    const denominators = counted.map((task, i) => (all ? base[i]! : task.seasonalNaive));
    const relative = (scores: readonly PublishedScore[]): PublishedScore => ({
      mase: geometricMean(scores.map((s, i) => s.mase / denominators[i]!.mase)),
      wql: geometricMean(scores.map((s, i) => s.wql / denominators[i]!.wql)),
    });
    const everywhere = Object.keys(counted[0]!.published).filter((model) =>
      counted.every((task) => task.published[model]),
    );
    const summary: SuiteSummary = {
      label: LABELS[suite] ? `${LABELS[suite]}${counted.length}` : suite,
      suite,
      tasks: counted.map((task) => task.name),
      relativeTo: all ? 'published seasonal naive' : 'seasonal naive computed here',
      ...relative(counted.map((task) => task.score)),
      published: Object.fromEntries(
        everywhere.map((model) => [model, relative(counted.map((task) => task.published[model]!))]),
      ),
    };
    return [summary];
  });
}
