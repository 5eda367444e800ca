/**
 * Training windows: pieces of real and synthetic series, augmented, cut into patches and masked.
 *
 * A window is `length` steps, right aligned but for up to a patch of padding, so that patch boundaries fall anywhere in
 * a series and series shorter than a patch give training signal too. Masked patches are hidden from the network but
 * remain targets (contiguous patch masking, Auer et al. 2025): the network learns to forecast several patches from one
 * state, which is how a long horizon is rolled out. Some windows have look-ahead tokens, which a live stream makes between
 * two whole patches: they come less than a patch after the token before and overlap it.
 */
import type { Corpus, SeriesSampler } from './corpus.js';
import type { Random } from './random.js';
import type { Synthesiser } from './synthesis.js';

/** How the windows of one part of a batch are drawn. */
export interface WindowOptions {
  /** Steps, a whole number of patches. */
  length: number;
  patch: number;
  /** Share of synthetic windows. */
  synthetic: number;
  /** Share of windows that use the whole length; others are log-uniform from `shortest`. */
  full: number;
  shortest: number;
  /** Share of windows whose end is masked as in a long forecast, up to `longest` patches of it. */
  rollout: number;
  longestRollout: number;
  /**
   * Share of windows with look-ahead tokens: in half of those one, with only masked patches behind it, in the others one
   * in four, wherever they fall. (A stream goes on from the state before its look-ahead token; here the tokens behind
   * learn to do without what the overlap repeats.)
   */
  lookAhead: number;
  augment: boolean;
}

/** One window: values (NaN: missing or outside), and what is declared of it. */
export interface Window {
  values: Float64Array;
  season: number;
  frequencyClass: number;
}

/** Largest share of a window that is masked at its end. */
const LONGEST_ROLLOUT = 0.8;
const SEASONS = [4, 5, 7, 12, 24, 28, 30, 48, 52, 96, 168];

export class WindowSampler {
  private readonly windows: Window[] = [];
  private readonly originals: Float64Array[] = [];
  private readonly scratch: Float64Array;

  constructor(
    private readonly corpus: Corpus,
    private readonly sampler: SeriesSampler,
    private readonly synthesiser: Synthesiser,
    private readonly options: WindowOptions,
  ) {
    this.scratch = new Float64Array(options.length);
  }

  /** Draws `count` windows; they are overwritten by the next call. */
  draw(random: Random, count: number): Window[] {
    const { length, augment } = this.options;
    while (this.windows.length < count) {
      this.windows.push({ values: new Float64Array(length), season: 1, frequencyClass: 0 });
      this.originals.push(new Float64Array(length));
    }
    const windows = this.windows.slice(0, count);
    for (const window of windows) {
      if (random.chance(this.options.synthetic)) this.drawSynthetic(random, window);
      else this.drawReal(random, window);
      normalise(window.values);
    }
    if (augment) {
      // Mixing reads its partners as they were before any mixing.
      windows.forEach((window, i) => {
        this.originals[i]!.set(window.values);
      });
      const declared = windows.map(({ season, frequencyClass }) => ({ season, frequencyClass }));
      for (const window of windows) {
        if (!random.chance(0.15)) continue;
        const partner = random.integer(count);
        mixUp(random, window, this.originals[partner]!, declared[partner]!);
      }
      for (const window of windows) this.alter(random, window);
    }
    return windows;
  }

  /** Steps to fill and steps of padding at the right. */
  private drawExtent(random: Random, available: number): { count: number; padding: number } {
    const { length, patch, full, shortest } = this.options;
    const wanted = random.chance(full) ? length : Math.floor(random.logUniform(shortest, length));
    const padding = random.integer(patch);
    return { count: Math.max(8, Math.min(wanted, available, length - padding)), padding };
  }

  private drawSynthetic(random: Random, window: Window): void {
    const { values } = window;
    const { count, padding } = this.drawExtent(random, values.length);
    const info = this.synthesiser.generate(random, this.scratch, count);
    const end = values.length - padding;
    values.fill(Number.NaN);
    values.set(this.scratch.subarray(0, count), end - count);
    window.season = info.season;
    window.frequencyClass = info.frequencyClass;
    if (this.options.augment) redeclare(random, window);
  }

  private drawReal(random: Random, window: Window): void {
    const { corpus } = this;
    const { values } = window;
    const series = this.sampler.pick(random.uniform());
    const total = corpus.length[series]!;
    window.season = corpus.season[series]!;
    window.frequencyClass = corpus.frequencyClass[series]!;
    let stride = 1;
    if (this.options.augment) {
      const wanted = 2 + random.integer(3);
      if (random.chance(0.15) && total >= wanted * 40) stride = wanted;
      if (stride > 1) {
        const m = window.season;
        window.season = m > stride && m % stride === 0 ? m / stride : 1;
        window.frequencyClass = 0;
      }
      if ((window.season === 24 || window.season === 48) && random.chance(0.2)) window.season *= 7;
      redeclare(random, window);
    }
    const { count, padding } = this.drawExtent(random, Math.floor(total / stride));
    const taken = Math.min(count, Math.floor((total - 1) / stride) + 1);
    const span = (taken - 1) * stride + 1;
    const from = corpus.start[series]! + random.integer(total - span + 1);
    const end = values.length - padding;
    values.fill(Number.NaN);
    for (let i = 0; i < taken; i++) values[end - taken + i] = corpus.values[from + i * stride]!;
  }

