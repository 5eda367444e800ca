/** A tick of a value axis. */
export interface ValueTick {
  value: number;
  label: string;
}

/** A tick of a time axis; `parent` is the next larger unit, given where it changes (the year under a month). */
export interface TimeTick {
  time: number;
  label: string;
  parent?: string;
}

/** Ticks at multiples of 1, 2, 2.5 or 5 × 10^k inside [low, high], about `count` of them. */
export function valueTicks(low: number, high: number, count: number): ValueTick[] {
  const rough = (high - low) / Math.max(1, count);
  if (!(rough > 0) || !Number.isFinite(rough)) return [{ value: low, label: formatValue(low, Math.abs(low) || 1) }];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 2.5, 5, 10].find((f) => f * power >= rough * (1 - 1e-9)) ?? 10);
  const ticks: ValueTick[] = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) {
    const value = k * step;
    ticks.push({ value, label: formatValue(value, step, Math.max(Math.abs(low), Math.abs(high))) });
  }
  return ticks;
}

/**
 * A number with as many decimals as a difference of `resolution` needs. Thousands are grouped; if the largest number of
 * its company passes a million, all of them are written with k, M, G or T, and beyond 10^15 in powers of ten.
 */
export function formatValue(value: number, resolution: number, largest = Math.abs(value)): string {
  if (value === 0) return '0';
  if (largest >= 1e15 || largest < 1e-4)
    return value.toExponential(Math.min(6, Math.max(0, magnitude(value) - magnitude(resolution)))).replace('e+', 'e');
  const [unit, suffix] = UNITS.find(([size]) => largest >= size * 10) ?? [1, ''];
  const decimals = Math.min(10, decimalsOf(resolution / unit));
  const text = (value / unit).toLocaleString('en', {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
  });
  return `${text.replace(/^-/, '−')}${suffix}`;
}

const UNITS: [number, string][] = [
  [1e12, 'T'],
  [1e9, 'G'],
  [1e6, 'M'],
  [1e5, 'k'],
].map(([size, suffix]) => [size === 1e5 ? 1e3 : (size as number), suffix as string]);

function magnitude(value: number): number {
  return value === 0 ? 0 : Math.floor(Math.log10(Math.abs(value)) + 1e-9);
}

/** Decimals that show a step exactly: 0.25 needs two, 0.2 one, 5 none. */
function decimalsOf(step: number): number {
  for (let d = 0; d < 10; d++) {
    const scaled = step * 10 ** d;
    if (Math.abs(scaled - Math.round(scaled)) < 1e-6 * scaled) return d;
  }
  return 10;
}

const SECOND = 1000;
const MINUTE = 60_000;
const HOUR = 3_600_000;
const DAY = 86_400_000;

/** Steps of fixed length, by which a time axis may be divided, and how a tick and its parent are written. */
const FIXED: { step: number; label: (d: Date) => string; parent: (d: Date) => string }[] = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500].map((n) => ({
    step: n,
    label: (d: Date) => `.${pad(d.getUTCMilliseconds(), 3)}`,
    parent: clockSeconds,
  })),
  ...[1, 2, 5, 10, 15, 30].map((n) => ({ step: n * SECOND, label: clockSeconds, parent: dayAndMonth })),
  ...[1, 2, 5, 10, 15, 30].map((n) => ({ step: n * MINUTE, label: clock, parent: dayAndMonth })),
  ...[1, 2, 3, 6, 12].map((n) => ({ step: n * HOUR, label: clock, parent: dayAndMonth })),
  ...[1, 2].map((n) => ({ step: n * DAY, label: (d: Date) => String(d.getUTCDate()), parent: monthAndYear })),
  { step: 7 * DAY, label: (d: Date) => `${d.getUTCDate()} ${monthName(d)}`, parent: year },
  { step: 14 * DAY, label: (d: Date) => `${d.getUTCDate()} ${monthName(d)}`, parent: year },
];
const MONTH_STEPS = [1, 2, 3, 6];
const YEAR_STEPS = [1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000, 2000];

/**
 * Ticks at round calendar instants (UTC) inside [from, to], at most `count` of them: whole years, months, Mondays, days,
 * hours and so on down to milliseconds.
 */
export function timeTicks(from: number, to: number, count: number): TimeTick[] {
  const span = to - from;
  const most = Math.max(2, count);
  for (const { step, label, parent } of FIXED) {
    if (span / step > most) continue;
    // Weeks start on Monday, 1970-01-05; all other steps on the epoch.
    const origin = step % (7 * DAY) === 0 ? 4 * DAY : 0;
    const instants: number[] = [];
    for (let k = Math.ceil((from - origin) / step); origin + k * step <= to; k++) instants.push(origin + k * step);
    return withParents(instants, label, parent);
  }
  for (const step of MONTH_STEPS) {
    if (span / (step * 30.44 * DAY) > most) continue;
    const label = step === 3 ? quarter : monthName;
    return withParents(monthInstants(from, to, step), label, year);
  }
  const step = YEAR_STEPS.find((years) => span / (years * 365.25 * DAY) <= most) ?? 5000;
  return withParents(monthInstants(from, to, step * 12), year, () => '');
}

function monthInstants(from: number, to: number, step: number): number[] {
  const first = new Date(from);
  const out: number[] = [];
  for (let k = Math.floor((first.getUTCFullYear() * 12 + first.getUTCMonth()) / step); ; k++) {
    const instant = new Date(0);
    instant.setUTCFullYear(Math.floor((k * step) / 12), (k * step) % 12, 1);
    const t = instant.getTime();
    if (t > to) return out;
    if (t >= from) out.push(t);
  }
}

function withParents(instants: number[], label: (d: Date) => string, parent: (d: Date) => string): TimeTick[] {
  let last = '';
  return instants.map((time) => {
    const date = new Date(time);
    const above = parent(date);
    const changed = above !== last;
    last = above;
    return { time, label: label(date), ...(changed && above ? { parent: above } : {}) };
  });
}

const MONTH_NAMES = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const pad = (n: number, width = 2) => String(n).padStart(width, '0');

function monthName(d: Date): string {
  return MONTH_NAMES[d.getUTCMonth()]!;
}
function quarter(d: Date): string {
  return `Q${Math.floor(d.getUTCMonth() / 3) + 1}`;
}
function year(d: Date): string {
  return String(d.getUTCFullYear());
}
function monthAndYear(d: Date): string {
  return `${monthName(d)} ${year(d)}`;
}
function dayAndMonth(d: Date): string {
  return `${d.getUTCDate()} ${monthName(d)} ${year(d)}`;
}
function clock(d: Date): string {
  return `${pad(d.getUTCHours())}:${pad(d.getUTCMinutes())}`;
}
function clockSeconds(d: Date): string {
  return `${clock(d)}:${pad(d.getUTCSeconds())}`;
}

/**
 * Position of an instant on a row of times, in steps; fractional between two of them, undefined outside.
 *
 * @param times increasing
 */
export function positionOf(times: Float64Array, t: number): number | undefined {
  const n = times.length;
  if (n === 0 || t < times[0]! || t > times[n - 1]!) return undefined;
  let low = 0;
  let high = n - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (times[middle]! <= t) low = middle;
    else high = middle;
  }
  if (low === high) return low;
  return low + (t - times[low]!) / (times[high]! - times[low]!);
}
