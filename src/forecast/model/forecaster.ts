/** The neural forecaster behind the interface that everything that forecasts speaks. */
import { AdderError } from '../../platform/errors.js';
import type { Forecaster, ForecastRequest, ForecastResult } from '../forecaster.js';
import { makeMonotone, quantilesAt } from '../quantiles.js';
import { derived } from './config.js';
import { FeatureState } from './features.js';
import { frequencyClass } from './frequency.js';
import type { ForecasterModel } from './model.js';
import { classOf, Runner, type RunnerBuffers } from './runner.js';

export interface NeuralForecasterOptions {
  /** Latest values of a history that are read; training windows have 1,152. */
  context?: number;
  /** Average with the mirrored forecast of the mirrored series: twice the work for a little accuracy. */
  flip?: boolean;
  /**
   * Where token ends fall. `end` (default): the history ends with a whole token, its beginning is padded. `start`: tokens
   * count from the first observation and a look-ahead token ends the history, as in a live stream of the same values.
   */
  align?: 'end' | 'start';
  /** Most tokens in one batch. */
  batchTokens?: number;
}

/** Values of a history that are read where a model says nothing else. */
export const DEFAULT_CONTEXT = 1024;
const BATCH_TOKENS = { webgpu: 32_768, wasm: 4096, reference: 1024 };

/** One sequence to be run: a request, or its mirror image. */
interface Job {
  request: number;
  sign: 1 | -1;
  /** Values from the first observation within the context on. */
  values: Float64Array;
  season: number;
  frequency: number;
  /** Tokens of the history and patches of the horizon. */
  past: number;
  ahead: number;
}

export class NeuralForecaster implements Forecaster {
  readonly id: string;
  private readonly runner: Runner;
  private readonly state: FeatureState;
  readonly context: number;
  readonly flip: boolean;
  private readonly align: 'end' | 'start';
  private readonly batchTokens: number;
  /** Plans share their buffers between calls, so calls take turns. */
  private turn: Promise<unknown> = Promise.resolve();

  constructor(
    readonly model: ForecasterModel,
    options: NeuralForecasterOptions = {},
    private readonly release: () => Promise<void> = async () => {},
  ) {
    this.id = model.id;
    this.runner = new Runner(model);
    this.state = new FeatureState(model.config);
    this.context = options.context ?? DEFAULT_CONTEXT;
    this.flip = options.flip ?? false;
    this.align = options.align ?? 'end';
    this.batchTokens = options.batchTokens ?? BATCH_TOKENS[model.backend.name];
  }

  async forecast(requests: ForecastRequest[]): Promise<ForecastResult[]> {
    const jobs = requests.flatMap((request, i) => this.jobs(request, i));
    const mine = this.turn.then(() => this.runAll(jobs));
    this.turn = mine.catch(() => undefined);
    const values = await mine;
    return requests.map((request, i) => this.answer(request, values.get(i)!));
  }

  /** The sequences a request needs. @throws AdderError `NO_VALUES`, `BAD_HORIZON` */
  private jobs(request: ForecastRequest, index: number): Job[] {
    const { history, horizon, season } = request;
    const { patch } = this.model.config;
    if (!(Number.isInteger(horizon) && horizon >= 1)) {
      throw new AdderError({
        code: 'BAD_HORIZON',
        message: `a horizon is a whole number of steps from 1, not ${horizon}`,
        fix: 'e.g. 24',
      });
    }
    let from = Math.max(0, history.length - this.context);
    let to = history.length;
    while (from < to && !Number.isFinite(history[from])) from++;
    if (from === to) {
      // Longer silent than the context reaches: the last observation is all that is left to go by.
      from = history.findLastIndex(Number.isFinite);
      if (from < 0) {
        throw new AdderError({
          code: 'NO_VALUES',
          message: 'a history without any value cannot be forecast',
          fix: 'give at least one number',
        });
      }
      to = from + 1;
    }
    const values = history.subarray(from, to);
    const job: Job = {
      request: index,
      sign: 1,
      values,
      season,
      frequency: frequencyClass(request.frequency),
      past: Math.ceil(values.length / patch),
      ahead: Math.ceil(horizon / patch),
    };
    return this.flip ? [job, { ...job, sign: -1 }] : [job];
  }

