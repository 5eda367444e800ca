/**
 * Many live streams on one model: samples are pushed into sessions at any pace, and `step` moves all that is due in
 * batched passes, one for a tick where sessions keep pace.
 *
 * Every session owns a slot of one state of fixed capacity, so a tick reads and writes states in place. A session that
 * has fallen behind is brought up alone, in long passes, and does not hold up the others.
 */
import type { Backend } from '../../engine/backend.js';
import { freeState, newState, type State } from '../../engine/layers/layer.js';
import { sizeOf, type Tensor } from '../../engine/tensor.js';
import { AdderError } from '../../platform/errors.js';
import { type ExtractorState, FEATURES, FeatureExtractor } from '../features/index.js';
import type { SpeechModel } from './model.js';
import { Pass } from './pass.js';
import { type Pending, rowsToTracks } from './rows.js';
import { type SpeechTracks, TRACKS } from './tracks.js';

/** Rows a session may have due to go along with the others, row by row: a step of all is made for one row each. */
const TOGETHER = 4;
/** Lengths of the passes that bring up one session. */
const CATCH_UP = [16, 64, 256];

/** All of a session: plain data but for the arrays. Tracks that were not taken are not part of it. */
export interface SpeechState {
  format: 'adder-speech-1';
  model: string;
  /** Of the weights; a state means nothing to other weights. */
  digest: string;
  /** Rows heard. */
  rows: number;
  extractor: ExtractorState;
  pending: Pending | null;
  tensors: Record<string, Float32Array>;
}

/** One live stream of 16 kHz samples. */
export interface SpeechSession {
  /** Rows (hops of 10 ms) that `take` has given or would give. */
  readonly rows: number;
  /** Rows that wait for `step`. */
  readonly due: number;
  /** Any number of samples at 16 kHz, full scale ±1. Returns the rows they completed. */
  push(samples: ArrayLike<number>): number;
  /** Tracks of the rows stepped since the last call. */
  take(): SpeechTracks;
  /** State after all rows stepped so far. @throws AdderError `ROWS_DUE` while rows wait for `step` */
  save(): Promise<SpeechState>;
  close(): void;
}

class Session implements SpeechSession {
  extractor = new FeatureExtractor();
  /** Feature rows not stepped yet: from `head` to `tail` of `queue`. */
  queue = new Float32Array(8 * FEATURES);
  head = 0;
  tail = 0;
  rows = 0;
  private taken = 0;
  private parts: Float32Array[] = [];
  pending: Pending | undefined;

  constructor(
    private readonly owner: SpeechListener,
    public slot: number,
  ) {}

  get due(): number {
    return this.tail - this.head;
  }

  get closed(): boolean {
    return this.slot < 0;
  }

  push(samples: ArrayLike<number>): number {
    if (this.closed) throw closed();
    const { count, features } = this.extractor.push(samples);
    if ((this.tail + count) * FEATURES > this.queue.length) {
      const waiting = this.queue.subarray(this.head * FEATURES, this.tail * FEATURES);
      const room = 2 * (this.due + count) * FEATURES;
      const queue = room > this.queue.length ? new Float32Array(room) : this.queue;
      if (queue === this.queue) queue.copyWithin(0, this.head * FEATURES, this.tail * FEATURES);
      else queue.set(waiting);
      this.queue = queue;
      this.tail = this.due;
      this.head = 0;
    }
    this.queue.set(features, this.tail * FEATURES);
    this.tail += count;
    return count;
  }

  add(values: Float32Array, count: number): void {
    this.parts.push(values);
    this.rows += count;
  }

  take(): SpeechTracks {
    const count = this.rows - this.taken;
    const values = new Float32Array(count * TRACKS.length);
    let at = 0;
    for (const part of this.parts) {
      values.set(part, at);
      at += part.length;
    }
    this.parts = [];
    const first = this.taken;
    this.taken = this.rows;
    return { first, count, values };
  }

