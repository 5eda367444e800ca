import type { Account } from '../../platform/account.js';
import { AdderError } from '../../platform/errors.js';
import { paced } from '../../platform/pace.js';
import { RequestError } from '../../platform/request-error.js';
import { columnsOf } from '../rest/covariate-columns.js';
import type { CovariateColumn } from '../rest/covariates.js';
import { chooseSeason } from '../series/choose-season.js';
import type { Frequency } from '../time/frequency.js';
import { frequencyOfAlias } from './frequency.js';
import { invalid } from './invalid.js';

/** One series of a flat payload. */
export interface FlatSeries {
  /** Position of its first value in the flat `y` that was sent. */
  offset: number;
  values: Float64Array;
  season: number;
  frequency: string;
  /** In the order of X, categories split up; known ones cover the horizon, too. */
  columns: CovariateColumn[];
}

interface FlatPayload {
  y: Float64Array;
  sizes: number[];
  X?: (Float64Array | string[])[] | null | undefined;
  X_future?: (Float64Array | string[])[] | null | undefined;
}

/**
 * The series of a payload. X holds the features whose future is known first, then the historic ones; X_future has the
 * former, `horizon` values for each series.
 *
 * @param historic indices of features without a future, where the request names them (`hist_exog`) instead of leaving them
 *   out of X_future
 */
export async function readSeries(
  account: Account,
  payload: FlatPayload,
  freq: string,
  horizon: number,
  historic?: readonly number[] | null,
  signal?: AbortSignal,
): Promise<FlatSeries[]> {
  const { y, sizes } = payload;
  checkLimits(account, sizes, y.length, horizon);
  const { frequency, name } = frequencyOfAlias(freq);
  const X = payload.X ?? [];
  const future = payload.X_future ?? undefined;
  X.forEach((column, j) => {
    checkLength(column, y.length, `series.X[${j}]`);
  });
  future?.forEach((column, j) => {
    checkLength(column, sizes.length * horizon, `series.X_future[${j}]`);
  });
  if (future && future.length > X.length) {
    throw invalid(`X_future has ${future.length} features, X only ${X.length}`, 'series.X_future');
  }
  const offsets: number[] = [];
  let end = 0;
  for (const size of sizes) {
    offsets.push(end);
    end += size;
  }
  return paced(
    sizes,
    (size, i) => {
      const offset = offsets[i]!;
      const values = y.subarray(offset, offset + size);
      if (!values.some((value) => !Number.isNaN(value))) {
        throw new RequestError({
          status: 422,
          code: 'NO_VALUES',
          message: 'this series has no value that is not missing',
          where: { series: String(i), field: `series.y[${offset}]` },
          index: i,
          fix: 'give at least one number for each series',
        });
      }
      return {
        offset,
        values,
        season: seasonOf(values, frequency),
        frequency: name,
        columns: X.flatMap((column, j) => {
          const tail = future?.[j];
          // Without X_future all of X lies in the past; cross-validation marks what it may not look ahead at.
          const known = future ? tail !== undefined : !(historic?.includes(j) ?? false);
          const part = slice(column, offset, size);
          const joined = tail ? join(part, slice(tail, i * horizon, horizon)) : part;
          return columnsOf(String(j), joined, joined.length, known, `series.X[${j}]`);
        }),
      };
    },
    signal,
  );
}

const seasonOf = (values: Float64Array, frequency: Frequency | undefined) =>
  chooseSeason(values, frequency, undefined).season;

/** Throws 422 for what is more than one request may hold. */
export function checkLimits({ limits }: Account, sizes: readonly number[], points: number, horizon: number): void {
  if (sizes.length > limits.seriesPerRequest) {
    throw invalid(
      `${sizes.length} series, at most ${limits.seriesPerRequest} fit in one request; set num_partitions`,
      'series.sizes',
    );
  }
  if (horizon > limits.horizon) throw invalid(`a horizon of ${horizon}, at most ${limits.horizon}`, 'h');
  if (points + horizon * sizes.length > limits.pointsPerRequest) {
    throw invalid(
      `${points} values, at most ${limits.pointsPerRequest} fit in one request; set num_partitions`,
      'series.y',
    );
  }
}

function checkLength(column: ArrayLike<unknown>, length: number, field: string): void {
  if (column.length !== length) throw invalid(`${column.length} values where ${length} are needed`, field);
}

function slice(column: Float64Array | string[], from: number, count: number): Float64Array | string[] {
  return Array.isArray(column) ? column.slice(from, from + count) : column.subarray(from, from + count);
}

function join(a: Float64Array | string[], b: Float64Array | string[]): Float64Array | string[] {
  if (Array.isArray(a) !== Array.isArray(b)) {
    throw new AdderError({
      code: 'MIXED_FEATURE',
      message: 'a feature holds names in X and numbers in X_future, or the other way round',
      where: { field: 'series.X_future' },
      fix: 'send one kind',
    });
  }
  if (Array.isArray(a)) return [...a, ...(b as string[])];
  const out = new Float64Array(a.length + b.length);
  out.set(a);
  out.set(b as Float64Array, a.length);
  return out;
}