  /** Quantiles of every request's horizon, level-major, rounded up to whole patches; mirrored runs averaged in. */
  private async runAll(jobs: Job[]): Promise<Map<number, Float64Array[]>> {
    const results = new Map<number, Float64Array[]>();
    const tokens = (job: Job) => job.past + job.ahead - 1;
    const ordered = [...jobs].sort((a, b) => tokens(a) - tokens(b) || a.ahead - b.ahead);
    for (let at = 0; at < ordered.length; ) {
      // As many as fit; the last one has the most tokens. A longer class starts a new batch once this one is worth it.
      let end = at + 1;
      const size = classOf(tokens(ordered[at]!));
      while (end < ordered.length) {
        const longer = classOf(tokens(ordered[end]!));
        if ((end + 1 - at) * longer > this.batchTokens) break;
        if (longer > size && (end - at) * size > this.batchTokens / 8) break;
        end++;
      }
      await this.runBatch(ordered.slice(at, end), classOf(tokens(ordered[end - 1]!)), results);
      at = end;
    }
    return results;
  }

  private async runBatch(batch: Job[], tokens: number, results: Map<number, Float64Array[]>): Promise<void> {
    const { patch, levels } = this.model.config;
    const sequences = classOf(batch.length);
    const wanted = batch.reduce((sum, job) => sum + job.ahead, 0);
    const shape = { sequences, tokens, outputs: classOf(wanted) };
    const buffers = this.runner.buffers(shape);
    const scales: { zero: number; unit: number }[] = [];
    let output = 0;
    batch.forEach((job, row) => {
      scales.push(this.write(buffers, job, row, tokens, output));
      output += job.ahead;
    });
    // Rows that only fill the class up: no tokens, and outputs read from anywhere.
    buffers.lengths.fill(0, batch.length);
    const { inputs, candidates } = derived(this.model.config);
    buffers.frequency.fill(0, batch.length * tokens);
    buffers.features.fill(0, batch.length * tokens * inputs);
    buffers.positions.fill(0, output);
    buffers.candidates.fill(0, output * patch * candidates);
    const quantiles = await this.runner.run(shape);
    const Q = levels.length;
    let at = 0;
    batch.forEach((job, row) => {
      const { zero, unit } = scales[row]!;
      const length = job.ahead * patch;
      let target = results.get(job.request);
      if (!target) {
        target = levels.map(() => new Float64Array(length));
        results.set(job.request, target);
      }
      const share = this.flip ? 0.5 : 1;
      for (let i = 0; i < length; i++) {
        for (let q = 0; q < Q; q++) {
          const value = zero + unit * quantiles[(at + i) * Q + q]!;
          // The mirror image of level p is minus level 1 − p.
          target[job.sign > 0 ? q : Q - 1 - q]![i]! += share * job.sign * value;
        }
      }
      at += length;
    });
  }

  /** Tokens of one sequence into row `row`; returns what turns units into values. */
  private write(buffers: RunnerBuffers, job: Job, row: number, tokens: number, output: number) {
    const { patch } = this.model.config;
    const { inputs, candidates } = derived(this.model.config);
    const { state } = this;
    const { values, past, ahead, sign } = job;
    const C = patch * candidates;
    const used = past + ahead - 1;
    const base = row * tokens;
    const scratch = this.unread;
    state.reset(job.season);
    // The token that is not whole: padded before the first value, or a look-ahead token at the last one.
    const padding = past * patch - values.length;
    const lookAhead = this.align === 'start' ? past - 1 : -1;
    let next = this.align === 'start' ? 0 : -padding;
    for (let j = 0; j < used; j++) {
      const fresh = j === lookAhead ? patch - padding : patch;
      // After the last value patches are masked.
      for (let p = 0; p < fresh; p++, next++) {
        state.push(next >= 0 && next < values.length ? sign * values[next]! : Number.NaN);
      }
      const read = j >= past - 1;
      const slot = output + j - (past - 1);
      state.emit(
        buffers.features,
        (base + j) * inputs,
        read ? buffers.candidates : scratch,
        read ? slot * C : 0,
        fresh,
      );
      if (read) buffers.positions[slot] = base + j;
    }
    buffers.features.fill(0, (base + used) * inputs, (base + tokens) * inputs);
    buffers.frequency.fill(job.frequency, base, base + tokens);
    buffers.lengths[row] = used;
    // Nothing was observed since the last token of the history, so all of the horizon has one scale.
    const zero = state.fromUnits(0);
    return { zero, unit: state.fromUnits(1) - zero };
  }

  private get unread(): Float32Array {
    this.unreadCandidates ??= new Float32Array(this.model.config.patch * derived(this.model.config).candidates);
    return this.unreadCandidates;
  }

  private unreadCandidates: Float32Array | undefined;

  private answer(request: ForecastRequest, values: Float64Array[]): ForecastResult {
    const cut = makeMonotone(values.map((v) => v.slice(0, request.horizon)));
    return { quantiles: quantilesAt(this.model.config.levels, cut, request.quantiles) };
  }

  async close(): Promise<void> {
    await this.turn;
    this.runner.free();
    this.model.free();
    await this.release();
  }
}
