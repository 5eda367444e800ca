/** A conversation as it goes on: two activity streams in, projections of the next two seconds out, frame by frame. */
import type { NumericArray, Plan } from '../../engine/backend.js';
import { Graph } from '../../engine/graph.js';
import { freeState, newState, readState, type State, writeState } from '../../engine/layers/layer.js';
import type { Tensor } from '../../engine/tensor.js';
import { AdderError } from '../../platform/errors.js';
import { TURN_LOGITS } from './config.js';
import { TURN_INPUTS, type TurnHistoryState, TurnInputs } from './history.js';
import type { TurnModel } from './model.js';
import { type Floor, TURN_TRACKS, type TurnTracks, writeTurnTracks } from './tracks.js';

/** Frames of a pass: one for a live frame, long ones for what is there at once. */
const LENGTHS = [1, 16, 256, 2048];

export interface TurnState {
  format: 'adder-turns-1';
  model: string;
  digest: string;
  frames: number;
  last: 0 | 1 | null;
  inputs: TurnHistoryState;
  tensors: Record<string, Float32Array>;
}

interface Recorded {
  rows: Tensor;
  lengths: Tensor;
  plan: Plan<Tensor>;
  buffer: Float32Array;
}

export class TurnStream {
  private inputs = new TurnInputs();
  private frames = 0;
  private last: 0 | 1 | undefined;
  /** Of two sequences: the sides as A, B and as B, A. */
  private readonly state: State;
  private readonly passes = new Map<number, Recorded>();

  constructor(readonly model: TurnModel) {
    this.state = newState(model.backend, model.network, 2);
  }

  /** Frames heard. */
  get length(): number {
    return this.frames;
  }

  /**
   * The next frames of 20 ms, 1 where the side talks. One call at a time.
   *
   * @throws AdderError `BAD_ACTIVITY` if the sides differ in length
   */
  async push(a: ArrayLike<number>, b: ArrayLike<number>): Promise<TurnTracks> {
    if (a.length !== b.length) {
      throw new AdderError({
        code: 'BAD_ACTIVITY',
        message: `${a.length} frames of one side and ${b.length} of the other`,
        fix: 'give both sides the same frames',
      });
    }
    const total = a.length;
    const first = this.frames;
    const values = new Float32Array(total * TURN_TRACKS.length);
    for (let done = 0; done < total; ) {
      const left = total - done;
      const length = LENGTHS.findLast((l) => l <= left)!;
      const pass = this.pass(length);
      const half = length * TURN_INPUTS;
      const floors: Floor[] = [];
      for (let i = 0; i < length; i++) {
        const [x, y] = [a[done + i] ? 1 : 0, b[done + i] ? 1 : 0];
        this.inputs.push(x, y, pass.buffer, i * TURN_INPUTS);
        if (x !== y) this.last = x ? 0 : 1;
        floors.push({ silent: !x && !y, last: this.last });
        swapSides(pass.buffer, i * TURN_INPUTS, half + i * TURN_INPUTS);
      }
      const logits = await this.run(pass);
      for (let i = 0; i < length; i++) {
        const at = (done + i) * TURN_TRACKS.length;
        const [ab, ba] = [i * TURN_LOGITS, (length + i) * TURN_LOGITS];
        writeTurnTracks(values, at, logits, ab, ba, floors[i], this.model.calibration);
      }
      done += length;
    }
    this.frames += total;
    return { first, count: total, values };
  }

  async save(): Promise<TurnState> {
    const { backend, name, digest } = this.model;
    const value = await readState(backend, this.state);
    const tensors = Object.fromEntries(Object.entries(value).map(([key, data]) => [key, Float32Array.from(data)]));
    const { frames, last } = this;
    return {
      format: 'adder-turns-1',
      model: name,
      digest,
      frames,
      last: last ?? null,
      inputs: this.inputs.snapshot(),
      tensors,
    };
  }

  /** @throws AdderError `BAD_STATE` if the state belongs to other weights */
  static restore(model: TurnModel, saved: TurnState): TurnStream {
    if (saved.format !== 'adder-turns-1' || saved.digest !== model.digest) {
      throw new AdderError({
        code: 'BAD_STATE',
        message: `this conversation's state belongs to other weights (${saved.model})`,
        fix: 'continue it with the model it was made by, or start again',
      });
    }
    const stream = new TurnStream(model);
    stream.inputs = TurnInputs.restore(saved.inputs);
    stream.frames = saved.frames;
    stream.last = saved.last ?? undefined;
    writeState(model.backend, stream.state, saved.tensors);
    return stream;
  }

  free(): void {
    const { backend } = this.model;
    for (const { plan, rows, lengths } of this.passes.values()) {
      plan.dispose();
      backend.free(rows);
      backend.free(lengths);
    }
    freeState(backend, this.state);
  }

  private pass(length: number): Recorded {
    const known = this.passes.get(length);
    if (known) return known;
    const { backend, network } = this.model;
    const rows = backend.alloc([2, length, TURN_INPUTS]);
    const lengths = backend.alloc([2], 'i32');
    backend.write(lengths, [length, length]);
    const plan = backend.record(() => network.logits(new Graph(backend), rows, { state: this.state, lengths }));
    const made = { rows, lengths, plan, buffer: new Float32Array(2 * length * TURN_INPUTS) };
    this.passes.set(length, made);
    return made;
  }

  private run({ rows, plan, buffer }: Recorded): Promise<NumericArray> {
    const { backend } = this.model;
    backend.write(rows, buffer);
    plan.run();
    return backend.read(plan.result);
  }
}

/** The row at `from` with its sides exchanged, to `to`. */
function swapSides(rows: Float32Array, from: number, to: number): void {
  const side = TURN_INPUTS / 2;
  rows.copyWithin(to, from + side, from + 2 * side);
  rows.copyWithin(to + side, from, from + side);
}

/** Tracks of a whole conversation. */
export async function scanConversation(
  model: TurnModel,
  activity: readonly [ArrayLike<number>, ArrayLike<number>],
): Promise<TurnTracks> {
  const stream = new TurnStream(model);
  try {
    return await stream.push(...activity);
  } finally {
    stream.free();
  }
}
