/**
 * What the network sees of a series, computed one value at a time.
 *
 * A token stands for one patch of `patch` consecutive values. Everything in it is causal: scales are running ones and
 * nothing looks past the end of the token's patch, so a state never has to be rewritten when new values arrive.
 * Training, batch inference and live streams all use this one state machine: `push` takes the next value (NaN: missing),
 * `emit` writes the token of the patch that ends with the last pushed value. `emit` changes nothing that matters to
 * later values and may be called after any of them, which is how a live stream makes a token at every point: such a
 * *look-ahead token* overlaps the one before it, and says which share of its values is new.
 *
 * Symbols: mean, sd and d = mean |xₜ − xₜ₋₁| run over the observations so far (beyond `MEMORY` of them the oldest fade
 * exponentially, so that endless streams stay in the range that training knows); `last` is the last observation;
 * U = sqrt(sd·d) is the unit in which the network forecasts. Season m: lag 1 and lag 2 of a future step are the latest
 * observations-so-far one and two whole seasons back, lag 3 the latest a whole number of *weeks* of seven seasons back:
 * what a day of the week was like, where a season is a day. (Weeks longer than `MAX_SEASON` are unknown.)
 *
 * Token layout (P = patch, L = lags), (3 + 2L)·P + 16 numbers:
 *   P  asinh((x − mean)/sd)         P  observed?                  P  asinh((x − last)/U)
 *   L times:                        P  asinh((lag − last)/U)      P  lag known?
 *   16 scalars, see `emit`. The lags are those of the *target* patch, the P steps after the token.
 * Candidates of the target patch, P × (2 + L), in units of U about `last`: mean, last and the lags (unknown ones fall
 * back to last).
 *
 * The state is of fixed size: a few running sums in float64 and a ring of two seasons, or of a week. All results are
 * invariant under x → a·x + b, a > 0, up to rounding: values are held relative to the first observation and to a power
 * of two near the first deviation from it, which keeps 1e9 ± 1 and 1e-200 exact.
 */

/** Observations over which the running scales are plain averages; later ones weigh 1/MEMORY. */
export const MEMORY = 1024;
/** Seasons longer than this are taken as unknown: training windows could not hold two of them. */
export const MAX_SEASON = 1152;
/** Seasons in a week: the third lag. */
const WEEK = 7;
const SCALARS = 16;

/** Bound of everything expressed in U, so that one outlier cannot drown a patch. */
const UNIT_LIMIT = 1e4;
const TWO_PI = 2 * Math.PI;

/** What the layout of a token depends on; part of a model's configuration. */
export interface TokenShape {
  /** Values in one token. */
  readonly patch: number;
  /** Seasonal lags: none, one and two seasons back, or also whole weeks of seven seasons. */
  readonly lags: 0 | 2 | 3;
}

/** Numbers in one token. */
export function featureCount({ patch, lags }: TokenShape): number {
  return (3 + 2 * lags) * patch + SCALARS;
}

/** Candidates of each step of the target patch. */
export function candidateCount({ lags }: TokenShape): number {
  return 2 + lags;
}

/** The season as the features use it: a whole number of steps from 2 to MAX_SEASON, else 1 (unknown). */
export function usableSeason(season: number): number {
  const whole = Math.round(season);
  return whole >= 2 && whole <= MAX_SEASON ? whole : 1;
}

/** asinh to within one rounding of 1: fast, because training computes millions a second. */
function asinh(x: number): number {
  return x < 0 ? -Math.log(Math.sqrt(x * x + 1) - x) : Math.log(x + Math.sqrt(x * x + 1));
}

function bound(x: number): number {
  return x > UNIT_LIMIT ? UNIT_LIMIT : x < -UNIT_LIMIT ? -UNIT_LIMIT : x;
}

// Slots of the running sums.
const OBSERVED = 0; // observations so far
const TIME = 1; // steps since the first observation, itself included
const SHIFT = 2; // the first observation
const UNIT = 3; // power of two by which deviations from it are divided; 0 until there is one
const MEAN = 4;
const VARIANCE = 5;
const LAST = 6;
const LAST_AT = 7; // step of the last observation
const DIFFERENCES = 8; // pairs of adjacent observations
const DIFFERENCE = 9; // their mean absolute difference
const SEASON_DIFFERENCES = 10;
const SEASON_DIFFERENCE = 11; // mean |xₜ − xₜ₋ₘ|
const CURSOR = 12; // where the next value goes in `recent`
const SLOTS = 13;

