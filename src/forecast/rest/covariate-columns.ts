import { AdderError } from '../../platform/errors.js';
import type { CovariateColumn } from './covariates.js';
import type { SeriesInput } from './series-input.js';

/** Categories of one covariate; a column of names with more is an identifier, not a category. */
const MAX_CATEGORIES = 50;

/** The covariates of a series as columns of numbers: names of categories become one column of zeros and ones each. */
export function readCovariates(input: SeriesInput & { values: Float64Array }, horizon: number): CovariateColumn[] {
  const past = Object.entries(input.pastCovariates ?? {}).flatMap(([name, values]) =>
    columnsOf(name, values, input.values.length, false, `pastCovariates.${name}`),
  );
  const future = Object.entries(input.futureCovariates ?? {}).flatMap(([name, values]) =>
    columnsOf(name, values, input.values.length + horizon, true, `futureCovariates.${name}`),
  );
  return [...past, ...future];
}

/** One covariate as columns. Throws `LENGTH_MISMATCH` and `TOO_MANY_CATEGORIES`. */
export function columnsOf(
  name: string,
  values: Float64Array | string[],
  length: number,
  known: boolean,
  field: string,
): CovariateColumn[] {
  if (values.length !== length) {
    throw new AdderError({
      code: 'LENGTH_MISMATCH',
      message: `${values.length} values where ${length} are needed`,
      where: { field },
      fix: known ? 'give one for each observation and each step of the horizon' : 'give one for each observation',
    });
  }
  if (!Array.isArray(values)) return [{ name, values, known }];
  const categories = [...new Set(values)].sort();
  if (categories.length > MAX_CATEGORIES) {
    throw new AdderError({
      code: 'TOO_MANY_CATEGORIES',
      message: `${categories.length} different names; at most ${MAX_CATEGORIES} can be told apart`,
      where: { field },
      fix: 'group rare categories, or leave this covariate out',
    });
  }
  // The first category is what the others differ from.
  return categories.slice(1).map((category) => ({
    name: `${name}=${category}`,
    source: name,
    values: Float64Array.from(values, (value) => (value === category ? 1 : 0)),
    known,
  }));
}
