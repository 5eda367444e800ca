import { intervalLevels } from '../quantiles.js';

/** Levels that a request asks for: central intervals in percent, or quantiles. */
export interface WantedLevels {
  intervals: number[];
  quantiles: number[] | undefined;
  /** All quantile levels to be computed, strictly increasing, the median among them. */
  all: number[];
}

export function wantedLevels(request: {
  levels?: number[] | undefined;
  quantiles?: number[] | undefined;
}): WantedLevels {
  const quantiles = request.quantiles && [...new Set(request.quantiles)].sort((a, b) => a - b);
  const intervals = [...new Set(request.levels ?? (quantiles ? [] : [80, 95]))].sort((a, b) => a - b);
  return { intervals, quantiles, all: levelsWithMedian(intervals, quantiles) };
}

export function levelsWithMedian(intervals: readonly number[], quantiles: readonly number[] = []): number[] {
  return [...new Set([0.5, ...quantiles, ...intervals.flatMap(intervalLevels)])].sort((a, b) => a - b);
}

/** Numbers as JSON has them: what is not finite becomes null. */
export const jsonNumbers = (values: ArrayLike<number>): (number | null)[] =>
  Array.from(values, (value) => (Number.isFinite(value) ? value : null));
