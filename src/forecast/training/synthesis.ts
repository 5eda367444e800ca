/**
 * Synthetic series: a random gated sum of what real series are made of (random walks and local trends, Gaussian
 * processes by random Fourier features, autoregressions, lines and jumps, seasonal templates with drifting amplitude,
 * weeks of unlike days, noise of changing volatility), half of the time transformed into something multiplicative, counted, clipped, rounded
 * or closed on weekends.
 *
 * A series is generated over a virtual span of `SPAN` steps of which a window is materialised, so that a short window
 * looks like a piece of a long series.
 */
import type { Random } from './random.js';

const SPAN = 2048;
const HARMONICS = 33;
const TEMPLATE = 64;
const FOURIER_FEATURES = 24;
const TWO_PI = 2 * Math.PI;

/** Seasons as they occur, common ones repeated. */
const SEASONS = [4, 4, 12, 12, 12, 7, 7, 7, 24, 24, 24, 52, 52, 5, 6, 10, 14, 28, 30, 48, 48, 96, 144, 168, 288, 365];
/** Seasons that are days: half of such series have a week. */
const DAYS = [24, 48, 96, 144, 288];
/** Frequency class that a declared season suggests. */
const CLASS_OF_SEASON = new Map([
  [4, 2],
  [12, 3],
  [52, 4],
  [7, 5],
  [5, 6],
  [24, 7],
]);

const cosines = Float64Array.from({ length: TEMPLATE }, (_, i) => Math.cos((TWO_PI * i) / TEMPLATE));

export interface SyntheticSeries {
  /** What would be declared: a whole number of steps, 1 if the series has no such season. */
  season: number;
  frequencyClass: number;
}

export class Synthesiser {
  private readonly drift: Float64Array;
  private readonly seasonal: Float64Array;
  private readonly slow: Float64Array;
  private readonly template = new Float64Array(TEMPLATE);
  private readonly resting = new Float64Array(TEMPLATE);
  private readonly phasors = new Float64Array(4 * FOURIER_FEATURES);

  constructor(maxLength: number) {
    this.drift = new Float64Array(maxLength);
    this.seasonal = new Float64Array(maxLength);
    this.slow = new Float64Array(maxLength);
  }

  /** Fills x[0, length) with a new series of about unit scale. */
  generate(random: Random, x: Float64Array, length: number): SyntheticSeries {
    const start = random.integer(Math.max(1, SPAN - length + 1));
    const { seasonal, slow } = this;
    this.drift.fill(0, 0, length);
    seasonal.fill(0, 0, length);

    // A slow process that may modulate the volatility and the seasonal amplitude.
    const volatile = random.chance(0.3);
    const modulated = random.chance(0.3);
    if (volatile || modulated) {
      slow.fill(0, 0, length);
      this.addGaussianProcess(random, slow, length, random.logUniform(50, 2000), 1);
    }
    this.addDrift(random, length, volatile);

    const hasSeason = random.chance(0.7);
    const period = drawPeriod(random);
    if (hasSeason) {
      const weight = random.logUniform(0.1, 2);
      const hasWeek = DAYS.includes(period) && random.chance(0.5);
      if (hasWeek) this.addWeek(random, start, length, period, weight);
      else this.addSeason(random, start, length, period, weight, modulated);
      const second = random.chance(0.5) ? period * (2 + random.integer(6)) : drawPeriod(random);
      const secondWeight = gate(random, 0.3, 0.1, 1);
      if (secondWeight > 0) this.addSeason(random, start, length, second, secondWeight, false);
      const thirdWeight = gate(random, 0.08, 0.05, 0.5);
      if (thirdWeight > 0) this.addSeason(random, start, length, drawPeriod(random), thirdWeight, false);
    }

    const noise = gate(random, 0.85, 0.01, 0.8);
    const heavy = random.chance(0.25);
    const noiseFollowsVolatility = volatile && random.chance(0.2);
    const noiseFollowsSeason = random.chance(0.15);
    for (let i = 0; i < length; i++) {
      let e = 0;
      if (noise > 0) {
        e = noise * (heavy ? random.laplace() : random.normal());
        if (noiseFollowsVolatility) e *= Math.exp(0.7 * slow[i]!);
        if (noiseFollowsSeason) e *= Math.exp(0.5 * seasonal[i]!);
      }
      x[i] = this.drift[i]! + seasonal[i]! + e;
    }
    transform(random, x, length, start);

    const whole = Math.round(period);
    const declared = hasSeason && Math.abs(period - whole) < 0.02 && whole >= 2;
    return { season: declared ? whole : 1, frequencyClass: drawClass(random, declared ? whole : 1) };
  }

