/** The turn outlook as a training task: crops of real calls in, projections, back-channels and next speakers out. */
import { join } from 'node:path';
import type { Backend, Plan } from '../../engine/backend.js';
import { Graph } from '../../engine/graph.js';
import type { Weights } from '../../engine/layers/parameters.js';
import { Random } from '../../engine/random.js';
import { columns, type Tensor } from '../../engine/tensor.js';
import type { CheckpointContent } from '../../engine/training/checkpoint.js';
import { readCalls } from '../data/turns.js';
import { auc, IGNORE } from '../metrics/index.js';
import { BACKCHANNEL_AT, NEXT_AT, TURN_LOGITS } from '../turns/config.js';
import { TURN_INPUTS, TurnInputs } from '../turns/history.js';
import { TurnNetwork, turnParameters } from '../turns/network.js';
import { binaryLoss, labelTables } from './binary-loss.js';
import type { TurnTraining } from './config.js';
import { type RunState, type Task, TrainingLoop } from './loop.js';
import type { DataOptions, OpenRun } from './outlook.js';
import { type LabelledCall, labelledCall, swappedCode, TURN_CODES, turnLabelOf } from './turn-labels.js';

/** Frames before a crop that its history is read from. */
const WARM_UP = 1500;

export async function openTurnRun(
  backend: Backend,
  config: TurnTraining,
  { root, say = () => {} }: DataOptions,
  resume?: CheckpointContent<RunState>,
): Promise<OpenRun> {
  const longest = config.batch.frames;
  const calls = readCalls(join(root, 'swb_turns', 'train.jsonl.gz'))
    .map(labelledCall)
    .filter(({ codes }) => codes.length >= longest);
  // The last ones are held out: the validation split of the data set is for reports only.
  const held = calls.splice(-config.validation.sequences);
  say(`${calls.length} calls for training, ${held.length} held out`);
  const loop = new TrainingLoop(
    backend,
    config,
    turnParameters(config.model),
    (average) => new TurnTask(backend, config, calls, held, average),
    resume,
  );
  return { loop, data: { calls: calls.length, source: 'swb_turns train' }, close: async () => {} };
}

/** Tensors of a batch of crops and the loss over them. */
class TurnBatch {
  readonly rows: Tensor;
  readonly codes: Tensor;
  private readonly weights: Tensor;
  private readonly shifted: Tensor;
  private readonly unscale: number[];

  constructor(
    private readonly backend: Backend,
    sequences: number,
    frames: number,
    loss: TurnTraining['loss'],
    lossScale: number,
  ) {
    this.rows = backend.alloc([sequences, frames, TURN_INPUTS]);
    this.codes = backend.alloc([sequences, frames], 'i32');
    const part = (c: number) =>
      c < BACKCHANNEL_AT ? loss.projection / 8 : c < NEXT_AT ? loss.backchannel : loss.shift;
    const scale = (c: number) => (lossScale * part(c)) / (sequences * frames);
    const tables = labelTables(TURN_CODES, TURN_LOGITS, turnLabelOf, scale);
    this.weights = backend.alloc([TURN_CODES, TURN_LOGITS]);
    this.shifted = backend.alloc([TURN_CODES, TURN_LOGITS]);
    backend.write(this.weights, tables.weights);
    backend.write(this.shifted, tables.shifted);
    this.unscale = Array.from({ length: TURN_LOGITS }, (_, c) => (part(c) > 0 ? 1 / (lossScale * part(c)) : 0));
  }

  record(g: Graph, network: TurnNetwork, figures: Tensor, train: boolean): Tensor {
    return g.scope(() => {
      const logits = network.logits(g, this.rows);
      const [weights, shifted] = [this.weights, this.shifted].map((table) => {
        const out = g.alloc(logits.shape);
        this.backend.kernels.embedding({ out, ids: this.codes, table });
        return out;
      });
      binaryLoss(g, { logits, weights, shifted, sums: columns(figures, 0, TURN_LOGITS) }, train);
      return logits;
    });
  }

  /** Mean loss a frame: each projection bin, sides pooled; back-channels; who comes next (over all frames, few of which ask). */
  summary(figures: ArrayLike<number>): Record<string, number> {
    const mean = (...of: number[]) => of.reduce((sum, c) => sum + figures[c] * this.unscale[c], 0) / of.length;
    const bins = [0, 1, 2, 3].map((k) => [`bin${k + 1}`, mean(k, 4 + k)] as const);
    return { ...Object.fromEntries(bins), backchannel: mean(8, 9), next: mean(NEXT_AT) };
  }
}

class TurnTask implements Task {
  readonly figures: number = TURN_LOGITS;
  readonly frames: number;
  private readonly batch: TurnBatch;
  private readonly rows: Float32Array;
  private readonly codes: Int32Array;
  private readonly swapped: Int32Array;
  private readonly validation: TurnValidation;

  constructor(
    private readonly backend: Backend,
    private readonly config: TurnTraining,
    private readonly calls: readonly LabelledCall[],
    held: readonly LabelledCall[],
    average: Weights,
  ) {
    const { sequences, frames } = config.batch;
    this.frames = sequences * frames;
    this.batch = new TurnBatch(backend, sequences, frames, config.loss, config.optimiser.lossScale);
    this.rows = new Float32Array(this.frames * TURN_INPUTS);
    this.codes = new Int32Array(this.frames);
    this.swapped = Int32Array.from({ length: TURN_CODES }, (_, code) => swappedCode(code));
    this.validation = new TurnValidation(backend, config, held, average);
  }

