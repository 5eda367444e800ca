/**
 * From surprises to one score a value that can be compared between series and says each event once. It keeps a hundred
 * numbers a series, whatever its length, and reads the past only.
 *
 * Two views are judged: the value against the forecast one step before it, and the last four values against the forecast
 * before all of them, to which a forecaster that adapts in one step cannot have adapted. How improbable a surprise is depends
 * on what the series has surprised with so far; the more improbable view counts. A value beyond all that were seen adds to it.
 */
import { gammaTail } from './gamma-tail.js';
import { EXPECTED_SURPRISE } from './surprise.js';

/** Values that the second view judges together. */
export const VIEW = 4;
/** Values after which a record forgets. */
const MEMORY = 500;
/** Weight of what is expected of right quantiles against a series' own record, in values. */
const PRIOR = 50;
/** Shapes beyond this are as good as normal, and slow to compute. */
const LARGEST_SHAPE = 200;
/** Moments do not fall below this: a series that was constant for years has not become infinitely certain. */
const SMALLEST = 1e-6;
/** Values within which a second alarm is the same event, and what is left of its score. */
const QUIET = 100;
const REPEATED = 0.1;
/** What a value adds that lies outside of all before it by `NOVEL` of their range or more. */
const NOVELTY = 5;
const NOVEL = 0.2;

/** Mean and variance of the surprises of a view, and how improbable one is by them. */
class OwnRecord {
  private count = PRIOR;
  private mean = EXPECTED_SURPRISE;
  private variance: number;

  /** @param averaged surprises that each value is the mean of */
  constructor(averaged: number) {
    // −log₁₀ of a uniform number is exponential: its variance is the square of its mean.
    this.variance = EXPECTED_SURPRISE ** 2 / averaged;
  }

  /** −log₁₀ of the tail probability of x by a gamma distribution with the moments of those before it; 0 for NaN. */
  push(x: number): number {
    if (Number.isNaN(x)) return 0;
    const shape = Math.min(LARGEST_SHAPE, this.mean ** 2 / this.variance);
    const score = gammaTail(shape, (x * shape) / this.mean);
    this.count = Math.min(this.count + 1, MEMORY);
    const distance = x - this.mean;
    this.mean = Math.max(SMALLEST, this.mean + distance / this.count);
    const change = (distance * (x - this.mean) - this.variance) / this.count;
    this.variance = Math.max(SMALLEST, this.variance + change);
    return score;
  }
}

export class EventScorer {
  private readonly step = new OwnRecord(1);
  private readonly block = new OwnRecord(VIEW);
  private lowest = Number.POSITIVE_INFINITY;
  private highest = Number.NEGATIVE_INFINITY;
  private readonly recent = new Float64Array(QUIET);
  private time = 0;

  /**
   * The score of the next value: 3 says about one in a thousand.
   *
   * @param value NaN where it is missing
   * @param step its surprise by the forecast one step before it (see `surprise`); NaN where there is none
   * @param block mean surprise of the last `VIEW` values by the forecast before them; NaN where there is none
   */
  push(value: number, step: number, block: number): number {
    const score = Math.max(this.step.push(step), this.block.push(block)) + this.novelty(value);
    let highest = 0;
    for (const before of this.recent) if (before > highest) highest = before;
    this.recent[this.time++ % QUIET] = score;
    return score > highest ? score : score * REPEATED;
  }

  private novelty(value: number): number {
    if (Number.isNaN(value)) return 0;
    const range = this.highest - this.lowest;
    const beyond = Math.max(0, value - this.highest, this.lowest - value);
    this.lowest = Math.min(this.lowest, value);
    this.highest = Math.max(this.highest, value);
    return range > 0 ? NOVELTY * Math.min(1, beyond / range / NOVEL) : 0;
  }
}