  /** Alterations that keep a series a plausible one; each rare, most windows have none or one. */
  private alter(random: Random, window: Window): void {
    const x = window.values;
    const n = x.length;
    if (random.chance(0.35)) for (let i = 0; i < n; i++) x[i] = -x[i]!;
    if (random.chance(0.12)) {
      const slope = 1.6 * random.uniform() - 0.8;
      const wave = random.chance(0.5) ? 0.3 : 0;
      const turns = random.logUniform(1, 10);
      const phase = 6 * random.uniform();
      const offset = 2 * random.normal();
      for (let i = 0; i < n; i++) {
        const t = (2 * i) / (n - 1) - 1;
        x[i] = (x[i]! + offset) * (1 + slope * t + wave * Math.sin(turns * t + phase));
      }
    }
    if (random.chance(0.06)) reverse(x);
    if (random.chance(0.04)) {
      // Censoring: readings beyond a limit are reported as the limit.
      const limit = 0.3 + 1.5 * random.uniform();
      const above = random.chance(0.5);
      for (let i = 0; i < n; i++) x[i] = above ? Math.min(x[i]!, limit) : Math.max(x[i]!, -limit);
    }
    if (random.chance(0.05)) for (let i = 0; i < n; i++) if (random.chance(0.01)) x[i]! += 5 * random.normal();
    if (random.chance(0.08)) {
      const from = random.integer(n);
      const to = from + random.integer(Math.max(1, Math.floor(0.15 * n)));
      const rate = 0.1 * random.uniform();
      for (let i = 0; i < n; i++) if ((i >= from && i < to) || random.chance(rate)) x[i] = Number.NaN;
    }
  }

  /**
   * Draws which of the first `patches` tokens hide their new values from the network (`mask`; the first never does), and
   * how many values are new in each (`fresh`: the patch, or less in a look-ahead token).
   */
  mask(random: Random, mask: Uint8Array, fresh: Uint8Array, patches: number): void {
    const { patch, rollout } = this.options;
    const longestRun = Math.max(1, Math.floor(96 / patch));
    const run = 1 + random.integer(longestRun);
    const rate = (0.5 * random.uniform()) / run;
    let hidden = 0;
    mask[0] = 0;
    for (let j = 1; j < patches; j++) {
      if (random.chance(rate)) hidden = run;
      mask[j] = hidden > 0 ? 1 : 0;
      hidden--;
    }
    if (random.chance(rollout) && patches > 3) mask.fill(1, patches - this.drawRollout(random, patches), patches);
    this.drawFresh(random, mask, fresh, patches);
  }

  /** Patches of a masked end: evenly in the logarithm, so that long ones are as well known as short ones. */
  private drawRollout(random: Random, patches: number): number {
    const longest = Math.min(this.options.longestRollout, Math.floor(LONGEST_ROLLOUT * patches));
    return longest > 2 ? Math.floor(random.logUniform(2, longest + 1)) : Math.min(2, patches - 1);
  }

  private drawFresh(random: Random, mask: Uint8Array, fresh: Uint8Array, patches: number): void {
    const { lookAhead, patch } = this.options;
    fresh.fill(patch, 0, patches);
    if (!random.chance(lookAhead)) return;
    const fewer = () => 1 + random.integer(patch - 1);
    if (patches > 1 && random.chance(0.5)) {
      // As in a stream that is asked for a forecast: the look-ahead token is the last that sees anything.
      const tail = random.chance(0.5) ? 1 : this.drawRollout(random, patches);
      mask.fill(1, patches - tail, patches);
      mask[patches - tail - 1] = 0;
      fresh[patches - tail - 1] = fewer();
    } else {
      for (let j = 0; j < patches; j++) if (random.chance(0.25)) fresh[j] = fewer();
    }
  }
}

/** Seasons and frequencies that users leave out, and now and then get wrong. */
function redeclare(random: Random, window: Window): void {
  const u = random.uniform();
  if (u < 0.1) window.season = 1;
  else if (u < 0.13) window.season = SEASONS[random.integer(SEASONS.length)]!;
  if (u < 0.13 || random.chance(0.1)) window.frequencyClass = 0;
}

/** Zero mean and unit deviation over the observed values, in place. */
function normalise(x: Float64Array): void {
  let n = 0;
  let mean = 0;
  let sum = 0;
  for (let i = 0; i < x.length; i++) {
    const v = x[i]!;
    if (Number.isNaN(v)) continue;
    const delta = v - mean;
    mean += delta / ++n;
    sum += delta * (v - mean);
  }
  // Rounding about a level is no movement: such a window stays (nearly) constant.
  const scale = 1 / (Math.sqrt(n > 0 ? sum / n : 0) + 1e-4 * Math.abs(mean) + 1e-8);
  for (let i = 0; i < x.length; i++) x[i] = (x[i]! - mean) * scale;
}

/** λ·window + (1 − λ)·partner where both are observed (Zhang et al. 2018, in the time-series form of Chronos). */
function mixUp(
  random: Random,
  window: Window,
  partner: Float64Array,
  declared: { season: number; frequencyClass: number },
): void {
  const share = 0.15 + 0.7 * random.uniform();
  const x = window.values;
  let common = 0;
  for (let i = 0; i < x.length; i++) if (!Number.isNaN(x[i]!) && !Number.isNaN(partner[i]!)) common++;
  // Too little in common would leave a window of nothing.
  if (common < 8) return;
  for (let i = 0; i < x.length; i++) x[i] = share * x[i]! + (1 - share) * partner[i]!;
  if (window.season !== declared.season) {
    if (share < 0.5) window.season = declared.season;
    window.frequencyClass = 0;
  }
}

/** Time reversed within the observed stretch. */
function reverse(x: Float64Array): void {
  let low = 0;
  let high = x.length - 1;
  while (low < high && Number.isNaN(x[low]!)) low++;
  while (high > low && Number.isNaN(x[high]!)) high--;
  x.subarray(low, high + 1).reverse();
}
