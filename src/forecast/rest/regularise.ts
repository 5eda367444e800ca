import { AdderError } from '../../platform/errors.js';
import { type Frequency, formatFrequency, frequencyOfStep, stepMilliseconds, stepMonths } from '../time/frequency.js';
import { type Grid, gridOf, utc } from '../time/grid.js';
import { inferSampling, type Sampling, samplingWith } from '../time/infer.js';

/** Where rows lie on a regular grid. */
export interface Regular {
  frequency: Frequency;
  grid: Grid;
  /** Step of each row, non-decreasing from 0; rows of one step are averaged. */
  positions: Float64Array;
  /** `exact`: every time is on the grid; `moved`: times strayed a little; `resampled`: rows were gathered into steps. */
  how: 'exact' | 'moved' | 'resampled';
}

/** A grid may be this many times longer than the rows that fill it. */
const MAX_SPARSENESS = 50;

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Steps that people choose; irregular times are gathered into the one nearest to their median distance. */
const ROUND_STEPS = [
  ...[1, 10, 100].map((n) => n),
  ...[1, 5, 10, 15, 30].map((n) => n * SECOND),
  ...[1, 5, 10, 15, 30].map((n) => n * MINUTE),
  ...[1, 3, 6, 12].map((n) => n * HOUR),
  ...[1, 7].map((n) => n * DAY),
];

/**
 * The grid of sorted times (milliseconds): the one they lie on, the frequency asked for, or else steps of a round length
 * into which they are gathered. Throws `SPARSE_SERIES` when that would be mostly empty.
 */
export function regularise(times: Float64Array, wanted?: Frequency): Regular {
  const distinct = times.every((t, i) => i === 0 || t > times[i - 1]!);
  const sampling = distinct ? (wanted ? samplingWith(times, wanted) : roundSampling(times)) : undefined;
  const regular: Regular = sampling
    ? { ...sampling, how: sampling.jitter > 0 ? 'moved' : 'exact' }
    : gather(times, wanted ?? roundStep(times));
  const length = regular.positions.at(-1)! + 1;
  if (length > Math.max(10_000, MAX_SPARSENESS * times.length)) {
    throw new AdderError({
      code: 'SPARSE_SERIES',
      message: `${times.length} observations are spread over ${length} steps of ${formatFrequency(regular.frequency)}`,
      where: { field: 'timestamps' },
      fix: 'check the first and last timestamps for slips, or state a coarser frequency',
    });
  }
  return regular;
}

/** What the times show; where they stray from a step that nobody would choose, such as 2900 s, the round one beside it. */
function roundSampling(times: Float64Array): Sampling | undefined {
  const sampling = inferSampling(times);
  if (!sampling || sampling.jitter === 0 || stepMonths(sampling.frequency) !== undefined) return sampling;
  if (ROUND_STEPS.includes(stepMilliseconds(sampling.frequency))) return sampling;
  return samplingWith(times, roundStep(times));
}

/** The round step nearest to the median distance of neighbours, on a scale of ratios. */
function roundStep(times: Float64Array): Frequency {
  const distances = Float64Array.from({ length: times.length - 1 }, (_, i) => times[i + 1]! - times[i]!)
    .filter((d) => d > 0)
    .sort();
  const median = distances[distances.length >> 1] ?? DAY;
  const step = ROUND_STEPS.reduce((best, candidate) =>
    Math.abs(Math.log(candidate / median)) < Math.abs(Math.log(best / median)) ? candidate : best,
  );
  return frequencyOfStep(step);
}

/** Rows into the steps that hold them; step k holds [time(k), time(k + 1)), steps begin at round instants. */
function gather(times: Float64Array, frequency: Frequency): Regular {
  const first = new Date(times[0]!);
  const months = stepMonths(frequency);
  const length = stepMilliseconds(frequency);
  // Weeks begin on Monday; 1970-01-05 was one.
  const origin = frequency.unit === 'W' ? 4 * DAY : 0;
  const midnight = utc(first.getUTCFullYear(), first.getUTCMonth(), first.getUTCDate());
  const anchor =
    months === undefined
      ? frequency.unit === 'B'
        ? midnight
        : origin + Math.floor((times[0]! - origin) / length) * length
      : utc(
          first.getUTCFullYear(),
          months % 12 === 0 ? 0 : first.getUTCMonth() - (first.getUTCMonth() % Math.min(12, months)),
          1,
        );
  const grid = gridOf(frequency, anchor);
  let k = 0;
  const positions = times.map((t) => {
    if (frequency.unit !== 'B' && t - grid.time(k) > 4 * length) k += Math.floor((t - grid.time(k)) / length) - 2;
    while (grid.time(k + 1) <= t) k++;
    return k;
  });
  return { frequency, grid, positions, how: 'resampled' };
}

/** Values of rows on their steps: the mean of each step's rows, NaN where a step has none. */
export function place(values: Float64Array, positions: Float64Array, length: number): Float64Array {
  const sums = new Float64Array(length);
  const counts = new Uint32Array(length);
  for (let i = 0; i < values.length; i++) {
    if (Number.isNaN(values[i]!)) continue;
    sums[positions[i]!]! += values[i]!;
    counts[positions[i]!]!++;
  }
  return sums.map((sum, k) => (counts[k] ? sum / counts[k]! : Number.NaN));
}
