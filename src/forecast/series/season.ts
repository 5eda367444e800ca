/**
 * The length of the season that a history shows, or 1 if none is significant.
 *
 * A season of m steps puts lines into the spectrum, at the frequency 1/m and its multiples; trends, random walks and
 * other memory make it slope, but smoothly. So each candidate m is tested by how far the power at its harmonics stands
 * out of the frequencies beside them:
 *
 * 1. Missing values are bridged by straight lines; a straight-line trend is taken off.
 * 2. Candidates are peaks of the autocorrelation (by FFT) of the values and of their differences, and peaks of the
 *    periodogram.
 * 3. On the last K·m values, K whole periods, the power at harmonic j over the mean power of 2w neighbours follows, for a
 *    spectrum that is locally flat, the distribution F(2, 4w), so P(X > x) = (1 + x/2w)^(−2w). The harmonics are combined
 *    by Fisher's method and by Bonferroni's, and the smaller probability counts, twice.
 * 4. Of the significant candidates the one that explains most wins, but a divisor of it wins if it explains nearly as much.
 *
 * @param values NaN = missing
 * @param maxSeason longest period considered; never more than a third of the history
 */
export function detectSeason(values: Float64Array, maxSeason = 2000): number {
  const recent = values.length > MAX_POINTS ? values.subarray(values.length - MAX_POINTS) : values;
  const series = bridge(recent);
  const n = series.length;
  const longest = Math.min(maxSeason, Math.floor(n / 3));
  if (n < 12 || longest < 2) return 1;
  const scale = spread(series);
  detrend(series);
  // What is left of a straight line is rounding error.
  if (!(spread(series) > 1e-9 * scale)) return 1;
  const spectrum = new Spectrum(series);
  const explained = new Map<number, number>();
  const score = (m: number): number => {
    if (m < 2 || m > longest) return 0;
    const known = explained.get(m) ?? seasonalPower(series, m, spectrum);
    explained.set(m, known);
    return known;
  };
  let best = 1;
  let most = 0;
  for (const m of candidates(series, longest, spectrum)) {
    if (score(m) <= most) continue;
    best = m;
    most = score(m);
  }
  if (most === 0) return 1;
  // Peaks may lie a step beside the period.
  for (let moved = true; moved; ) {
    moved = false;
    for (const m of [best - 1, best + 1]) {
      if (score(m) <= most) continue;
      best = m;
      most = score(m);
      moved = true;
    }
  }
  for (let m = 2; m < best; m++) if (best % m === 0 && score(m) > 0.85 * most) return m;
  return best;
}

/** Two weeks of minutes; more would only cost time. */
const MAX_POINTS = 20_160;

/** Tens of candidates are tried on each series, so each has to be this improbable by chance. */
const SIGNIFICANCE = 1e-4;

/** Harmonics tested, and neighbours on each side. More harmonics than a dozen add cost, not power. */
const MAX_HARMONICS = 12;
const MAX_NEIGHBOURS = 4;

/** Share of the power from three quarters of the base frequency upwards that a season must explain to matter. */
const MIN_SHARE = 0.1;

/** Power that the season m explains beyond its surroundings, per value; 0 when it is not significant. */
function seasonalPower(series: Float64Array, m: number, spectrum: Spectrum): number {
  const cycles = Math.floor(series.length / m);
  const length = cycles * m;
  const part = series.subarray(series.length - length);
  const neighbours = Math.min(MAX_NEIGHBOURS, Math.floor((cycles - 1) / 2));
  if (neighbours < 1) return 0;
  let power = 0;
  let logs = 0;
  let smallest = 0;
  const harmonics = Math.min(MAX_HARMONICS, Math.floor(m / 2));
  for (let j = 1; j <= harmonics; j++) {
    const at = j * cycles;
    const line = powerAt(part, at);
    let beside = 0;
    let count = 0;
    for (let d = 1; d <= neighbours; d++) {
      for (const k of [at - d, at + d]) {
        if (k < 1 || 2 * k > length) continue;
        beside += powerAt(part, k);
        count++;
      }
    }
    beside = Math.max(beside / count, 1e-12 * spectrum.total);
    // At the highest frequency the line has one degree of freedom instead of two; treating it alike only costs power.
    const log = -count * Math.log1p(line / beside / count);
    logs += log;
    smallest = Math.min(smallest, log);
    // A frequency below the highest stands for two lines of the spectrum, ±k.
    if (line > beside) power += (line - beside) * (2 * at === length ? 1 : 2);
  }
  const fisher = chiSquareTail(-2 * logs, 2 * harmonics);
  const bonferroni = harmonics * Math.exp(smallest);
  if (2 * Math.min(fisher, bonferroni) > SIGNIFICANCE) return 0;
  const variance = power / length ** 2;
  return variance > MIN_SHARE * spectrum.varianceAbove(0.75 / m) ? variance : 0;
}

