/** Which season a series is forecast with, for every door alike. */
import { defaultSeason, type Frequency } from '../time/frequency.js';
import { detectSeason } from './season.js';

export type SeasonSource = 'given' | 'frequency' | 'detected' | 'none';

/**
 * The season: as given; else the usual one of the frequency if the history holds two of it; else the one that the data
 * show, if any. Sampling finer than hourly looks at the data first, because machines rarely follow the day.
 */
export function chooseSeason(
  values: Float64Array,
  frequency: Frequency | undefined,
  given: number | undefined,
): { season: number; source: SeasonSource } {
  if (given !== undefined) return { season: given, source: 'given' };
  const usual = defaultSeason(frequency);
  const twice = usual > 1 && values.length >= 2 * usual;
  const fine = frequency !== undefined && ['min', 's', 'ms', 'us'].includes(frequency.unit);
  if (twice && !fine) return { season: usual, source: 'frequency' };
  const none = frequency !== undefined && usual === 1 && ['Y', 'Q', 'M'].includes(frequency.unit);
  const found = none ? 1 : detectSeason(values);
  if (found > 1) return { season: found, source: 'detected' };
  return twice ? { season: usual, source: 'frequency' } : { season: 1, source: 'none' };
}
