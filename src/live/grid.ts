/**
 * The regular steps on which a live series runs. A point belongs to the step that its time falls into, whatever came
 * before it, so the order of arrival does not matter; the value of a step is the mean of its points.
 */
import { regularise } from '../forecast/rest/regularise.js';
import {
  type Frequency,
  formatFrequency,
  parseFrequency,
  stepMilliseconds,
  stepMonths,
} from '../forecast/time/frequency.js';
import { daysInMonth, type Grid, gridOf } from '../forecast/time/grid.js';
import { inferSampling } from '../forecast/time/infer.js';
import { AdderError } from '../platform/errors.js';

/** All that a grid is made of; plain JSON. */
export interface GridPlan {
  /** Pandas-style. */
  frequency: string;
  /** Time of step 0, milliseconds since 1970. */
  anchor: number;
  /** Day of the month of calendar steps; 31 is the last one. */
  day?: number;
  /** A time belongs to the nearest step; otherwise steps begin at their times. */
  nearest: boolean;
}

/** Points after which steps that are exactly equal are believed, and after which the rest is settled. */
export const EXACT_AFTER = 8;
export const SETTLED_AFTER = 32;

/** A gap of more steps than this counts as this long (and what completes the season): beyond it nothing is left to forget. */
export const LONGEST_GAP = 1024;

export class SeriesGrid {
  private readonly grid: Grid;
  private readonly frequency: Frequency;
  /** Length of a step in milliseconds; of calendar steps on average. */
  readonly stepMs: number;
  private readonly fixed: boolean;

  constructor(readonly plan: GridPlan) {
    this.frequency = parseFrequency(plan.frequency);
    this.grid = gridOf(this.frequency, plan.anchor, plan.day);
    this.stepMs = stepMilliseconds(this.frequency);
    this.fixed = stepMonths(this.frequency) === undefined && this.frequency.unit !== 'B';
  }

  /** The step that a time falls into. */
  step(time: number): number {
    const { anchor, nearest } = this.plan;
    if (this.fixed) return Math.floor((time - anchor) / this.stepMs + (nearest ? 0.5 : 0));
    let k = Math.floor((time - anchor) / (this.frequency.unit === 'B' ? this.stepMs * 1.4 : this.stepMs));
    while (this.grid.time(k) > time) k--;
    while (this.grid.time(k + 1) <= time) k++;
    return k;
  }

  /** The time that stands for a step, milliseconds since 1970. */
  time(step: number): number {
    return this.grid.time(step);
  }

  /** The earliest whole millisecond that falls into a step. */
  startOf(step: number): number {
    const time = this.time(step);
    if (!this.fixed || !this.plan.nearest) return Math.ceil(time);
    let start = Math.ceil(time - this.stepMs / 2);
    // The rounding of the division decides at the edge.
    while (this.step(start) < step) start++;
    while (this.step(start - 1) >= step) start--;
    return start;
  }
}

/**
 * The grid of a series, from the first of its points in order of time; undefined while they are too few to tell. It
 * depends on the first 32 of them only, so a series that is read again later comes to the same. Where a few of the 32 are
 * far from the others, these settle it; the grid goes on without end in both directions.
 *
 * @param times ascending, milliseconds since 1970
 * @param stated the frequency that the owner gave the series
 */
export function planGrid(times: Float64Array, stated?: string | null): GridPlan | undefined {
  const first = times[0];
  if (first === undefined) return undefined;
  if (stated) {
    if (times.length < 2) return undefined;
    const frequency = parseFrequency(stated);
    const [anchor, next] = firstPair(times.subarray(0, SETTLED_AFTER), stepMilliseconds(frequency));
    const dense = next! - anchor! < 0.6 * stepMilliseconds(frequency);
    if (dense) return gathered(Float64Array.of(anchor!, next!), frequency);
    return {
      frequency: formatFrequency(frequency),
      anchor: anchor!,
      nearest: true,
      ...dayOf(frequency, Float64Array.of(anchor!)),
    };
  }
  if (times.length >= EXACT_AFTER) {
    const head = times.subarray(0, EXACT_AFTER);
    const sampling = inferSampling(head);
    if (sampling?.jitter === 0) {
      const { frequency } = sampling;
      return { frequency: formatFrequency(frequency), anchor: first, nearest: true, ...dayOf(frequency, head) };
    }
  }
  if (times.length < SETTLED_AFTER) return undefined;
  const head = times.subarray(0, SETTLED_AFTER);
  return gathered(head) ?? gathered(longestRun(head));
}

/** The first two neighbours, so that a point of the far past does not set the phase of the steps; else the first two points. */
function firstPair(times: Float64Array, step: number): Float64Array {
  const at = times.findIndex((time, i) => i > 0 && time - times[i - 1]! <= LONGEST_GAP * step);
  return at < 0 ? times.subarray(0, 2) : times.subarray(at - 1, at + 1);
}

/** The most neighbours without a gap that the model would cut, the latest such run; none if they are too few to show a step. */
function longestRun(times: Float64Array): Float64Array {
  const distances = times.subarray(1).map((time, i) => time - times[i]!);
  const median = distances.slice().sort()[distances.length >> 1]!;
  let best = times.subarray(0, 0);
  for (let from = 0, to = 1; to <= times.length; to++) {
    if (to < times.length && distances[to - 1]! <= LONGEST_GAP * median) continue;
    if (to - from >= best.length) best = times.subarray(from, to);
    from = to;
  }
  return best.length >= EXACT_AFTER ? best : times.subarray(0, 0);
}

function gathered(times: Float64Array, stated?: Frequency): GridPlan | undefined {
  if (times.length === 0) return undefined;
  try {
    const { frequency, grid, how } = regularise(times, stated);
    const anchor = grid.time(0);
    const plan = { frequency: formatFrequency(frequency), anchor, nearest: how !== 'resampled' };
    return { ...plan, ...dayOf(frequency, times) };
  } catch (error) {
    // So few points over so long a time show no step; only its owner can name it.
    if (error instanceof AdderError) return undefined;
    throw error;
  }
}

/** The day of the month that calendar steps keep: the last one if all times are month ends, else the largest. */
function dayOf(frequency: Frequency, times: Float64Array): { day?: number } {
  if (stepMonths(frequency) === undefined) return {};
  const dates = Array.from(times, (t) => new Date(t));
  const ends = dates.every((d) => d.getUTCDate() === daysInMonth(d.getUTCFullYear(), d.getUTCMonth()));
  return { day: ends ? 31 : Math.max(...dates.map((d) => d.getUTCDate())) };
}