  /** Continue after `rows` rows that another session gave. */
  startAt(rows: number): void {
    this.rows = rows;
    this.taken = rows;
  }

  save(): Promise<SpeechState> {
    return this.owner.saveSession(this);
  }

  close(): void {
    this.owner.closeSession(this);
  }
}

export class SpeechListener {
  private readonly sessions: Session[] = [];
  private capacity = 0;
  private state: State = {};
  private readonly alone: State;
  /** One row of every slot. */
  private common: Pass | undefined;
  private readonly catchUp = new Map<number, Pass>();
  /** Steps and saves, one after another. */
  private queue: Promise<unknown> = Promise.resolve();

  constructor(readonly model: SpeechModel) {
    this.alone = newState(model.backend, model.network, 1);
  }

  /** Live sessions. */
  get size(): number {
    return this.sessions.length;
  }

  /** Rows that wait for `step`, over all sessions. */
  get due(): number {
    return this.sessions.reduce((sum, s) => sum + s.due, 0);
  }

  /**
   * A new stream, or one that goes on from a saved state.
   *
   * @throws AdderError `BAD_STATE` if the state belongs to other weights
   */
  open(saved?: SpeechState): SpeechSession {
    const { backend, digest } = this.model;
    if (saved && (saved.format !== 'adder-speech-1' || saved.digest !== digest)) {
      throw new AdderError({
        code: 'BAD_STATE',
        message: `this session state belongs to other weights (${saved.model})`,
        fix: 'continue it with the model it was made by, or start a new session',
      });
    }
    const slot = this.sessions.length;
    if (slot === this.capacity) this.resize(slot + 1);
    const session = new Session(this, slot);
    for (const [name, t] of Object.entries(this.slotOf(this.state, slot))) {
      if (saved) backend.write(t, saved.tensors[name]);
      else backend.kernels.fill(t, 0);
    }
    if (saved) {
      session.extractor = FeatureExtractor.restore(saved.extractor);
      session.pending = saved.pending ?? undefined;
      session.startAt(saved.rows);
    }
    this.sessions.push(session);
    return session;
  }

  /** Steps every row that is due now; resolves when its tracks can be taken. Returns the number of rows. */
  step(): Promise<number> {
    return this.inTurn(async () => {
      let stepped = 0;
      for (const session of [...this.sessions]) {
        while (session.due > TOGETHER && !session.closed) stepped += await this.bringUp(session);
      }
      while (this.due > 0) stepped += await this.together();
      return stepped;
    });
  }

  /** Ends all sessions and frees the memory; the model stays the caller's. */
  async close(): Promise<void> {
    await this.inTurn(async () => {
      for (const session of [...this.sessions]) this.closeSession(session);
      for (const pass of this.catchUp.values()) pass.free();
      this.forgetCommon();
      this.catchUp.clear();
      freeState(this.model.backend, this.state);
      freeState(this.model.backend, this.alone);
      this.state = {};
      this.capacity = 0;
    });
  }

  /** @internal */
  saveSession(session: Session): Promise<SpeechState> {
    return this.inTurn(async () => {
      if (session.closed) throw closed();
      if (session.due > 0) {
        throw new AdderError({
          code: 'ROWS_DUE',
          message: `${session.due} rows of this session wait for a step`,
          fix: 'call step() before save()',
        });
      }
      const { backend, name, digest } = this.model;
      const { rows, pending } = session;
      const extractor = session.extractor.snapshot();
      const reads = Object.entries(this.slotOf(this.state, session.slot)).map(
        async ([key, t]) => [key, Float32Array.from(await backend.read(t))] as const,
      );
      const tensors = Object.fromEntries(await Promise.all(reads));
      return { format: 'adder-speech-1', model: name, digest, rows, extractor, pending: pending ?? null, tensors };
    });
  }

