import { type Frequency, frequencyOfMonths, frequencyOfStep, stepMilliseconds, stepMonths } from './frequency.js';
import { daysInMonth, fixedGrid, type Grid, gridOf } from './grid.js';

const DAY = 86_400_000;

/** What the timestamps of one series say about their sampling. */
export interface Sampling {
  frequency: Frequency;
  /** The step of each timestamp, strictly increasing from 0. Missing numbers are gaps. */
  positions: Float64Array;
  /** Grid of the future and the past; step 0 is the first timestamp (with jitter: counted back from the last one). */
  grid: Grid;
  /** Largest distance of a timestamp from its step, as a share of the step; 0 for an exact grid. */
  jitter: number;
}

/** Timestamps may stray this share of a step from the grid and still count as "regular with jitter". */
const MAX_JITTER = 0.3;

/**
 * The sampling of sorted, distinct timestamps (milliseconds UTC), or undefined when they are irregular.
 *
 * 1. Calendar: all on the same day of the month (or all on the last) at the same time of day: the greatest common
 *    divisor of the month differences gives M, Q, Y or a multiple.
 * 2. Business days: steps of whole days, nothing on Saturday or Sunday, and at least one weekend jumped over: B.
 * 3. Fixed step: the greatest common divisor of the differences, if it is also one of them: W, D, H, min, s, ms, us.
 * 4. Jitter: steps counted in the median difference, if every timestamp strays no more than 30 % of a step.
 *
 * Gaps do no harm in any of them as long as some neighbours are one step apart.
 */
export function inferSampling(times: Float64Array): Sampling | undefined {
  if (times.length < 2) return undefined;
  const months = monthSampling(times);
  if (months) return months;
  const { divisor, smallest } = commonDivisor(times);
  if (divisor === smallest) {
    const frequency: Frequency = isBusinessDaily(times, divisor) ? { count: 1, unit: 'B' } : frequencyOfStep(divisor);
    return exactSampling(times, frequency);
  }
  return jitteredMonths(times) ?? jitteredSteps(times);
}

/**
 * The sampling of sorted, distinct timestamps under a frequency that the user states. Undefined when two timestamps
 * fall on one step or one strays too far from its step.
 */
export function samplingWith(times: Float64Array, frequency: Frequency): Sampling | undefined {
  const exact = exactSampling(times, frequency);
  if (exact) return exact;
  const months = stepMonths(frequency);
  if (months !== undefined) return jitteredMonths(times, months);
  if (frequency.unit === 'B') return undefined;
  return jitteredSteps(times, frequency);
}

/** Positions on the grid through the first timestamp; undefined if one of them is off the grid or two share a step. */
function exactSampling(times: Float64Array, frequency: Frequency): Sampling | undefined {
  const grid = gridOf(frequency, times[0]!, stepMonths(frequency) === undefined ? undefined : anchorDay(times));
  const positions = new Float64Array(times.length);
  for (let i = 0; i < times.length; i++) {
    const k = grid.index(times[i]!);
    if (Number.isNaN(k) || (i > 0 && k <= positions[i - 1]!)) return undefined;
    positions[i] = k;
  }
  return { frequency, positions, grid, jitter: 0 };
}

/** The day of the month that a calendar series keeps: 31 (the last) if all timestamps are month ends, else the largest. */
function anchorDay(times: Float64Array): number {
  let largest = 0;
  let ends = true;
  for (const t of times) {
    const date = new Date(t);
    const day = date.getUTCDate();
    if (day > largest) largest = day;
    if (day !== daysInMonth(date.getUTCFullYear(), date.getUTCMonth())) ends = false;
  }
  return ends ? 31 : largest;
}

function monthSampling(times: Float64Array): Sampling | undefined {
  if (times[1]! - times[0]! < 28 * DAY) return undefined;
  const step = commonMonths(times);
  return step === undefined ? undefined : exactSampling(times, frequencyOfMonths(step));
}

/** Greatest common divisor of the month differences, if it is also the smallest of them and none is zero. */
function commonMonths(times: Float64Array): number | undefined {
  let divisor = 0;
  let smallest = Number.POSITIVE_INFINITY;
  for (let i = 1; i < times.length; i++) {
    const difference = monthOf(times[i]!) - monthOf(times[i - 1]!);
    if (difference < 1) return undefined;
    smallest = Math.min(smallest, difference);
    divisor = gcd(divisor, difference);
  }
  return divisor === smallest ? divisor : undefined;
}

function monthOf(t: number): number {
  const date = new Date(t);
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
}