  /** The sum of the gated trend-like components. */
  private addDrift(random: Random, length: number, volatile: boolean): void {
    const out = this.drift;
    const walk = gate(random, 0.35, 0.01, 0.6);
    if (walk > 0) {
      const drift = random.chance(0.5) ? 0.15 * random.normal() : 0;
      const shocks = random.chance(0.2);
      let level = 0;
      for (let i = 0; i < length; i++) {
        let e = random.normal();
        if (volatile) e *= Math.exp(0.7 * this.slow[i]!);
        if (shocks && random.chance(0.01)) e += 4 * random.normal();
        level += e + drift;
        out[i]! += walk * level;
      }
    }
    const trend = gate(random, 0.15, 0.003, 0.1);
    if (trend > 0) {
      const change = random.logUniform(0.002, 0.1);
      // The slope has walked for a while before the window begins.
      let slope = change * Math.sqrt(SPAN / 2) * random.normal();
      let level = 0;
      for (let i = 0; i < length; i++) {
        slope += change * random.normal();
        level += 0.3 * slope + 0.5 * random.normal();
        out[i]! += trend * level;
      }
    }
    const autoregression = gate(random, 0.3, 0.05, 2);
    if (autoregression > 0) {
      const phi = 1 - 1 / random.logUniform(1.5, 200);
      const innovation = Math.sqrt(1 - phi * phi);
      let state = random.normal();
      for (let i = 0; i < length; i++) {
        out[i]! += autoregression * state;
        state = phi * state + innovation * random.normal();
      }
    }
    const process = gate(random, 0.35, 0.05, 2);
    if (process > 0) this.addGaussianProcess(random, out, length, random.logUniform(3, 1500), process);
    const lines = gate(random, 0.35, 0.05, 2);
    if (lines > 0) {
      const slope = (3 * random.normal()) / SPAN;
      const bend = random.integer(SPAN);
      const change = random.chance(0.4) ? (4 * random.normal()) / SPAN : 0;
      const start = random.integer(Math.max(1, SPAN - length + 1));
      for (let i = 0; i < length; i++) out[i]! += lines * (slope * i + change * Math.max(start + i - bend, 0));
    }
    const jumps = gate(random, 0.2, 0.05, 2);
    if (jumps > 0) {
      const rate = random.logUniform(0.0005, 0.02);
      let level = 0;
      for (let i = 0; i < length; i++) {
        if (random.chance(rate)) level += random.normal();
        out[i]! += jumps * level;
      }
    }
  }

  /**
   * Adds `weight` times a zero-mean unit-variance stationary Gaussian process of length scale `scale`, as a sum of
   * random cosines (Rahimi & Recht 2007): normal frequencies give the squared-exponential kernel, a third of them
   * divided by |normal| + 0.3 give the heavier spectrum of a rational quadratic one.
   */
  private addGaussianProcess(random: Random, out: Float64Array, length: number, scale: number, weight: number): void {
    const z = this.phasors;
    const rough = random.chance(0.3);
    const amplitude = weight * Math.sqrt(2 / FOURIER_FEATURES);
    for (let k = 0; k < FOURIER_FEATURES; k++) {
      let frequency = random.normal() / scale;
      if (rough) frequency /= Math.abs(random.normal()) + 0.3;
      const phase = TWO_PI * random.uniform();
      z[4 * k] = amplitude * Math.cos(phase);
      z[4 * k + 1] = amplitude * Math.sin(phase);
      z[4 * k + 2] = Math.cos(frequency);
      z[4 * k + 3] = Math.sin(frequency);
    }
    // Turning each phasor by its step costs four products instead of a cosine.
    for (let k = 0; k < 4 * FOURIER_FEATURES; k += 4) {
      let re = z[k]!;
      let im = z[k + 1]!;
      const c = z[k + 2]!;
      const s = z[k + 3]!;
      for (let i = 0; i < length; i++) {
        out[i]! += re;
        const turned = re * c - im * s;
        im = re * s + im * c;
        re = turned;
      }
    }
  }

