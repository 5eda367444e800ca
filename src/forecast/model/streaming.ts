/**
 * Forecasts from a stream: values go in one at a time, a state of fixed size moves on, and at any moment a forecast can
 * be read that equals the batch forecast of everything fed so far.
 *
 * A token covers `patch` values and the batch forecast aligns the *end* of the history with the end of a token. To have
 * that after every value, a stream runs patch/every interleaved lanes: lane r has seen the tokens that end after r,
 * r + patch, r + 2·patch … values, and each value (or each `every`-th) moves exactly one lane by one token. The running
 * sums and the ring of the features are shared by all lanes. With `every` = patch there is one lane, and forecasts in
 * between are those made at the last token's end, with the steps gone since left out.
 */
import { Graph } from '../../engine/graph.js';
import { freeState, newState, readState, type State, writeState } from '../../engine/layers/layer.js';
import { sizeOf, type Tensor } from '../../engine/tensor.js';
import { AdderError } from '../../platform/errors.js';
import type { ForecastResult } from '../forecaster.js';
import { makeMonotone, quantilesAt } from '../quantiles.js';
import { derived } from './config.js';
import { CANDIDATES, FeatureState } from './features.js';
import { frequencyClass } from './frequency.js';
import type { ForecasterModel } from './model.js';

export interface StreamOptions {
  /** Steps of one season; 1: unknown. */
  season: number;
  frequency?: string;
  /** Values between two tokens of the stream, a divisor of the patch. 1 (default): as batch after every value. */
  every?: number;
}

/** All of a stream, to be stored and continued anywhere: plain JSON but for the arrays. */
export interface StreamState {
  format: 'adder-stream-1';
  model: string;
  /** Of the weights; a state means nothing to other weights. */
  digest: string;
  season: number;
  frequency: string | null;
  every: number;
  /** Values since the first observation. */
  position: number;
  features: Float64Array;
  /** The features as they were at the last token's end. */
  anchor: Float64Array;
  lanes: Record<string, Float32Array>;
}

export class StreamingForecaster {
  private features: FeatureState;
  /** As of the last token, for forecasts between two tokens. */
  private anchor: FeatureState;
  private readonly lanes: State;
  private readonly scratch: State;
  private readonly laneCount: number;
  private readonly every: number;
  private readonly frequencyIds: Tensor;
  private readonly token: Float32Array;
  private readonly candidates: Float32Array;
  /** Values since the first observation. */
  private position = 0;

  constructor(
    readonly model: ForecasterModel,
    private readonly options: StreamOptions,
  ) {
    const { backend, config, network } = model;
    const { patch } = config;
    this.every = options.every ?? 1;
    if (!(Number.isInteger(this.every) && this.every >= 1 && patch % this.every === 0)) {
      throw new AdderError({
        code: 'BAD_STREAM',
        message: `a token every ${this.every} values does not fit a patch of ${patch}`,
        fix: `use a divisor of ${patch}`,
      });
    }
    this.laneCount = patch / this.every;
    this.features = new FeatureState(patch, options.season);
    this.anchor = this.every > 1 ? this.features.clone() : this.features;
    this.lanes = newState(backend, network, this.laneCount);
    this.scratch = newState(backend, network, 1);
    this.frequencyIds = backend.alloc([1, 1], 'i32');
    backend.write(this.frequencyIds, [frequencyClass(options.frequency)]);
    this.token = new Float32Array(derived(config).inputs);
    this.candidates = new Float32Array(patch * CANDIDATES);
  }

  /** Values fed since the first observation. */
  get length(): number {
    return this.position;
  }

  /** Takes the next value; NaN is missing. Missing values before the first observation are ignored, as in batch. */
  push(value: number): void {
    if (this.position === 0 && !Number.isFinite(value)) return;
    this.features.push(value);
    this.position++;
    if (this.position % this.every !== 0) return;
    const { backend } = this.model;
    this.features.emit(this.token, 0, this.candidates, 0);
    const features = backend.alloc([1, 1, this.token.length]);
    backend.write(features, this.token);
    const lane = this.lane((this.position / this.every) % this.laneCount);
    // Before the token, so that a forecast can take it again with the head behind it.
    this.copy(this.scratch, lane);
    const g = new Graph(backend);
    g.release(this.model.network.encode(g, { features, frequency: this.frequencyIds }, { state: lane }));
    backend.free(features);
    if (this.every > 1) this.anchor = this.features.clone();
  }