  /** @internal The last session moves into the free slot. */
  closeSession(session: Session): void {
    if (session.closed) return;
    const last = this.sessions.pop()!;
    if (last !== session) {
      this.copy(this.slotOf(this.state, session.slot), this.slotOf(this.state, last.slot));
      last.slot = session.slot;
      this.sessions[last.slot] = last;
    }
    session.slot = -1;
    const wanted = capacityFor(this.sessions.length);
    if (2 * wanted < this.capacity) this.resize(wanted);
  }

  private inTurn<T>(body: () => Promise<T>): Promise<T> {
    const result = this.queue.then(body);
    this.queue = result.catch(() => undefined);
    return result;
  }

  /** One pass over all slots, with the next row of every session that has one. */
  private async together(): Promise<number> {
    this.common ??= new Pass(this.model, this.capacity, 1, this.state);
    const pass = this.common;
    pass.lengths.fill(0);
    const jobs = this.sessions
      .filter((session) => session.due > 0)
      .map((session) => ({ session, index: session.slot, count: fill(pass, session.slot, session) }));
    const output = await pass.run();
    for (const { session, index, count } of jobs) {
      const at = { index, length: 1, count };
      const done = rowsToTracks(this.model, output, pass.features, at, session.pending);
      session.pending = done.pending;
      session.add(done.values, count);
    }
    return jobs.length;
  }

  private forgetCommon(): void {
    this.common?.free();
    this.common = undefined;
  }

  private async bringUp(session: Session): Promise<number> {
    const length = CATCH_UP.find((l) => l >= session.due) ?? CATCH_UP[CATCH_UP.length - 1];
    let pass = this.catchUp.get(length);
    if (!pass) {
      pass = new Pass(this.model, 1, length, this.alone);
      this.catchUp.set(length, pass);
    }
    this.copy(this.alone, this.slotOf(this.state, session.slot));
    const count = fill(pass, 0, session);
    const running = pass.run();
    // Enqueued behind the pass, before anything can move the session to another slot.
    this.copy(this.slotOf(this.state, session.slot), this.alone);
    const output = await running;
    const done = rowsToTracks(this.model, output, pass.features, { index: 0, length, count }, session.pending);
    session.pending = done.pending;
    session.add(done.values, count);
    return count;
  }

  /** Another capacity; the states of all sessions move along. */
  private resize(atLeast: number): void {
    const { backend, network } = this.model;
    const capacity = capacityFor(atLeast);
    const before = this.state;
    this.state = newState(backend, network, capacity);
    for (const { slot } of this.sessions) this.copy(this.slotOf(this.state, slot), this.slotOf(before, slot));
    this.forgetCommon();
    if (this.capacity > 0) freeState(backend, before);
    this.capacity = capacity;
  }

  /** Views of one slot's states. */
  private slotOf(state: State, slot: number): State {
    return Object.fromEntries(
      Object.entries(state).map(([name, t]) => {
        const shape = [1, ...t.shape.slice(1)];
        return [name, { ...t, shape, offset: t.offset + slot * sizeOf(shape) } satisfies Tensor];
      }),
    );
  }

  private copy(to: State, from: State): void {
    const { backend }: { backend: Backend } = this.model;
    for (const [name, t] of Object.entries(to)) backend.kernels.copy(t, from[name]);
  }
}

/** Moves rows of a session into a pass; returns how many. */
function fill(pass: Pass, index: number, session: Session): number {
  const count = Math.min(pass.length, session.due);
  const rows = session.queue.subarray(session.head * FEATURES, (session.head + count) * FEATURES);
  pass.features.set(rows, index * pass.length * FEATURES);
  pass.lengths[index] = count;
  session.head += count;
  return count;
}

/** Slots for so many sessions: exact up to 2, then steps of about a quarter, so that passes are recorded seldom. */
export function capacityFor(sessions: number): number {
  if (sessions <= 2) return Math.max(1, sessions);
  const grain = Math.max(2, 2 ** (Math.floor(Math.log2(sessions - 1)) - 1));
  return Math.ceil(sessions / grain) * grain;
}

function closed(): AdderError {
  return new AdderError({ code: 'SESSION_CLOSED', message: 'this session was closed', fix: 'open another' });
}
