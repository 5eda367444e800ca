/**
 * The length of the season that a history shows, or 1 if none is significant.
 *
 * 1. Missing values are bridged by straight lines; a straight-line trend is taken off.
 * 2. Candidates are the highest local maxima of the autocorrelation (by FFT) of the values and of their differences, so
 *    that neither a wandering level nor noise hides a period, and periods of periodogram peaks.
 * 3. A candidate m counts if, after a centred moving average of length m is taken off, the autocorrelation at m (and at
 *    2m where the history allows) exceeds its 99.9 % limit under Bartlett's formula. The moving average turns the
 *    autocorrelation of random walks and short-memory noise at lag m negative, which is what keeps them out.
 * 4. The strongest wins, but a shorter one that divides it wins if it is nearly as strong.
 *
 * @param values NaN = missing
 * @param maxSeason longest period considered; never more than a third of the history
 */
export function detectSeason(values: Float64Array, maxSeason = 2000): number {
  const recent = values.length > MAX_POINTS ? values.subarray(values.length - MAX_POINTS) : values;
  const series = bridge(recent);
  const n = series.length;
  const longest = Math.min(maxSeason, Math.floor(n / 3));
  if (n < 8 || longest < 2) return 1;
  detrend(series);
  if (!(variance(series) > 0)) return 1;
  const scored: { season: number; strength: number }[] = [];
  for (const season of candidates(series, longest)) {
    const strength = seasonalStrength(series, season);
    if (strength > 0) scored.push({ season, strength });
  }
  if (scored.length === 0) return 1;
  const best = scored.reduce((a, b) => (b.strength > a.strength ? b : a));
  const divisors = scored.filter((s) => best.season % s.season === 0 && s.strength > 0.85 * best.strength);
  return Math.min(...divisors.map((s) => s.season));
}

/** Enough for two weeks of minutes; more would only cost time. */
const MAX_POINTS = 20_160;

/** One-sided 99.9 % point of the normal distribution: many candidates are tried on each series. */
const Z_LIMIT = 3.09;

/**
 * Autocorrelation at lag `season` of the history without its moving average of that length; 0 when not significant.
 */
function seasonalStrength(series: Float64Array, season: number): number {
  const detrended = withoutMovingAverage(series, season);
  const n = detrended.length;
  if (n < 2 * season || n < 8) return 0;
  const correlation = autocorrelation(detrended, Math.min(2 * season, n - 1));
  // Bartlett: the variance of r(m) when all autocorrelation beyond m−1 vanishes.
  let sum = 0;
  for (let k = 1; k < season; k++) sum += correlation[k]! ** 2;
  const limit = Z_LIMIT * Math.sqrt((1 + 2 * Math.min(sum, n / 20)) / n);
  const at = correlation[season]!;
  if (!(at > limit) || at < 0.1) return 0;
  if (n >= 3 * season && correlation[2 * season]! < 0.5 * limit) return 0;
  // A season is a peak of the correlation, not a point on its slope.
  if (season > 2 && at < Math.max(correlation[season - 1]!, correlation[season + 1] ?? -1)) return 0;
  return at;
}

/** Lags worth testing: the highest local maxima of two autocorrelations and of the periodogram. */
function candidates(series: Float64Array, longest: number): Set<number> {
  const differences = series.subarray(1).map((v, i) => v - series[i]!);
  const lags = Math.min(longest + 1, series.length - 2);
  const found = new Set<number>();
  for (const correlation of [autocorrelation(series, lags), autocorrelation(differences, lags)]) {
    const peaks: { lag: number; height: number }[] = [];
    for (let lag = 2; lag <= longest; lag++) {
      const before = lag > 2 ? correlation[lag - 1]! : -1;
      if (correlation[lag]! > 0 && correlation[lag]! >= before && correlation[lag]! >= (correlation[lag + 1] ?? -1)) {
        peaks.push({ lag, height: correlation[lag]! });
      }
    }
    peaks.sort((a, b) => b.height - a.height);
    for (const { lag } of peaks.slice(0, 12)) found.add(lag);
    // The first clear peak is the fundamental when later multiples are as high.
    const highest = peaks[0]?.height ?? 0;
    for (const { lag } of peaks
      .filter((p) => p.height > 0.7 * highest)
      .sort((a, b) => a.lag - b.lag)
      .slice(0, 4))
      found.add(lag);
  }
  for (const period of periodogramPeaks(differences, longest)) found.add(period);
  return found;
}

/** Rounded periods of the strongest few frequencies, each with its neighbours, because the grid of frequencies is coarse. */
function periodogramPeaks(series: Float64Array, longest: number): number[] {
  const size = powerOfTwo(series.length);
  const re = new Float64Array(size);
  const im = new Float64Array(size);
  re.set(series);
  fft(re, im);
  const bins: { k: number; power: number }[] = [];
  for (let k = 1; k < size / 2; k++) bins.push({ k, power: re[k]! ** 2 + im[k]! ** 2 });
  bins.sort((a, b) => b.power - a.power);
  const periods: number[] = [];
  for (const { k } of bins.slice(0, 4)) {
    const period = size / k;
    for (const p of [Math.floor(period), Math.ceil(period)]) if (p >= 2 && p <= longest) periods.push(p);
  }
  return periods;
}

/** The part of the series that a centred moving average over one period (half weights at both ends if even) leaves. */
function withoutMovingAverage(series: Float64Array, period: number): Float64Array {
  const half = Math.floor(period / 2);
  const even = period % 2 === 0;
  const sums = new Float64Array(series.length + 1);
  for (let i = 0; i < series.length; i++) sums[i + 1] = sums[i]! + series[i]!;
  const out = new Float64Array(Math.max(0, series.length - 2 * half));
  for (let i = half; i < series.length - half; i++) {
    const window = sums[i + half + 1]! - sums[i - half]!;
    const mean = even ? (window - (series[i - half]! + series[i + half]!) / 2) / period : window / period;
    out[i - half] = series[i]! - mean;
  }
  return out;
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

function variance(series: Float64Array): number {
  const mean = series.reduce((a, b) => a + b, 0) / series.length;
  return series.reduce((a, b) => a + (b - mean) ** 2, 0) / series.length;
}