  /** Quantiles of the next `horizon` values. @throws AdderError `NO_VALUES` before the first observation */
  async forecast(horizon: number, levels: readonly number[]): Promise<ForecastResult> {
    if (this.position === 0) {
      throw new AdderError({
        code: 'NO_VALUES',
        message: 'a stream without any value cannot be forecast',
        fix: 'feed at least one number',
      });
    }
    const { backend, config, network } = this.model;
    const { patch } = config;
    const started = this.position >= this.every;
    // Before the first token there is no lane to continue: the values so far make the first token.
    const anchor = (started ? this.anchor : this.features).clone();
    const gone = started ? this.position % this.every : 0;
    const tokens = Math.ceil((horizon + gone) / patch);
    const width = this.token.length;
    const C = patch * CANDIDATES;
    const features = new Float32Array(tokens * width);
    const candidates = new Float32Array(tokens * C);
    for (let j = 0; j < tokens; j++) {
      if (j > 0) for (let p = 0; p < patch; p++) anchor.push(Number.NaN);
      anchor.emit(features, j * width, candidates, j * C);
    }
    const state = newState(backend, network, 1);
    if (started) this.copy(state, this.scratch);
    const inputs = {
      features: backend.alloc([1, tokens, width]),
      frequency: backend.alloc([1, tokens], 'i32'),
      candidates: backend.alloc([1, tokens, C]),
    };
    backend.write(inputs.features, features);
    backend.write(inputs.candidates, candidates);
    backend.write(inputs.frequency, new Int32Array(tokens).fill(frequencyClass(this.options.frequency)));
    const g = new Graph(backend);
    const quantiles = g.scope(() => {
      const raw = network.head(g, network.encode(g, inputs, { state }));
      const { candidates: mixed } = inputs;
      return g.quantileMixture({
        raw,
        candidates: mixed,
        levels: this.model.levels,
        patch,
        nCandidates: CANDIDATES,
      });
    });
    const numbers = await backend.read(quantiles);
    g.release(quantiles);
    freeState(backend, state);
    for (const t of Object.values(inputs)) backend.free(t);
    const Q = config.levels.length;
    const values = config.levels.map((_, q) =>
      Float64Array.from({ length: horizon }, (_, i) => anchor.fromUnits(numbers[(gone + i) * Q + q]!)),
    );
    return { quantiles: quantilesAt(config.levels, makeMonotone(values), levels) };
  }

  /** Everything a later stream needs to continue with the same numbers. */
  async save(): Promise<StreamState> {
    const { backend, id, digest } = this.model;
    const named = { ...prefixAll('lanes', this.lanes), ...prefixAll('scratch', this.scratch) };
    const value = await readState(backend, named);
    return {
      format: 'adder-stream-1',
      model: id,
      digest,
      season: this.options.season,
      frequency: this.options.frequency ?? null,
      every: this.every,
      position: this.position,
      features: this.features.serialise(),
      anchor: this.anchor.serialise(),
      lanes: Object.fromEntries(Object.entries(value).map(([name, data]) => [name, Float32Array.from(data)])),
    };
  }

  /** A stream that continues from a saved state. @throws AdderError `BAD_STREAM` if it belongs to other weights */
  static restore(model: ForecasterModel, saved: StreamState): StreamingForecaster {
    if (saved.format !== 'adder-stream-1' || saved.digest !== model.digest) {
      throw new AdderError({
        code: 'BAD_STREAM',
        message: `this stream state belongs to other weights (${saved.model})`,
        fix: 'continue it with the model it was made by, or feed the history again',
      });
    }
    const { season, every, position } = saved;
    const stream = new StreamingForecaster(model, { season, frequency: saved.frequency ?? undefined, every });
    const { patch } = model.config;
    stream.features = FeatureState.deserialise(patch, season, saved.features);
    stream.anchor = every > 1 ? FeatureState.deserialise(patch, season, saved.anchor) : stream.features;
    stream.position = position;
    const named = { ...prefixAll('lanes', stream.lanes), ...prefixAll('scratch', stream.scratch) };
    writeState(model.backend, named, saved.lanes);
    return stream;
  }

  free(): void {
    const { backend } = this.model;
    freeState(backend, this.lanes);
    freeState(backend, this.scratch);
    backend.free(this.frequencyIds);
  }

  /** Views of one lane's states. */
  private lane(index: number): State {
    return Object.fromEntries(
      Object.entries(this.lanes).map(([name, t]) => {
        const shape = [1, ...t.shape.slice(1)];
        return [name, { ...t, shape, offset: t.offset + index * sizeOf(shape) }];
      }),
    );
  }

  private copy(to: State, from: State): void {
    for (const [name, t] of Object.entries(to)) this.model.backend.kernels.copy(t, from[name]!);
  }
}

function prefixAll(prefix: string, state: State): State {
  return Object.fromEntries(Object.entries(state).map(([name, t]) => [`${prefix}.${name}`, t]));
}
