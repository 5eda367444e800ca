/** Conversations as they go on: two activity streams in, projections of the next two seconds out, frame by frame. */
import type { State } from '../../engine/layers/layer.js';
import { AdderError } from '../../platform/errors.js';
import { RowQueue, TrackRows } from '../model/row-queue.js';
import { closed, type Seat, type Slotted, SlottedStreams } from '../model/slotted-streams.js';
import { TURN_LOGITS } from './config.js';
import { TURN_INPUTS, type TurnHistoryState, TurnInputs } from './history.js';
import type { TurnModel } from './model.js';
import { TurnPass } from './pass.js';
import { type Floor, TURN_TRACKS, type TurnTracks, writeTurnTracks } from './tracks.js';

/** Lengths of the passes that bring up one conversation. */
const CATCH_UP = [1, 2, 4, 8, 16, 32, 64, 256, 1024];

/** All of a conversation. Tracks that were not taken are not part of it. */
export interface TurnState {
  format: 'adder-turns-1';
  model: string;
  /** Of the weights; a state means nothing to other weights. */
  digest: string;
  frames: number;
  last: 0 | 1 | null;
  inputs: TurnHistoryState;
  tensors: Record<string, Float32Array>;
}

export class Conversation implements Slotted {
  /** @internal */
  slot = -1;
  /** @internal */
  readonly waiting = new RowQueue(TURN_INPUTS);
  /** @internal Of the rows that wait. */
  floors: Floor[] = [];
  /** @internal */
  readonly out: TrackRows;
  private readonly inputs: TurnInputs;
  private last: 0 | 1 | undefined;

  /** @internal */
  constructor(
    private readonly owner: TurnListener,
    saved: TurnState | undefined,
  ) {
    this.inputs = saved ? TurnInputs.restore(saved.inputs) : new TurnInputs();
    this.last = saved?.last ?? undefined;
    this.out = new TrackRows(TURN_TRACKS.length, saved?.frames);
  }

  /** Frames that wait for a step. */
  get due(): number {
    return this.waiting.length;
  }

  /** Frames stepped. */
  get frames(): number {
    return this.out.rows;
  }

  /**
   * The next frames of 20 ms, 1 where the side talks.
   *
   * @throws AdderError `BAD_ACTIVITY` if the sides differ in length
   */
  push(a: ArrayLike<number>, b: ArrayLike<number>): void {
    if (this.slot < 0) throw closed();
    if (a.length !== b.length) {
      throw new AdderError({
        code: 'BAD_ACTIVITY',
        message: `${a.length} frames of one side and ${b.length} of the other`,
        fix: 'give both sides the same frames',
      });
    }
    const rows = new Float32Array(a.length * TURN_INPUTS);
    for (let i = 0; i < a.length; i++) {
      const [x, y] = [Boolean(a[i]), Boolean(b[i])];
      this.inputs.push(x ? 1 : 0, y ? 1 : 0, rows, i * TURN_INPUTS);
      if (x !== y) this.last = x ? 0 : 1;
      this.floors.push({ silent: !x && !y, last: this.last });
    }
    this.waiting.push(rows, a.length);
  }

  /** Tracks of the frames stepped since the last call. */
  take(): TurnTracks {
    return this.out.take();
  }

  /** State after all frames stepped so far. @throws AdderError `ROWS_DUE` while frames wait for a step */
  save(): Promise<TurnState> {
    return this.owner.saveConversation(this);
  }

  close(): void {
    this.owner.closeConversation(this);
  }

  /** @internal */
  kept(): Pick<TurnState, 'frames' | 'last' | 'inputs'> {
    return { frames: this.frames, last: this.last ?? null, inputs: this.inputs.snapshot() };
  }
}

/** Live conversations on one turn model: all that have a frame due step together. */
export class TurnListener extends SlottedStreams<Conversation, TurnPass> {
  constructor(readonly model: TurnModel) {
    super(model.backend, model.network, 2, CATCH_UP);
  }

  /**
   * A new conversation, or one that goes on from a saved state.
   *
   * @throws AdderError `BAD_STATE` if the state belongs to other weights
   */
  open(saved?: TurnState): Conversation {
    if (saved && (saved.format !== 'adder-turns-1' || saved.digest !== this.model.digest)) {
      throw new AdderError({
        code: 'BAD_STATE',
        message: `this conversation's state belongs to other weights (${saved.model})`,
        fix: 'continue it with the model it was made by, or start again',
      });
    }
    const conversation = new Conversation(this, saved);
    this.add(conversation, saved?.tensors);
    return conversation;
  }

  /** @internal */
  saveConversation(conversation: Conversation): Promise<TurnState> {
    const { name, digest } = this.model;
    return this.save(conversation, () => ({ format: 'adder-turns-1', model: name, digest, ...conversation.kept() }));
  }

  /** @internal */
  closeConversation(conversation: Conversation): void {
    this.remove(conversation);
  }

  protected override newPass(conversations: number, length: number, state: State): TurnPass {
    return new TurnPass(this.model, conversations, length, state);
  }

  protected override async advance(pass: TurnPass, seats: readonly Seat<Conversation>[]): Promise<number> {
    const { length, rows, lengths } = pass;
    lengths.fill(0);
    let done = 0;
    for (const { stream, index } of seats) {
      const [ab, ba] = [2 * index * length * TURN_INPUTS, (2 * index + 1) * length * TURN_INPUTS];
      const count = stream.waiting.shift(length, rows, ab);
      for (let i = 0; i < count; i++) swapSides(rows, ab + i * TURN_INPUTS, ba + i * TURN_INPUTS);
      lengths[2 * index] = count;
      lengths[2 * index + 1] = count;
      done += count;
    }
    const logits = await pass.run();
    for (const { stream, index } of seats) {
      const count = lengths[2 * index];
      const values = new Float32Array(count * TURN_TRACKS.length);
      for (const [i, floor] of stream.floors.splice(0, count).entries()) {
        const [ab, ba] = [(2 * index * length + i) * TURN_LOGITS, ((2 * index + 1) * length + i) * TURN_LOGITS];
        writeTurnTracks(values, i * TURN_TRACKS.length, logits, ab, ba, floor, this.model.calibration);
      }
      stream.out.add(values, count);
    }
    return done;
  }
}

/** The row at `from` with its sides exchanged, to `to`. */
function swapSides(rows: Float32Array, from: number, to: number): void {
  const side = TURN_INPUTS / 2;
  rows.copyWithin(to, from + side, from + 2 * side);
  rows.copyWithin(to + side, from, from + side);
}

/** Tracks of a whole conversation. @throws AdderError `BAD_ACTIVITY` if the sides differ in length */
export async function scanConversation(
  model: TurnModel,
  activity: readonly [ArrayLike<number>, ArrayLike<number>],
): Promise<TurnTracks> {
  const listener = new TurnListener(model);
  try {
    const conversation = listener.open();
    conversation.push(...activity);
    await listener.step();
    return conversation.take();
  } finally {
    await listener.close();
  }
}
