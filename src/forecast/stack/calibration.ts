/**
 * Quantiles widened or narrowed about the median by factors fitted on held-out training series:
 *
 *     q_p ← median + f_p · (q_p − median)
 *
 * with one row of factors for each frequency class and range of steps ahead. A factor is fitted by the pinball loss of its
 * own level, so that it serves sharpness and coverage at once, and is drawn towards 1 where few windows speak for it.
 */
import { z } from 'zod';
import type { Forecaster, ForecastRequest, ForecastResult } from '../forecaster.js';
import { STANDARD_LEVELS } from '../forecaster.js';
import { pinball } from '../metrics.js';
import { FREQUENCY_CLASSES, frequencyClass } from '../model/frequency.js';

/** Last step of each range of steps ahead; the last range has no end. */
const RANGES = [8, 32, 128, Number.POSITIVE_INFINITY];
/** Windows that the belief in a factor of 1 weighs as much as. */
const PRIOR_WINDOWS = 40;
const SMALLEST = 0.6;
const LARGEST = 1.8;

/** Frequency class → one row of factors for each range of steps; levels as STANDARD_LEVELS. */
export const factorsSchema = z.record(
  z.enum(FREQUENCY_CLASSES),
  z.array(z.array(z.number().positive()).length(9)).length(4),
);
export type Factors = Partial<z.infer<typeof factorsSchema>>;

export class Calibrated implements Forecaster {
  readonly id: string;

  constructor(
    private readonly inner: Forecaster,
    private readonly factors: Factors,
  ) {
    this.id = inner.id;
  }

  async forecast(requests: ForecastRequest[]): Promise<ForecastResult[]> {
    const results = await this.inner.forecast(requests);
    return results.map(({ quantiles }, i) => {
      const { frequency, quantiles: levels } = requests[i]!;
      const rows = this.factors[FREQUENCY_CLASSES[frequencyClass(frequency)]!];
      const median = quantiles[levels.indexOf(0.5)];
      if (!rows || !median) return { quantiles };
      return {
        quantiles: quantiles.map((values, q) => {
          const column = STANDARD_LEVELS.indexOf(levels[q]!);
          if (column < 0) return values;
          return values.map((v, t) => median[t]! + rows[rangeOf(t)]![column]! * (v - median[t]!));
        }),
      };
    });
  }

  async close(): Promise<void> {
    await this.inner.close?.();
  }
}

function rangeOf(step: number): number {
  return RANGES.findIndex((end) => step < end);
}

/** A forecast at STANDARD_LEVELS and what came of it. */
export interface Outcome {
  frequency: string | undefined;
  quantiles: readonly Float64Array[];
  actual: Float64Array;
  /** Error of the seasonal naive method, so that series of all sizes count alike. */
  scale: number;
}

/** Factors that make the mean scaled pinball loss of every level least, drawn towards 1 (see the head of this file). */
export function fitFactors(outcomes: readonly Outcome[]): Factors {
  const byClass = new Map<(typeof FREQUENCY_CLASSES)[number], Outcome[]>();
  for (const outcome of outcomes) {
    const name = FREQUENCY_CLASSES[frequencyClass(outcome.frequency)]!;
    byClass.set(name, [...(byClass.get(name) ?? []), outcome]);
  }
  const factors: Factors = {};
  for (const [name, members] of byClass) {
    factors[name] = RANGES.map((_, range) =>
      STANDARD_LEVELS.map((level, q) => (level === 0.5 ? 1 : fitOne(members, range, level, q))),
    );
  }
  return factors;
}

function fitOne(outcomes: readonly Outcome[], range: number, level: number, q: number): number {
  const points: { deviation: number; error: number; weight: number }[] = [];
  let windows = 0;
  for (const { quantiles, actual, scale } of outcomes) {
    const steps: number[] = [];
    actual.forEach((y, t) => {
      if (!Number.isNaN(y) && rangeOf(t) === range) steps.push(t);
    });
    if (steps.length > 0) windows++;
    for (const t of steps) {
      const median = quantiles[4]![t]!;
      points.push({
        deviation: (quantiles[q]![t]! - median) / scale,
        error: (actual[t]! - median) / scale,
        // Steps of one window are one observation, more or less.
        weight: 1 / steps.length,
      });
    }
  }
  if (windows === 0) return 1;
  const loss = (f: number) => points.reduce((sum, p) => sum + p.weight * pinball(p.error, f * p.deviation, level), 0);
  let low = SMALLEST;
  let high = LARGEST;
  // The loss is convex in the factor.
  for (let i = 0; i < 30; i++) {
    const [a, b] = [low + (high - low) / 3, high - (high - low) / 3];
    if (loss(a) < loss(b)) high = b;
    else low = a;
  }
  const share = windows / (windows + PRIOR_WINDOWS);
  return Number((1 + share * ((low + high) / 2 - 1)).toFixed(4));
}