/** Greatest common divisor and minimum of the differences, in milliseconds; computed in whole microseconds. */
function commonDivisor(times: Float64Array): { divisor: number; smallest: number } {
  let divisor = 0;
  let smallest = Number.POSITIVE_INFINITY;
  for (let i = 1; i < times.length; i++) {
    const difference = Math.round((times[i]! - times[i - 1]!) * 1000);
    smallest = Math.min(smallest, difference);
    divisor = gcd(divisor, difference);
  }
  return { divisor: divisor / 1000, smallest: smallest / 1000 };
}

function gcd(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}

function isBusinessDaily(times: Float64Array, divisor: number): boolean {
  if (divisor !== DAY) return false;
  let weekends = 0;
  for (let i = 0; i < times.length; i++) {
    const weekday = weekdayOf(times[i]!);
    if (weekday === 0 || weekday === 6) return false;
    if (i > 0 && times[i]! - times[i - 1]! > weekday * DAY) weekends++;
  }
  return weekends > 0;
}

/** 0 = Sunday; 1970-01-01 was a Thursday. */
function weekdayOf(t: number): number {
  const days = Math.floor(t / DAY) + 4;
  return days - Math.floor(days / 7) * 7;
}

/** Months whose days vary, e.g. the last business day: one timestamp in each month (or each `step` months). */
function jitteredMonths(times: Float64Array, step = commonMonths(times)): Sampling | undefined {
  if (step === undefined) return undefined;
  const first = times[0]!;
  const positions = new Float64Array(times.length);
  let earliest = 31;
  let latest = 1;
  let fromEnd = 0;
  for (let i = 0; i < times.length; i++) {
    const k = (monthOf(times[i]!) - monthOf(first)) / step;
    if (!Number.isInteger(k) || (i > 0 && k <= positions[i - 1]!)) return undefined;
    positions[i] = k;
    const date = new Date(times[i]!);
    const day = date.getUTCDate();
    earliest = Math.min(earliest, day);
    latest = Math.max(latest, day);
    fromEnd = Math.max(fromEnd, daysInMonth(date.getUTCFullYear(), date.getUTCMonth()) - day);
  }
  const spread = Math.min(latest - earliest, fromEnd);
  const jitter = spread / (30.4 * step);
  if (jitter > MAX_JITTER) return undefined;
  const frequency = frequencyOfMonths(step);
  return { frequency, positions, grid: gridOf(frequency, first, fromEnd < latest - earliest ? 31 : earliest), jitter };
}

/**
 * Steps of roughly equal length. Positions accumulate rounded differences, so that a clock that drifts is followed; the
 * step is then the mean over the whole span, called by a usual name (1min, H, …) if it is within 2 % of one.
 */
function jitteredSteps(times: Float64Array, stated?: Frequency): Sampling | undefined {
  const rough = stated ? stepMilliseconds(stated) : median(times.subarray(1).map((t, i) => t - times[i]!));
  const positions = new Float64Array(times.length);
  for (let i = 1; i < times.length; i++) {
    const steps = Math.round((times[i]! - times[i - 1]!) / rough);
    if (steps < 1) return undefined;
    positions[i] = positions[i - 1]! + steps;
  }
  const last = times.length - 1;
  const mean = (times[last]! - times[0]!) / positions[last]!;
  let jitter = 0;
  for (let i = 0; i <= last; i++) {
    jitter = Math.max(jitter, Math.abs(times[i]! - times[0]! - positions[i]! * mean) / mean);
  }
  if (jitter > MAX_JITTER || (stated && Math.abs(mean / rough - 1) > 0.02)) return undefined;
  const usual = stated ? rough : (USUAL_STEPS.find((step) => Math.abs(mean / step - 1) < 0.02) ?? roundStep(mean));
  const anchor = times[last]! - positions[last]! * usual;
  return { frequency: stated ?? frequencyOfStep(usual), positions, grid: fixedGrid(anchor, usual), jitter };
}

const USUAL_STEPS = [1, 2, 5, 10, 15, 20, 30]
  .flatMap((n) => [n, n * 1000, n * 60_000])
  .concat([100, 200, 500, 3_600_000, 7_200_000, 21_600_000, 43_200_000, DAY, 7 * DAY]);

/** Two significant digits are all that a jittered clock supports. */
function roundStep(milliseconds: number): number {
  return Number(milliseconds.toPrecision(2));
}

function median(values: Float64Array): number {
  const sorted = values.slice().sort();
  return sorted[Math.floor(sorted.length / 2)]!;
}