/** |Σ y_t e^(−2πikt/n)|², by Goertzel's recurrence. */
function powerAt(y: Float64Array, k: number): number {
  const turn = 2 * Math.cos((2 * Math.PI * k) / y.length);
  let s1 = 0;
  let s2 = 0;
  for (let t = 0; t < y.length; t++) {
    const s = y[t]! + turn * s1 - s2;
    s2 = s1;
    s1 = s;
  }
  return Math.max(0, s1 * s1 + s2 * s2 - turn * s1 * s2);
}

/** P(χ² > x) with an even number of degrees of freedom: a Poisson sum, exact. */
function chiSquareTail(x: number, degrees: number): number {
  let term = Math.exp(-x / 2);
  let sum = term;
  for (let i = 1; i < degrees / 2; i++) {
    term *= x / 2 / i;
    sum += term;
  }
  return Math.min(1, sum);
}

/** Periodogram of a series on the frequencies of a power of two. */
class Spectrum {
  readonly size: number;
  /** |X_k|² for k = 0 … size/2. */
  readonly power: Float64Array;
  /** Power summed from k to the top. */
  private readonly above: Float64Array;
  private readonly length: number;

  constructor(series: Float64Array) {
    this.length = series.length;
    this.size = powerOfTwo(series.length);
    const re = new Float64Array(this.size);
    const im = new Float64Array(this.size);
    re.set(series);
    fft(re, im);
    const half = this.size / 2;
    this.power = new Float64Array(half + 1);
    this.above = new Float64Array(half + 2);
    for (let k = half; k >= 0; k--) {
      this.power[k] = re[k]! ** 2 + im[k]! ** 2;
      this.above[k] = this.above[k + 1]! + this.power[k]!;
    }
  }

  get total(): number {
    return this.above[0]!;
  }

  /** Variance of the part of the series with at least so many cycles a step. */
  varianceAbove(frequency: number): number {
    return (2 * this.above[Math.min(this.size / 2, Math.ceil(frequency * this.size))]!) / (this.size * this.length);
  }
}

/** Lags worth testing: the highest local maxima of two autocorrelations, and periods of the highest of the periodogram. */
function candidates(series: Float64Array, longest: number, spectrum: Spectrum): Set<number> {
  const differences = series.subarray(1).map((v, i) => v - series[i]!);
  const lags = Math.min(longest + 1, series.length - 2);
  const found = new Set<number>();
  for (const correlation of [autocorrelation(series, lags), autocorrelation(differences, lags)]) {
    const peaks = localMaxima(correlation, 2, longest);
    for (const lag of peaks.slice(0, 6)) found.add(lag);
    // The first clear peak is the fundamental when its multiples are as high.
    const clear = peaks.filter((lag) => correlation[lag]! > 0.7 * correlation[peaks[0]!]!);
    for (const lag of clear.sort((a, b) => a - b).slice(0, 3)) found.add(lag);
  }
  const { size, power } = spectrum;
  // Weighted by frequency squared, the spectrum of the differences: slow wandering does not hide the lines.
  const sharpened = power.map((p, k) => p * k * k);
  for (const values of [power, sharpened]) {
    for (const k of localMaxima(values, Math.max(1, Math.ceil(size / longest)), size / 2).slice(0, 4)) {
      found.add(Math.floor(size / k));
      found.add(Math.ceil(size / k));
    }
  }
  return found;
}

