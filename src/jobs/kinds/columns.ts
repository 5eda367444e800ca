import type { Columns } from '../../store/columns.js';
import type { SeriesUnit } from './series-groups.js';

/** Quantiles of a forecast as columns of a result: `q0.1`, `q0.5`, … */
export const quantileColumns = (levels: readonly number[], quantiles: readonly Float64Array[]): Columns =>
  Object.fromEntries(levels.map((level, i) => [`q${level}`, quantiles[i]!]));

/** Times of `count` steps from step `from` on, milliseconds since 1970. */
export const timesOf = ({ timeAt }: SeriesUnit, from: number, count: number): Float64Array =>
  Float64Array.from({ length: count }, (_, k) => timeAt(from + k));
