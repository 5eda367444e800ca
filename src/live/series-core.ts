/**
 * A live series in memory: the model's state as far as whole patches are settled, and the open patch on top.
 *
 * Steps count from the first observation. `kept` is where the open patch begins: the network has taken in every patch
 * before it, and `base` are the features as they were there. A point of the open patch, also one that comes late or falls
 * into a step that has points already, is worked in from `base`; a point before `kept` is too late for that, and the
 * series must be read again. The patch closes when a point behind it comes.
 */
import type { FeatureState } from '../forecast/model/features.js';
import type { SeriesState } from '../forecast/model/series-state.js';
import type { Advance } from '../forecast/model/stream-batch.js';
import { type GridPlan, LONGEST_GAP, SeriesGrid } from './grid.js';

/** Days of a week, the longest cycle of the model's lags. */
const CYCLE = 7;

/** What a core is besides its state; plain JSON, kept in its snapshots. */
export interface CorePlan {
  grid: GridPlan;
  season: number;
  /** Step of the grid that the first step of the state stands for. It grows by what long gaps are cut by. */
  origin: number;
  /** Step of the grid at which the last gap that was cut ended; earlier points are too late. */
  cutAt: number | null;
  /** Step of the state at which the open patch begins. */
  kept: number;
}

interface Sum {
  sum: number;
  count: number;
}

/** Steps behind the open patch: their values without a break, and which of them have points. */
interface Unrolled {
  values: Float64Array;
  steps: number[];
  found: Sum[];
}

export class SeriesCore {
  readonly grid: SeriesGrid;
  /** Sum and number of the values of each step of the open patch; a step without points has neither. */
  private readonly sums: Float64Array;
  private readonly counts: Uint32Array;
  /** Steps behind the open patch, until `close`. */
  private beyond: Map<number, Sum> | undefined;
  /** One more than the last step of the open patch that has points. */
  private end: number;
  /** A step that the state has already seen has changed. */
  private changed = false;
  private readonly patch: number;

  /**
   * @param base features at `plan.kept`
   * @param state its features are overwritten by those of `base`
   */
  constructor(
    private plan: CorePlan,
    readonly base: FeatureState,
    readonly state: SeriesState,
  ) {
    this.patch = base.shape.patch;
    this.grid = new SeriesGrid(plan.grid);
    this.sums = new Float64Array(this.patch);
    this.counts = new Uint32Array(this.patch);
    this.end = plan.kept;
    state.features.assign(base);
  }

  get kept(): number {
    return this.plan.kept;
  }

  /** Steps that the state has seen. */
  get position(): number {
    return this.state.features.position;
  }

  /** What to keep of it beside `base` and the tensors. */
  get saved(): CorePlan {
    return { ...this.plan };
  }

  /** The last millisecond whose points `kept` stands behind; what changes at or before it makes a snapshot worthless. */
  get coveredThrough(): number {
    const { kept, origin, cutAt } = this.plan;
    return this.grid.startOf(Math.max(kept + origin, cutAt ?? Number.NEGATIVE_INFINITY)) - 1;
  }

  /** Time that stands for a step of the state. */
  timeOf(step: number): number {
    return this.grid.time(step + this.plan.origin);
  }

  /** Value of a step of the open patch; NaN where it has none. */
  valueAt(step: number): number {
    const i = step - this.plan.kept;
    return i >= 0 && i < this.patch && this.counts[i]! > 0 ? this.sums[i]! / this.counts[i]! : Number.NaN;
  }

  /** The latest step with a value, if it is in the open patch. */
  get latest(): number | undefined {
    for (let step = this.end - 1; step >= this.plan.kept; step--) if (this.counts[step - this.plan.kept]) return step;
    return undefined;
  }

  /** Adds new points in any order; NaN is a missing value. Returns false, and has taken nothing of it, when one is too late. */
  add(times: Float64Array, values: Float64Array, from = 0, to = times.length): boolean {
    const { kept, origin, cutAt } = this.plan;
    const earliest = Math.max(kept + origin, cutAt ?? Number.NEGATIVE_INFINITY);
    for (let i = from; i < to; i++) if (this.grid.step(times[i]!) < earliest) return false;
    for (let i = from; i < to; i++) this.put(this.grid.step(times[i]!) - origin, values[i]!);
    return true;
  }

