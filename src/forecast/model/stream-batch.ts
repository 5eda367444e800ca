/**
 * Live forecasting of many series at once, each from a state of fixed size.
 *
 * `advance` takes in new values: the running features move with each of them, the network with each whole patch, and
 * all series that are due move together as one batch. `forecast` looks ahead from copies of the states, which it leaves
 * as they are. Both give what one scan over the whole history gives (`align: 'start'` of NeuralForecaster): after every
 * value, whatever the values came in by, and however series are batched.
 */
import { AdderError } from '../../platform/errors.js';
import { makeMonotone, quantilesAt } from '../quantiles.js';
import { derived } from './config.js';
import { FeatureState } from './features.js';
import type { ForecasterModel } from './model.js';
import { classOf } from './runner.js';
import { newSeriesState, type SeriesState, tokensBehind } from './series-state.js';
import { type StreamBuffers, StreamPlans } from './stream-plans.js';

/** New values of one series, oldest first; NaN is missing. */
export interface Advance {
  state: SeriesState;
  values: ArrayLike<number>;
}

export interface History {
  values: ArrayLike<number>;
  /** Steps; 1: unknown. */
  season: number;
  /** Pandas-style frequency. */
  frequency?: string;
}

/** Most series and most tokens in one batch. */
const LIMITS = {
  webgpu: { sequences: 1024, tokens: 32_768 },
  wasm: { sequences: 256, tokens: 4096 },
  reference: { sequences: 64, tokens: 1024 },
};
/** Tokens of one series in one batch at most: a longer history is scanned piece by piece. */
const LONGEST = 1024;

/** A series with tokens to come: its values from `next` on. */
interface Due {
  state: SeriesState;
  values: ArrayLike<number>;
  next: number;
  tokens: number;
}

export class StreamBatch {
  private readonly plans: StreamPlans;
  private readonly limits: { sequences: number; tokens: number };
  private readonly ahead: FeatureState;
  /** Candidates that nobody reads. */
  private readonly unread: Float32Array;
  /** Plans share their buffers between calls, so calls take turns. */
  private turn: Promise<unknown> = Promise.resolve();

  constructor(readonly model: ForecasterModel) {
    this.plans = new StreamPlans(model);
    this.limits = LIMITS[model.backend.name];
    this.ahead = new FeatureState(model.config);
    this.unread = new Float32Array(model.config.patch * derived(model.config).candidates);
  }

  /** The state of a series before its first value. */
  newState(series: { season: number; frequency?: string }): SeriesState {
    return newSeriesState(this.model, series);
  }

  /**
   * Takes new values into the states, in place. Missing values before a series' first observation are passed over.
   * A state stands in one item at most. If the device fails, the states given are lost: read them again from where they
   * are kept.
   *
   * @throws AdderError `STATE_OF_OTHER_MODEL`, `BAD_STREAM`
   */
  advance(items: readonly Advance[]): Promise<void> {
    return this.inTurn(() => this.advanceNow(items));
  }

  /** The states of series whose values are all there: `advance` from their beginning, by parallel scans. */
  async statesOf(histories: readonly History[]): Promise<SeriesState[]> {
    const items = histories.map((history) => ({ state: this.newState(history), values: history.values }));
    await this.advance(items);
    return items.map(({ state }) => state);
  }

  /**
   * Quantiles of the next `horizon` values of every series, in units of its values.
   *
   * @param levels in (0, 1), increasing
   * @returns for every level [states · horizon], the horizon of the first state first; non-decreasing over levels
   * @throws AdderError `NO_VALUES` for a state without an observation, `BAD_HORIZON`, `STATE_OF_OTHER_MODEL`
   */
  forecast(states: readonly SeriesState[], horizon: number, levels: readonly number[]): Promise<Float64Array[]> {
    return this.inTurn(() => this.forecastNow(states, horizon, levels));
  }

  async close(): Promise<void> {
    await this.turn;
    this.plans.free();
  }

  private inTurn<T>(body: () => Promise<T>): Promise<T> {
    const mine = this.turn.then(body);
    this.turn = mine.catch(() => undefined);
    return mine;
  }

  private async advanceNow(items: readonly Advance[]): Promise<void> {
    const { patch } = this.model.config;
    const seen = new Set<SeriesState>();
    for (const { state } of items) {
      this.check(state);
      if (seen.has(state)) {
        throw new AdderError({
          code: 'BAD_STREAM',
          message: 'one state stands in two items of a batch',
          fix: 'give all new values of a series in one item',
        });
      }
      seen.add(state);
    }
    let due: Due[] = [];
    for (const { state, values } of items) {
      const { position } = state.features;
      let next = 0;
      if (position === 0) while (next < values.length && !Number.isFinite(values[next])) next++;
      const behind = tokensBehind(position, patch);
      const tokens = tokensBehind(position + values.length - next, patch) - behind;
      if (tokens > 0) due.push({ state, values, next, tokens });
      else for (; next < values.length; next++) state.features.push(values[next]!);
    }
    while (due.length > 0) {
      due.sort((a, b) => a.tokens - b.tokens);
      const left: Due[] = [];
      for (let at = 0; at < due.length; ) {
        let end = at + 1;
        let tokens = classOf(Math.min(due[at]!.tokens, LONGEST));
        while (end < due.length && end - at < this.limits.sequences) {
          const longer = classOf(Math.min(due[end]!.tokens, LONGEST));
          if ((end + 1 - at) * longer > Math.max(tokens, this.limits.tokens)) break;
          if (longer > tokens && (end - at) * tokens > this.limits.tokens / 8) break;
          tokens = longer;
          end++;
        }
        const batch = due.slice(at, end);
        await this.advanceBatch(batch, tokens);
        for (const one of batch) {
          if (one.tokens > 0) left.push(one);
          else for (; one.next < one.values.length; one.next++) one.state.features.push(one.values[one.next]!);
        }
        at = end;
      }
      due = left;
    }
  }