  record(g: Graph, weights: Weights, figures: Tensor): void {
    g.release(this.batch.record(g, new TurnNetwork(this.config.model, weights), figures, true));
  }

  async load(step: number): Promise<void> {
    const { sequences, frames } = this.config.batch;
    const random = new Random(Math.imul(this.config.seed + 1, 0x9e3779b1) ^ Math.imul(step + 1, 0x85ebca6b));
    for (let s = 0; s < sequences; s++) {
      const { activity, codes } = this.calls[random.integer(this.calls.length)];
      const from = random.uniform() < 0.2 ? 0 : random.integer(codes.length - frames + 1);
      const swap = random.uniform() < 0.5;
      const warm = Math.min(from, WARM_UP);
      const heard = activity.map((side) => side.slice(from - warm, from + frames)) as [Uint8Array, Uint8Array];
      if (random.uniform() < this.config.disturbed) for (const side of heard) disturb(side, random);
      if (swap) heard.reverse();
      const inputs = new TurnInputs();
      const at = s * frames * TURN_INPUTS;
      for (let t = 0; t < warm + frames; t++) {
        inputs.push(heard[0][t], heard[1][t], this.rows, at + Math.max(0, t - warm) * TURN_INPUTS);
      }
      for (let t = 0; t < frames; t++) {
        const code = codes[from + t];
        this.codes[s * frames + t] = swap ? this.swapped[code] : code;
      }
    }
    this.backend.write(this.batch.rows, this.rows);
    this.backend.write(this.batch.codes, this.codes);
  }

  summary(figures: ArrayLike<number>): Record<string, number> {
    return this.batch.summary(figures);
  }

  validate(): Promise<Record<string, number>> {
    return this.validation.run();
  }
}

/**
 * Activity as a detector would give it: edges moved by up to 40 ms, ends held for up to 120 ms, and bursts and gaps of
 * 20 to 60 ms for about one in fifty frames.
 */
export function disturb(side: Uint8Array, random: Random): void {
  const hangover = random.integer(7);
  const clean = side.slice();
  for (let t = 1; t < clean.length; t++) {
    if (clean[t] === clean[t - 1]) continue;
    const shift = random.integer(5) - 2 + (clean[t] === 0 ? hangover : 0);
    const [from, to] = shift > 0 ? [t, t + shift] : [t + shift, t];
    side.fill(shift > 0 ? clean[t - 1] : clean[t], Math.max(0, from), Math.min(side.length, to));
  }
  const flips = random.uniform(0, 0.01);
  for (let t = 0; t < side.length; t++) {
    if (random.uniform() >= flips) continue;
    const until = Math.min(side.length, t + 1 + random.integer(3));
    side.fill(1 - side[t], t, until);
    t = until;
  }
}

class TurnValidation {
  private readonly batch: TurnBatch;
  private readonly figures: Tensor;
  private readonly plan: Plan<Tensor>;
  private readonly codes: Int32Array;
  /** Who was active last: 0 or 1. */
  private readonly before: Uint8Array;

  constructor(
    private readonly backend: Backend,
    config: TurnTraining,
    calls: readonly LabelledCall[],
    weights: Weights,
  ) {
    const { frames } = config.batch;
    this.batch = new TurnBatch(backend, calls.length, frames, config.loss, 1);
    const rows = new Float32Array(calls.length * frames * TURN_INPUTS);
    this.codes = new Int32Array(calls.length * frames);
    this.before = new Uint8Array(calls.length * frames);
    calls.forEach(({ activity, codes }, i) => {
      const inputs = new TurnInputs();
      let last = 0;
      for (let t = 0; t < frames; t++) {
        if (activity[0][t] !== activity[1][t]) last = activity[1][t];
        this.before[i * frames + t] = last;
        inputs.push(activity[0][t], activity[1][t], rows, (i * frames + t) * TURN_INPUTS);
      }
      this.codes.set(codes.subarray(0, frames), i * frames);
    });
    backend.write(this.batch.rows, rows);
    backend.write(this.batch.codes, this.codes);
    this.figures = backend.alloc([1, TURN_LOGITS]);
    this.plan = backend.record(() => {
      const g = new Graph(backend, { precision: config.precision });
      return this.batch.record(g, new TurnNetwork(config.model, weights), this.figures, false);
    });
  }

  async run(): Promise<Record<string, number>> {
    this.plan.run();
    const [figures, logits] = await Promise.all([this.figures, this.plan.result].map((t) => this.backend.read(t)));
    // Shift or hold: whether the next is not the one before.
    const labels = Uint8Array.from(this.codes, (code, t) => {
      const next = turnLabelOf(code, NEXT_AT);
      return next === undefined ? IGNORE : next ^ this.before[t];
    });
    const said = Float32Array.from(labels, (_, t) => (this.before[t] ? -1 : 1) * logits[t * TURN_LOGITS + NEXT_AT]);
    return { ...this.batch.summary(figures), shiftAuc: auc(said, labels) };
  }
}
