/**
 * Forecasts from many origins of one history out of one scan: every token's output is the forecast that stood when the token
 * ended, so origins a patch apart share a sequence. Each forecast is what NeuralForecaster gives for the history up to its
 * origin.
 */
import { AdderError } from '../../platform/errors.js';
import type { RollRequest, RollResult } from '../forecaster.js';
import { makeMonotone, quantilesAt } from '../quantiles.js';
import { derived } from './config.js';
import { FeatureState } from './features.js';
import type { NeuralForecaster } from './forecaster.js';
import { frequencyClass } from './frequency.js';
import { classOf, Runner, type RunnerBuffers } from './runner.js';

/** One sequence: the origins of a request that lie whole patches apart, or their mirror image. */
interface Sequence {
  request: number;
  sign: 1 | -1;
  /** First observation; tokens before it are padding. */
  from: number;
  /** Values that the last origin has seen; the last token ends there. */
  end: number;
  tokens: number;
  /** Places of its origins in the request, and the token that ends there. */
  origins: { place: number; token: number }[];
}

/** Most tokens of one batch: what is asked here need not be fast, and shall not hold up what must be. */
const BATCH_TOKENS = { webgpu: 32_768, wasm: 2048, reference: 1024 };

export class NeuralRoller {
  private readonly runner: Runner;
  private readonly state: FeatureState;
  private readonly unread: Float32Array;
  private turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly forecaster: NeuralForecaster) {
    const { model } = forecaster;
    this.runner = new Runner(model);
    this.state = new FeatureState(model.config);
    this.unread = new Float32Array(model.config.patch * derived(model.config).candidates);
  }

  /** Origins so far apart share a scan, and forecasts of at most so many steps come from it. */
  get step(): number {
    return this.forecaster.model.config.patch;
  }

  /** @throws AdderError `BAD_HORIZON` beyond `step`, `BAD_ORIGIN` */
  roll(requests: readonly RollRequest[]): Promise<RollResult[]> {
    const mine = this.turn.then(() => this.rollNow(requests));
    this.turn = mine.catch(() => undefined);
    return mine;
  }

  async close(): Promise<void> {
    await this.turn;
    this.runner.free();
  }

  private async rollNow(requests: readonly RollRequest[]): Promise<RollResult[]> {
    const { levels } = this.forecaster.model.config;
    const sums = requests.map(({ origins, horizon }) => levels.map(() => new Float64Array(origins.length * horizon)));
    const sequences = requests.flatMap((request, i) => this.sequences(request, i, sums[i]!));
    sequences.sort((a, b) => a.tokens - b.tokens);
    const most = BATCH_TOKENS[this.forecaster.model.backend.name];
    for (let at = 0; at < sequences.length; ) {
      let end = at + 1;
      while (end < sequences.length && (end + 1 - at) * classOf(sequences[end]!.tokens) <= most) end++;
      await this.batch(requests, sequences.slice(at, end), sums);
      at = end;
    }
    return requests.map(({ quantiles }, i) => ({ quantiles: quantilesAt(levels, makeMonotone(sums[i]!), quantiles) }));
  }

  private sequences(request: RollRequest, index: number, sums: Float64Array[]): Sequence[] {
    const { history, origins, horizon } = request;
    const patch = this.step;
    if (!(Number.isInteger(horizon) && horizon >= 1 && horizon <= patch)) {
      throw new AdderError({
        code: 'BAD_HORIZON',
        message: `one scan gives 1 to ${patch} steps ahead, not ${horizon}`,
        fix: 'ask for each origin by itself',
      });
    }
    const from = history.findIndex(Number.isFinite);
    const phases = new Map<number, { place: number; origin: number }[]>();
    origins.forEach((origin, place) => {
      if (!(Number.isInteger(origin) && origin >= 1 && origin <= history.length)) {
        throw new AdderError({ code: 'BAD_ORIGIN', message: `${origin} is no place in ${history.length} values` });
      }
      if (from < 0 || origin <= from) {
        for (const sum of sums) sum.fill(Number.NaN, place * horizon, (place + 1) * horizon);
        return;
      }
      const phase = phases.get(origin % patch) ?? [];
      phase.push({ place, origin });
      phases.set(origin % patch, phase);
    });
    return [...phases.values()].flatMap((phase) => {
      const last = Math.max(...phase.map(({ origin }) => origin));
      const tokens = Math.ceil((last - from) / patch);
      const places = phase.map(({ place, origin }) => ({ place, token: tokens - 1 - (last - origin) / patch }));
      const sequence: Sequence = { request: index, sign: 1, from, end: last, tokens, origins: places };
      return this.forecaster.flip ? [sequence, { ...sequence, sign: -1 }] : [sequence];
    });
  }

  private async batch(
    requests: readonly RollRequest[],
    batch: readonly Sequence[],
    sums: readonly Float64Array[][],
  ): Promise<void> {
    const { patch, levels } = this.forecaster.model.config;
    const tokens = classOf(Math.max(...batch.map((sequence) => sequence.tokens)));
    const outputs = batch.reduce((sum, { origins }) => sum + origins.length, 0);
    const shape = { sequences: classOf(batch.length), tokens, outputs: classOf(outputs) };
    const buffers = this.runner.buffers(shape);
    const scales: { zero: number; unit: number }[] = [];
    batch.forEach((sequence, row) => {
      this.write(requests[sequence.request]!, sequence, buffers, row, tokens, scales);
    });
    const { inputs, candidates } = derived(this.forecaster.model.config);
    // Rows that only fill the class up: no tokens, and outputs read from anywhere.
    buffers.lengths.fill(0, batch.length);
    buffers.frequency.fill(0, batch.length * tokens);
    buffers.features.fill(0, batch.length * tokens * inputs);
    buffers.positions.fill(0, outputs);
    buffers.candidates.fill(0, outputs * patch * candidates);
    const quantiles = await this.runner.run(shape);
    const Q = levels.length;
    const share = this.forecaster.flip ? 0.5 : 1;
    let slot = 0;
    for (const { request, sign, origins } of batch) {
      const { horizon } = requests[request]!;
      for (const { place } of origins) {
        const { zero, unit } = scales[slot]!;
        for (let i = 0; i < horizon; i++) {
          for (let q = 0; q < Q; q++) {
            const value = zero + unit * quantiles[(slot * patch + i) * Q + q]!;
            // The mirror image of level p is minus level 1 − p.
            sums[request]![sign > 0 ? q : Q - 1 - q]![place * horizon + i]! += share * sign * value;
          }
        }
        slot++;
      }
    }
  }

  /** Tokens of one sequence into row `row`; for each output what turns units into values. */
  private write(
    { history, season, frequency }: RollRequest,
    { sign, from, end, tokens: used, origins }: Sequence,
    buffers: RunnerBuffers,
    row: number,
    tokens: number,
    scales: { zero: number; unit: number }[],
  ): void {
    const { patch } = this.forecaster.model.config;
    const { inputs, candidates } = derived(this.forecaster.model.config);
    const { state } = this;
    const C = patch * candidates;
    const base = row * tokens;
    const first = scales.length;
    const slots = new Map(origins.map(({ token }, i) => [token, first + i]));
    state.reset(season);
    // Tokens end at the origins, so the first one may be padded.
    let next = end - used * patch;
    for (let j = 0; j < used; j++) {
      for (let p = 0; p < patch; p++, next++) state.push(next >= from ? sign * history[next]! : Number.NaN);
      const slot = slots.get(j);
      state.emit(
        buffers.features,
        (base + j) * inputs,
        slot === undefined ? this.unread : buffers.candidates,
        slot === undefined ? 0 : slot * C,
      );
      if (slot === undefined) continue;
      buffers.positions[slot] = base + j;
      const zero = state.fromUnits(0);
      scales[slot] = { zero, unit: state.fromUnits(1) - zero };
    }
    buffers.features.fill(0, (base + used) * inputs, (base + tokens) * inputs);
    buffers.frequency.fill(frequencyClass(frequency), base, base + tokens);
    buffers.lengths[row] = used;
  }
}