/** Positive local maxima of values[from … to], highest first. */
function localMaxima(values: Float64Array, from: number, to: number): number[] {
  const peaks: number[] = [];
  for (let i = from; i <= to; i++) {
    const before = i > from ? values[i - 1]! : Number.NEGATIVE_INFINITY;
    if (values[i]! > 0 && values[i]! >= before && values[i]! >= (values[i + 1] ?? Number.NEGATIVE_INFINITY))
      peaks.push(i);
  }
  return peaks.sort((a, b) => values[b]! - values[a]!);
}

/** Sample autocorrelation at lags 0 … maxLag (biased, so that it is a valid correlation function), by FFT. */
export function autocorrelation(series: Float64Array, maxLag: number): Float64Array {
  const n = series.length;
  const mean = series.reduce((a, b) => a + b, 0) / n;
  const size = powerOfTwo(2 * n);
  const re = new Float64Array(size);
  const im = new Float64Array(size);
  for (let i = 0; i < n; i++) re[i] = series[i]! - mean;
  fft(re, im);
  for (let k = 0; k < size; k++) {
    re[k] = re[k]! ** 2 + im[k]! ** 2;
    im[k] = 0;
  }
  // The power spectrum is even, so a forward transform is an inverse one up to the factor `size`.
  fft(re, im);
  const out = new Float64Array(maxLag + 1);
  if (re[0]! > 0) for (let lag = 0; lag <= maxLag; lag++) out[lag] = re[lag]! / re[0]!;
  return out;
}

function powerOfTwo(n: number): number {
  let size = 2;
  while (size < n) size *= 2;
  return size;
}

/** In-place radix-2 Fourier transform; the length is a power of two. */
function fft(re: Float64Array, im: Float64Array): void {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j]!, re[i]!];
      [im[i], im[j]] = [im[j]!, im[i]!];
    }
  }
  for (let size = 2; size <= n; size *= 2) {
    const half = size / 2;
    for (let k = 0; k < half; k++) {
      const angle = (-2 * Math.PI * k) / size;
      const c = Math.cos(angle);
      const s = Math.sin(angle);
      for (let i = k; i < n; i += size) {
        const j = i + half;
        const x = re[j]! * c - im[j]! * s;
        const y = re[j]! * s + im[j]! * c;
        re[j] = re[i]! - x;
        im[j] = im[i]! - y;
        re[i] = re[i]! + x;
        im[i] = im[i]! + y;
      }
    }
  }
}

/** A copy without leading and trailing missing values, inner ones bridged by straight lines. */
export function bridge(values: Float64Array): Float64Array {
  let first = 0;
  let last = values.length - 1;
  while (first <= last && Number.isNaN(values[first]!)) first++;
  while (last >= first && Number.isNaN(values[last]!)) last--;
  const out = values.slice(first, last + 1);
  let previous = 0;
  for (let i = 1; i < out.length; i++) {
    if (Number.isNaN(out[i]!)) continue;
    for (let j = previous + 1; j < i; j++) {
      out[j] = out[previous]! + ((out[i]! - out[previous]!) * (j - previous)) / (i - previous);
    }
    previous = i;
  }
  return out;
}

/** Takes the least-squares line off, in place. */
function detrend(series: Float64Array): void {
  const n = series.length;
  const centre = (n - 1) / 2;
  let mean = 0;
  let slope = 0;
  let spread = 0;
  for (let i = 0; i < n; i++) {
    mean += series[i]! / n;
    slope += (i - centre) * series[i]!;
    spread += (i - centre) ** 2;
  }
  slope /= spread;
  for (let i = 0; i < n; i++) series[i] = series[i]! - mean - slope * (i - centre);
}

/** Standard deviation. */
function spread(series: Float64Array): number {
  const mean = series.reduce((a, b) => a + b, 0) / series.length;
  return Math.sqrt(series.reduce((a, b) => a + (b - mean) ** 2, 0) / series.length);
}