export class FeatureState {
  private sums = new Float64Array(SLOTS);
  /** The last `patch` values, NaN where missing; a ring that starts at CURSOR. */
  private recent: Float64Array;
  /** Values up to the last observation, as far back as the lags reach: step t lies at t mod `reach`. */
  private ring: Float64Array;
  private m = 1;
  private reach = 2;
  /** After `emit`: `last` and U relative to SHIFT and UNIT; U is 0 while all observations are equal. */
  private centre = 0;
  private scale = 0;

  constructor(
    readonly shape: TokenShape,
    season = 1,
  ) {
    this.recent = new Float64Array(shape.patch);
    this.ring = new Float64Array(2);
    this.reset(season);
  }

  /** Back to the state before the first value, with another season. The ring is only ever enlarged. */
  reset(season: number): void {
    this.m = usableSeason(season);
    this.reach = reachOf(this.shape, season);
    if (this.ring.length < this.reach) this.ring = new Float64Array(this.reach);
    this.sums.fill(0);
    this.recent.fill(Number.NaN);
    this.centre = 0;
    this.scale = 0;
  }

  get season(): number {
    return this.m;
  }

  /** Observations so far; tokens before the first one are all zero and carry no forecast. */
  get observed(): number {
    return this.sums[OBSERVED]!;
  }

  /** Values since the first observation, itself included. */
  get position(): number {
    return this.sums[TIME]!;
  }

  /** Takes the next value; anything that is not finite is missing. Missing values before the first observation do not count as time. */
  push(value: number): void {
    const s = this.sums;
    let x = Number.NaN;
    const t = s[TIME]!;
    if (Number.isFinite(value)) {
      if (s[OBSERVED] === 0) s[SHIFT] = value;
      else if (s[UNIT] === 0 && value !== s[SHIFT]) s[UNIT] = powerOfTwoNear(Math.abs(value - s[SHIFT]!));
      x = this.relative(value);
      // The difference of two finite numbers can overflow; a value that far out is no observation.
      if (Number.isFinite(x)) this.observe(x, t);
    }
    if (s[OBSERVED]! > 0) s[TIME] = t + 1;
    this.recent[s[CURSOR]!] = x;
    s[CURSOR] = (s[CURSOR]! + 1) % this.shape.patch;
  }

  private observe(x: number, t: number): void {
    const s = this.sums;
    const size = this.reach;
    const first = s[OBSERVED] === 0;
    if (!first) {
      const lastAt = s[LAST_AT]!;
      // The ring holds values up to the last observation only: a gap is filled in when it ends, and never more than once round.
      for (let i = Math.max(lastAt + 1, t - size); i < t; i++) this.ring[i % size] = Number.NaN;
      if (lastAt === t - 1) {
        const n = ++s[DIFFERENCES]!;
        s[DIFFERENCE]! += (Math.abs(x - s[LAST]!) - s[DIFFERENCE]!) / (n < MEMORY ? n : MEMORY);
      }
      if (this.m > 1 && t >= this.m) {
        const back = this.ring[(t - this.m) % size]!;
        if (!Number.isNaN(back)) {
          const n = ++s[SEASON_DIFFERENCES]!;
          s[SEASON_DIFFERENCE]! += (Math.abs(x - back) - s[SEASON_DIFFERENCE]!) / (n < MEMORY ? n : MEMORY);
        }
      }
    }
    // Welford's update with the weight held at 1/MEMORY from there on.
    const n = ++s[OBSERVED]!;
    const weight = 1 / (n < MEMORY ? n : MEMORY);
    const delta = x - s[MEAN]!;
    s[MEAN]! += weight * delta;
    s[VARIANCE] = (1 - weight) * (s[VARIANCE]! + weight * delta * delta);
    s[LAST] = x;
    s[LAST_AT] = t;
    this.ring[t % size] = x;
  }