  /** Adds one season: a random periodic template, optionally with an amplitude that drifts. */
  private addSeason(
    random: Random,
    start: number,
    length: number,
    period: number,
    weight: number,
    modulated: boolean,
  ): void {
    const shape = this.template;
    const stepped = drawTemplate(random, shape);
    const phase = random.uniform();
    for (let i = 0; i < length; i++) {
      const cycle = (start + i) / period + phase;
      const at = (cycle - Math.floor(cycle)) * TEMPLATE;
      const bin = Math.floor(at) % TEMPLATE;
      const next = shape[(bin + 1) % TEMPLATE]!;
      const value = stepped ? shape[bin]! : shape[bin]! + (at - Math.floor(at)) * (next - shape[bin]!);
      const amplitude = modulated ? 1 + 0.6 * Math.max(-1.5, Math.min(1.5, this.slow[i]!)) : 1;
      this.seasonal[i]! += weight * amplitude * value;
    }
  }

  /** Adds days of `period` steps that follow one template on working days and another, or a weaker one, on the others. */
  private addWeek(random: Random, start: number, length: number, period: number, weight: number): void {
    const { template: working, resting } = this;
    drawTemplate(random, working);
    drawTemplate(random, resting);
    const likeness = random.uniform();
    for (let i = 0; i < TEMPLATE; i++) resting[i] = likeness * working[i]! + (1 - likeness) * resting[i]!;
    const firstRest = random.integer(7);
    const rests = random.chance(0.7) ? 2 : 1;
    const isRest = (day: number) => (day - firstRest + 7) % 7 < rests;
    const lower = random.chance(0.7) ? 2 * random.uniform() : 0;
    const quieter = random.chance(0.5) ? random.uniform() : 1;
    const unlike = random.logUniform(0.01, 0.3);
    const levels = Array.from({ length: 7 }, (_, day) => unlike * random.normal() - (isRest(day) ? lower : 0));
    const phase = random.uniform();
    for (let i = 0; i < length; i++) {
      const cycle = (start + i) / period + phase;
      const day = Math.floor(cycle) % 7;
      const at = (cycle - Math.floor(cycle)) * TEMPLATE;
      const bin = Math.floor(at) % TEMPLATE;
      const rest = isRest(day);
      const shape = rest ? resting : working;
      const value = shape[bin]! + (at - Math.floor(at)) * (shape[(bin + 1) % TEMPLATE]! - shape[bin]!);
      this.seasonal[i]! += weight * ((rest ? quieter : 1) * value + levels[day]!);
    }
  }
}

/** 0, or with the given probability a log-uniform weight. */
function gate(random: Random, probability: number, low: number, high: number): number {
  const open = random.chance(probability);
  return open ? random.logUniform(low, high) : 0;
}

function drawPeriod(random: Random): number {
  if (random.chance(0.6)) return SEASONS[random.integer(SEASONS.length)]!;
  const period = random.logUniform(3, 400);
  return random.chance(0.6) ? Math.round(period) : period;
}

/** Most series carry the frequency class that goes with their season; some none. */
function drawClass(random: Random, season: number): number {
  const yearly = season === 1 && random.chance(0.6);
  if (random.chance(0.1)) return 0;
  if (season === 1) return yearly ? 1 : 0;
  return CLASS_OF_SEASON.get(season) ?? (season >= 48 ? 8 : 0);
}

