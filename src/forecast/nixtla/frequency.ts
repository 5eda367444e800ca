import { AdderError } from '../../platform/errors.js';
import { type Frequency, formatFrequency, parseFrequency } from '../time/frequency.js';
import { invalid } from './invalid.js';

/** Polars writes `1h`, `15m`, `1d`, `1w`, `1mo`, `1q`, `1y`; there a lower-case m is a minute. */
const POLARS: Record<string, string> = {
  y: 'Y',
  q: 'Q',
  mo: 'M',
  w: 'W',
  d: 'D',
  h: 'H',
  m: 'min',
  s: 's',
  ms: 'ms',
  us: 'us',
  ns: 'us',
};

/** Business and semi-monthly aliases of pandas whose step our frequencies have no word for, by the nearest that they have. */
const PANDAS: Record<string, string> = {
  C: 'B',
  CBMS: 'M',
  CBME: 'M',
  SM: '2W',
  SMS: '2W',
  SME: '2W',
  BH: 'H',
  CBH: 'H',
  N: 'us',
  NS: 'us',
};

/**
 * The frequency of a pandas or polars alias. It only chooses season and model input here: future timestamps are the client's
 * business, so an alias like `SM` may be approximate.
 */
export function frequencyOfAlias(alias: string): { frequency: Frequency; name: string } {
  const polars = /^(\d+)(y|q|mo|w|d|h|m|s|ms|us|ns)$/.exec(alias);
  const pandas = /^(-?\d*)([A-Za-z]+)(-.+)?$/.exec(alias);
  const known = pandas ? PANDAS[pandas[2]!.toUpperCase()] : undefined;
  const text = polars ? `${polars[1]}${POLARS[polars[2]!]}` : known && pandas![2] !== 'ns' ? known : alias;
  try {
    const frequency = parseFrequency(text);
    return { frequency, name: formatFrequency(frequency) };
  } catch (error) {
    if (error instanceof AdderError) throw invalid(`${error.message}; ${error.fix}`, 'freq');
    throw error;
  }
}