  /**
   * Writes the token of the patch ending with the last pushed value and the candidates of the patch after it.
   * Returns whether the token can forecast: at least two different observations have been seen. Otherwise both are
   * zeros and the scale is 0 (a series that never changed is forecast not to change).
   *
   * Scalars: asinh((last − mean)/sd); log(U/sd); log(d/sd); log(1 + n)/4; patches since the last observation, to 8, /4;
   * log(1 + those)/2; sin and cos of the phase of the target patch's first step, and of twice it; sin and cos of the
   * phase a patch spans; log(m)/5; share of values that the token before did not have;
   * log(mean |xₜ − xₜ₋ₘ|/sd)/2; whether that is known.
   *
   * @param fresh values pushed since the token before this one: the patch, but for a look-ahead token
   */
  emit(
    features: Float32Array,
    at: number,
    candidates: Float32Array,
    candidatesAt: number,
    fresh = this.shape.patch,
  ): boolean {
    const { patch: P, lags: L } = this.shape;
    const C = 2 + L;
    const s = this.sums;
    const last = s[LAST]!;
    const mean = s[MEAN]!;
    this.centre = last;
    const variance = s[VARIANCE]!;
    if (!(variance > 0)) {
      this.scale = 0;
      features.fill(0, at, at + featureCount(this.shape));
      candidates.fill(0, candidatesAt, candidatesAt + P * C);
      return false;
    }
    // Below float64's resolution about the present level a deviation is rounding, not movement.
    let sd = Math.max(Math.sqrt(variance), 1e-12 * (Math.abs(mean) + Math.abs(last)));
    let d = s[DIFFERENCES]! > 0 ? s[DIFFERENCE]! : sd;
    sd = Math.max(sd, 0.05 * d);
    d = Math.max(d, 0.01 * sd);
    const U = Math.sqrt(sd * d);
    this.scale = U;
    const perSd = 1 / sd;
    const perU = 1 / U;

    let from = s[CURSOR]!;
    for (let p = 0; p < P; p++) {
      const x = this.recent[from]!;
      if (++from === P) from = 0;
      const seen = !Number.isNaN(x);
      features[at + p] = seen ? asinh(bound((x - mean) * perSd)) : 0;
      features[at + P + p] = seen ? 1 : 0;
      features[at + 2 * P + p] = seen ? asinh(bound((x - last) * perU)) : 0;
    }

    const m = this.m;
    const t = s[TIME]!;
    const lastAt = s[LAST_AT]!;
    const meanInU = bound((mean - last) * perU);
    for (let p = 0, c = candidatesAt; p < P; p++, c += C) {
      candidates[c] = meanInU;
      candidates[c + 1] = 0;
    }
    for (let k = 0; k < L; k++) {
      const cycle = k < 2 ? m : WEEK * m;
      const known = cycle <= this.reach;
      // The latest step not after the last observation that is whole cycles before step t, and one more for lag 2.
      let lag = t - cycle * (Math.floor((t - lastAt - 1) / cycle) + 1);
      const back = k === 1 ? m : 0;
      const to = at + (3 + 2 * k) * P;
      for (let p = 0; p < P; p++) {
        const step = lag - back;
        const x = known && step >= 0 ? this.ring[step % this.reach]! : Number.NaN;
        if (Number.isNaN(x)) {
          features[to + p] = 0;
          features[to + P + p] = 0;
          candidates[candidatesAt + p * C + 2 + k] = 0;
        } else {
          const inU = bound((x - last) * perU);
          features[to + p] = asinh(inU);
          features[to + P + p] = 1;
          candidates[candidatesAt + p * C + 2 + k] = inU;
        }
        if (++lag > lastAt) lag -= cycle;
      }
    }

    const o = at + (3 + 2 * L) * P;
    const n = s[OBSERVED]!;
    const distance = (t - 1 - lastAt) / P;
    features[o] = asinh(bound((last - mean) * perSd));
    features[o + 1] = Math.log(U * perSd);
    features[o + 2] = Math.log(d * perSd);
    features[o + 3] = Math.log(1 + (n < MEMORY ? n : MEMORY)) / 4;
    features[o + 4] = Math.min(distance, 8) / 4;
    features[o + 5] = Math.log(1 + Math.min(distance, 1024)) / 2;
    if (m > 1) {
      const phase = (TWO_PI * (t % m)) / m;
      const span = (TWO_PI * P) / m;
      features[o + 6] = Math.sin(phase);
      features[o + 7] = Math.cos(phase);
      features[o + 8] = Math.sin(2 * phase);
      features[o + 9] = Math.cos(2 * phase);
      features[o + 10] = Math.sin(span);
      features[o + 11] = Math.cos(span);
      features[o + 12] = Math.log(m) / 5;
    } else features.fill(0, o + 6, o + 13);
    features[o + 13] = fresh / P;
    const seasonal = s[SEASON_DIFFERENCES]! > 0;
    features[o + 14] = seasonal ? Math.log(Math.max(s[SEASON_DIFFERENCE]! * perSd, 1e-3)) / 2 : 0;
    features[o + 15] = seasonal ? 1 : 0;
    return true;
  }