  private put(step: number, value: number): void {
    const seen = Number.isFinite(value) ? 1 : 0;
    const i = step - this.plan.kept;
    if (i >= this.patch) {
      this.beyond ??= new Map();
      const there = this.beyond.get(step);
      if (there) {
        there.sum += seen ? value : 0;
        there.count += seen;
      } else this.beyond.set(step, { sum: seen ? value : 0, count: seen });
      return;
    }
    if (seen) {
      this.sums[i]! += value;
      this.counts[i]!++;
    }
    if (step >= this.end) this.end = step + 1;
    if (step < this.position) this.changed = true;
  }

  /** Whether points were added that the state has not taken in. */
  get due(): boolean {
    return this.changed || this.beyond !== undefined || this.position < this.end;
  }

  /**
   * Takes in what was added, as far as it needs no network, and says what does: whole patches first, then, once those are
   * done and `between` was called, the rest.
   */
  close(): { patches: Advance | undefined; rest: Advance | undefined; between: () => void } {
    const { state, base, patch } = this;
    if (this.changed) {
      state.features.assign(base);
      this.changed = false;
    }
    if (!this.beyond) {
      this.push(this.end);
      return { patches: undefined, rest: undefined, between: () => {} };
    }
    const unrolled = this.unroll(this.beyond);
    this.beyond = undefined;
    const { values } = unrolled;
    const { kept } = this.plan;
    this.push(kept + patch);
    const last = kept + patch + values.length;
    const open = Math.floor((last - 1) / patch) * patch;
    const whole = open - kept - patch;
    const between = () => {
      base.assign(state.features);
    };
    const patches = whole > 0 ? { state, values: values.subarray(0, whole) } : undefined;
    if (!patches) between();
    this.reopen(open, last, unrolled);
    return { patches, rest: { state, values: values.subarray(whole) }, between: patches ? between : () => {} };
  }

  /** Shows the state the values of the open patch up to a step. */
  private push(to: number): void {
    for (let step = this.position; step < to; step++) this.state.features.push(this.valueAt(step));
  }

  /** Values of the steps behind the open patch, gaps as NaN, long gaps cut. */
  private unroll(beyond: ReadonlyMap<number, Sum>): Unrolled {
    const { kept } = this.plan;
    const steps = [...beyond.keys()].sort((a, b) => a - b);
    const found = steps.map((step) => beyond.get(step)!);
    const season = this.base.season;
    const cycle = season === 1 ? 1 : CYCLE * season <= 2 * LONGEST_GAP ? CYCLE * season : season;
    let previous = this.end - 1;
    let cut = 0;
    steps.forEach((step, i) => {
      const gap = step - cut - previous;
      if (gap > LONGEST_GAP + cycle) {
        cut += Math.floor((gap - LONGEST_GAP) / cycle) * cycle;
        this.plan.cutAt = step + this.plan.origin;
      }
      steps[i] = step - cut;
      previous = step - cut;
    });
    this.plan.origin += cut;
    const begin = kept + this.patch;
    const values = new Float64Array(previous + 1 - begin).fill(Number.NaN);
    steps.forEach((step, i) => {
      const { sum, count } = found[i]!;
      if (count > 0) values[step - begin] = sum / count;
    });
    return { values, steps, found };
  }

  /** Begins another open patch, with the steps that lie in it. */
  private reopen(open: number, end: number, { steps, found }: Unrolled): void {
    this.plan.kept = open;
    this.end = end;
    this.sums.fill(0);
    this.counts.fill(0);
    for (let i = steps.length - 1; i >= 0 && steps[i]! >= open; i--) {
      this.sums[steps[i]! - open] = found[i]!.sum;
      this.counts[steps[i]! - open] = found[i]!.count;
    }
  }
}