  /** Up to `tokens` tokens of every series, as one batch. */
  private async advanceBatch(batch: Due[], tokens: number): Promise<void> {
    const { patch } = this.model.config;
    const { inputs } = derived(this.model.config);
    const shape = { sequences: classOf(batch.length), tokens, purpose: 'advance' as const };
    const buffers = this.plans.buffers(shape);
    batch.forEach((one, row) => {
      const { features, frequency } = one.state;
      const base = row * tokens;
      const count = Math.min(one.tokens, tokens);
      for (let j = 0; j < count; j++) {
        // Up to the end of the patch; the value behind it, which makes the token due, comes later.
        const missing = (tokensBehind(features.position, patch) + 1) * patch - features.position;
        for (let p = 0; p < missing; p++) features.push(one.values[one.next++]!);
        features.emit(buffers.features, (base + j) * inputs, this.unread, 0);
        features.push(one.values[one.next++]!);
      }
      one.tokens -= count;
      buffers.features.fill(0, (base + count) * inputs, (base + tokens) * inputs);
      buffers.frequency.fill(frequency, base, base + tokens);
      buffers.lengths[row] = count;
    });
    this.fillRest(buffers, batch.length, tokens);
    await this.plans.run(
      shape,
      batch.map(({ state }) => state.tensors),
    );
  }

  private async forecastNow(
    states: readonly SeriesState[],
    horizon: number,
    levels: readonly number[],
  ): Promise<Float64Array[]> {
    if (!(Number.isInteger(horizon) && horizon >= 1)) {
      throw new AdderError({
        code: 'BAD_HORIZON',
        message: `a horizon is a whole number of steps from 1, not ${horizon}`,
        fix: 'e.g. 24',
      });
    }
    for (const state of states) {
      this.check(state);
      if (state.features.position > 0) continue;
      throw new AdderError({
        code: 'NO_VALUES',
        message: 'a series without any value cannot be forecast',
        fix: 'feed at least one number',
      });
    }
    const { config } = this.model;
    const tokens = Math.ceil(horizon / config.patch);
    const most = Math.max(1, Math.min(this.limits.sequences, Math.floor(this.limits.tokens / tokens)));
    const known = config.levels.map(() => new Float64Array(states.length * horizon));
    for (let at = 0; at < states.length; at += most) {
      await this.forecastBatch(states.slice(at, at + most), tokens, horizon, known, at * horizon);
    }
    return quantilesAt(config.levels, makeMonotone(known), levels);
  }

  private async forecastBatch(
    batch: readonly SeriesState[],
    tokens: number,
    horizon: number,
    known: Float64Array[],
    at: number,
  ): Promise<void> {
    const { patch } = this.model.config;
    const { inputs, candidates } = derived(this.model.config);
    const shape = { sequences: classOf(batch.length), tokens, purpose: 'forecast' as const };
    const buffers = this.plans.buffers(shape);
    const C = patch * candidates;
    const zeros = new Float64Array(batch.length);
    const units = new Float64Array(batch.length);
    batch.forEach(({ features, frequency }, row) => {
      const base = row * tokens;
      const fresh = features.position - tokensBehind(features.position, patch) * patch;
      let ahead = features;
      if (tokens > 1) {
        ahead = this.ahead;
        ahead.assign(features);
      }
      ahead.emit(buffers.features, base * inputs, buffers.candidates, base * C, fresh);
      for (let j = 1; j < tokens; j++) {
        for (let p = 0; p < patch; p++) ahead.push(Number.NaN);
        ahead.emit(buffers.features, (base + j) * inputs, buffers.candidates, (base + j) * C);
      }
      zeros[row] = ahead.fromUnits(0);
      units[row] = ahead.fromUnits(1) - zeros[row]!;
      buffers.frequency.fill(frequency, base, base + tokens);
      buffers.lengths[row] = tokens;
    });
    this.fillRest(buffers, batch.length, tokens);
    const quantiles = (await this.plans.run(
      shape,
      batch.map(({ tensors }) => tensors),
    ))!;
    const Q = known.length;
    for (let row = 0; row < batch.length; row++) {
      const from = row * tokens * patch * Q;
      const to = at + row * horizon;
      const [zero, unit] = [zeros[row]!, units[row]!];
      for (let i = 0; i < horizon; i++) {
        for (let q = 0; q < Q; q++) known[q]![to + i] = zero + unit * quantiles[from + i * Q + q]!;
      }
    }
  }

  /** Rows that only fill the size class up: no tokens. */
  private fillRest(buffers: StreamBuffers, rows: number, tokens: number): void {
    const { inputs } = derived(this.model.config);
    buffers.lengths.fill(0, rows);
    buffers.frequency.fill(0, rows * tokens);
    buffers.features.fill(0, rows * tokens * inputs);
  }

  /** @throws AdderError `STATE_OF_OTHER_MODEL` */
  private check({ digest }: SeriesState): void {
    if (digest === this.model.digest) return;
    throw new AdderError({
      code: 'STATE_OF_OTHER_MODEL',
      message: `a state belongs to the weights ${digest}, the model has ${this.model.digest}`,
      fix: 'continue it with the model it was made by, or rebuild it from the history of the series',
    });
  }
}