  /** A value in units of the last emitted token: (x − last)/U; 0 while the scale is 0. */
  toUnits(value: number): number {
    return this.scale > 0 ? bound((this.relative(value) - this.centre) / this.scale) : 0;
  }

  /** The value that `y` units of the last emitted token stand for. */
  fromUnits(y: number): number {
    const s = this.sums;
    return s[SHIFT]! + (this.centre + this.scale * y) * s[UNIT]!;
  }

  private relative(value: number): number {
    const s = this.sums;
    return s[UNIT] === 0 ? 0 : (value - s[SHIFT]!) / s[UNIT]!;
  }

  /** Takes over everything from a state of the same shape. */
  assign(other: FeatureState): void {
    this.reset(other.m);
    this.sums.set(other.sums);
    this.recent.set(other.recent);
    this.ring.set(other.ring.subarray(0, other.reach));
    this.centre = other.centre;
    this.scale = other.scale;
  }

  clone(): FeatureState {
    const copy = new FeatureState(this.shape, this.m);
    copy.assign(this);
    return copy;
  }

  /** Numbers in a serialised state. */
  static sizeOf(shape: TokenShape, season: number): number {
    return SLOTS + shape.patch + reachOf(shape, season) + 2;
  }

  /** The whole state as float64 numbers; `deserialise` continues from it with identical results. */
  serialise(): Float64Array {
    const { patch } = this.shape;
    const out = new Float64Array(FeatureState.sizeOf(this.shape, this.m));
    out.set(this.sums);
    out.set(this.recent, SLOTS);
    out.set(this.ring.subarray(0, this.reach), SLOTS + patch);
    out.set([this.centre, this.scale], out.length - 2);
    return out;
  }

  /** @throws RangeError if the numbers are not a state of this shape and season. */
  static deserialise(shape: TokenShape, season: number, data: Float64Array): FeatureState {
    const { patch } = shape;
    const state = new FeatureState(shape, season);
    const size = FeatureState.sizeOf(shape, season);
    if (data.length !== size) {
      throw new RangeError(
        `a feature state of patch ${patch} and season ${season} has ${size} numbers, not ${data.length}`,
      );
    }
    const cursor = data[CURSOR]!;
    if (!(Number.isInteger(cursor) && cursor >= 0 && cursor < patch && data[OBSERVED]! >= 0 && data[TIME]! >= 0)) {
      throw new RangeError('these numbers are no feature state: its counters are out of range');
    }
    state.sums.set(data.subarray(0, SLOTS));
    state.recent.set(data.subarray(SLOTS, SLOTS + patch));
    state.ring.set(data.subarray(SLOTS + patch, data.length - 2));
    state.centre = data[data.length - 2]!;
    state.scale = data[data.length - 1]!;
    return state;
  }
}

/** Values that the lags need to look back on. */
function reachOf({ lags }: TokenShape, season: number): number {
  const m = usableSeason(season);
  return lags === 3 && m > 1 && WEEK * m <= MAX_SEASON ? WEEK * m : 2 * m;
}

/** 2^⌊log₂ x⌋ for x > 0, kept where its reciprocal is a normal number. */
function powerOfTwoNear(x: number): number {
  return 2 ** Math.max(-1000, Math.min(1000, Math.floor(Math.log2(x))));
}
