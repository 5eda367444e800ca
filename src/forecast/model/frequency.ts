/**
 * Frequency classes: the network is told how a series is sampled through one of ten embeddings.
 * 0 stands for unknown; the order is part of the trained weights and must not change.
 */
export const FREQUENCY_CLASSES = [
  'unknown',
  'yearly',
  'quarterly',
  'monthly',
  'weekly',
  'daily',
  'business daily',
  'hourly',
  'minutes',
  'seconds',
] as const;

const CLASS_OF_UNIT: Record<string, number> = {
  Y: 1,
  A: 1,
  YE: 1,
  YS: 1,
  AS: 1,
  Q: 2,
  QE: 2,
  QS: 2,
  M: 3,
  ME: 3,
  MS: 3,
  W: 4,
  D: 5,
  B: 6,
  H: 7,
};

/**
 * Class of a pandas-style frequency (`H`, `15min`, `W-SUN`, `QS-OCT`, `500ms`). A multiple of a unit above minutes
 * (`4W`, `6M`, `2H`) is a rhythm of its own that the classes do not name, so it is unknown, as is anything unrecognised.
 */
export function frequencyClass(frequency: string | undefined): number {
  const match = /^\s*(\d+(?:\.\d+)?)?\s*([A-Za-z]+)(?:-[A-Za-z]{3})?\s*$/.exec(frequency ?? '');
  if (!match) return 0;
  const unit = match[2]!;
  if (unit === 'min' || unit === 'T') return 8;
  if (/^(s|S|sec|ms|L|us|U|ns|N)$/.test(unit)) return 9;
  const one = match[1] === undefined || Number(match[1]) === 1;
  return one ? (CLASS_OF_UNIT[unit === 'h' ? 'H' : unit === 'd' ? 'D' : unit] ?? 0) : 0;
}