/**
 * One period in 64 bins, zero mean and unit variance: a random Fourier series whose harmonics fade at a random rate,
 * or its exponential (spiky), a pulse, or a saw tooth. Returns whether it must not be interpolated.
 */
function drawTemplate(random: Random, shape: Float64Array): boolean {
  const kind = random.uniform();
  if (kind < 0.12) {
    const width = 0.02 + 0.6 * random.uniform();
    for (let i = 0; i < TEMPLATE; i++) shape[i] = i / TEMPLATE < width ? 1 : 0;
  } else if (kind < 0.2) {
    for (let i = 0; i < TEMPLATE; i++) shape[i] = i / TEMPLATE;
  } else {
    const fade = random.logUniform(0.03, 2);
    shape.fill(0);
    for (let k = 1; k < HARMONICS; k++) {
      const a = Math.exp(-fade * k);
      // Harmonics this faint are not worth their cost.
      if (a < 1e-5) break;
      const re = a * random.normal();
      const im = a * random.normal();
      for (let i = 0; i < TEMPLATE; i++) {
        const at = (k * i) % TEMPLATE;
        shape[i]! += re * cosines[at]! + im * cosines[(at + TEMPLATE / 4) % TEMPLATE]!;
      }
    }
    standardise(shape, TEMPLATE);
    if (kind < 0.32) for (let i = 0; i < TEMPLATE; i++) shape[i] = Math.exp(1.2 * shape[i]!);
  }
  standardise(shape, TEMPLATE);
  return kind < 0.2;
}

/** What happens to a quarter of all series as a whole, and then to a fifth: see the file's head. */
function transform(random: Random, x: Float64Array, length: number, start: number): void {
  if (random.chance(0.25)) {
    const strength = random.logUniform(0.05, 1) / (deviation(x, length) + 1e-3);
    for (let i = 0; i < length; i++) x[i] = Math.exp(Math.max(-8, Math.min(8, strength * x[i]!)));
  }
  const kind = random.uniform();
  const sd = deviation(x, length);
  if (kind < 0.06) {
    // Counts, often mostly zeros.
    const rate = 1.2 * random.normal();
    for (let i = 0; i < length; i++) {
      x[i] = random.poisson(Math.exp(Math.max(-6, Math.min(5, (0.7 * x[i]!) / (sd + 1e-3) + rate))));
    }
  } else if (kind < 0.11) {
    const rate = random.logUniform(0.002, 0.05);
    for (let i = 0; i < length; i++) if (random.chance(rate)) x[i]! += 4 * sd * random.normal();
  } else if (kind < 0.14) {
    let mean = 0;
    for (let i = 0; i < length; i++) mean += x[i]! / length;
    const floor = mean - sd * (0.3 + 1.5 * random.uniform());
    for (let i = 0; i < length; i++) x[i] = Math.max(x[i]!, floor);
  } else if (kind < 0.18) {
    const grain = sd * random.logUniform(0.05, 1) + 1e-6;
    for (let i = 0; i < length; i++) x[i] = Math.round(x[i]! / grain) * grain;
  } else if (kind < 0.21) {
    for (let i = 0; i < length; i++) if ((start + i) % 7 >= 5) x[i] = 0;
  }
}

function deviation(x: Float64Array, length: number): number {
  let mean = 0;
  for (let i = 0; i < length; i++) mean += x[i]!;
  mean /= length;
  let sum = 0;
  for (let i = 0; i < length; i++) sum += (x[i]! - mean) ** 2;
  return Math.sqrt(sum / length);
}

function standardise(x: Float64Array, length: number): void {
  let mean = 0;
  for (let i = 0; i < length; i++) mean += x[i]!;
  mean /= length;
  const scale = 1 / (deviation(x, length) + 1e-6);
  for (let i = 0; i < length; i++) x[i] = (x[i]! - mean) * scale;
}
