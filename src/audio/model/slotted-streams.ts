/**
 * Many live streams on one network: rows are pushed into streams at any pace, and `step` moves all that is due in batched
 * passes, one for a tick where streams keep pace.
 *
 * Every stream owns a slot of one state of fixed capacity, so a tick reads and writes states in place. A stream that has
 * fallen behind is brought up alone, in long passes, and does not hold up the others.
 */
import type { Backend } from '../../engine/backend.js';
import { freeState, newState, type SequenceLayer, type State } from '../../engine/layers/layer.js';
import { sizeOf, type Tensor } from '../../engine/tensor.js';
import { AdderError } from '../../platform/errors.js';

/** Rows a stream may have due to go along with the others, row by row: a step of all is made for one row each. */
const TOGETHER = 4;
/**
 * Share of all slots that must have a row for a step of all, where every row of a pass costs time, also an empty one: a row
 * alone, with its state copied out and in, costs about twice one among all.
 */
const CROWD = 0.45;

/** What a batch needs to know of a stream. */
export interface Slotted {
  /** Its place in the common state; negative once closed. Set by the batch only. */
  slot: number;
  /** Rows that wait for a step. */
  readonly due: number;
}

/** A stream in a pass: its rows lie at this index. */
export interface Seat<S> {
  stream: S;
  index: number;
}

export abstract class SlottedStreams<S extends Slotted, P extends { free(): void }> {
  private readonly streams: S[] = [];
  private capacity = 0;
  private state: State = {};
  private readonly alone: State;
  /** One row of every slot. */
  private common: P | undefined;
  private readonly catchUp = new Map<number, P>();
  /** Steps and saves, one after another. */
  private queue: Promise<unknown> = Promise.resolve();
  /** A processor is paid by the row; a GPU by the pass. */
  private readonly paysRows: boolean;

  /**
   * @param sequences of the network that one stream takes
   * @param lengths of the passes that bring up one stream, growing from 1
   */
  protected constructor(
    private readonly backend: Backend,
    private readonly network: Pick<SequenceLayer, 'stateSpecs'>,
    private readonly sequences: number,
    private readonly lengths: readonly number[],
  ) {
    this.alone = newState(backend, network, sequences);
    this.paysRows = backend.name !== 'webgpu';
  }

  /** A pass over `streams` streams with up to `length` rows of each. */
  protected abstract newPass(streams: number, length: number, state: State): P;

  /**
   * Runs a pass with the next rows of these streams, and gives them what comes out; returns the rows done. The run is
   * enqueued before this returns.
   */
  protected abstract advance(pass: P, seats: readonly Seat<S>[]): Promise<number>;

  /** Live streams. */
  get size(): number {
    return this.streams.length;
  }

  /** Rows that wait for `step`, over all streams. */
  get due(): number {
    return this.streams.reduce((sum, s) => sum + s.due, 0);
  }

  /** Steps every row that is due now; resolves when its tracks can be taken. Returns the number of rows. */
  step(): Promise<number> {
    return this.inTurn(async () => {
      let stepped = 0;
      const depth = this.commonDepth();
      for (const stream of [...this.streams]) {
        while (stream.due > depth && stream.slot >= 0) stepped += await this.bringUp(stream);
      }
      for (;;) {
        const seats = this.streams.filter(({ due }) => due > 0).map((stream) => ({ stream, index: stream.slot }));
        if (seats.length === 0) return stepped;
        this.common ??= this.newPass(this.capacity, 1, this.state);
        stepped += await this.advance(this.common, seats);
      }
    });
  }

  /** Ends all streams and frees the memory; the model stays the caller's. */
  async close(): Promise<void> {
    await this.inTurn(async () => {
      for (const stream of [...this.streams]) this.remove(stream);
      for (const pass of this.catchUp.values()) pass.free();
      this.forgetCommon();
      this.catchUp.clear();
      freeState(this.backend, this.state);
      freeState(this.backend, this.alone);
      this.state = {};
      this.capacity = 0;
    });
  }

  /** Gives the stream a slot, with zeros or with what `tensorsOf` gave. */
  protected add(stream: S, tensors?: Readonly<Record<string, Float32Array>>): void {
    stream.slot = this.streams.length;
    if (stream.slot === this.capacity) this.resize(stream.slot + 1);
    for (const [name, t] of Object.entries(this.slotOf(this.state, stream.slot))) {
      if (tensors) this.backend.write(t, tensors[name]);
      else this.backend.kernels.fill(t, 0);
    }
    this.streams.push(stream);
  }

  /** The last stream moves into the free slot. */
  protected remove(stream: S): void {
    if (stream.slot < 0) return;
    const last = this.streams.pop()!;
    if (last !== stream) {
      this.copy(this.slotOf(this.state, stream.slot), this.slotOf(this.state, last.slot));
      last.slot = stream.slot;
      this.streams[last.slot] = last;
    }
    stream.slot = -1;
    const wanted = capacityFor(this.streams.length);
    if (2 * wanted < this.capacity) this.resize(wanted);
  }

  /**
   * What `kept` says of the stream after the steps asked for so far, with the network's state.
   *
   * @throws AdderError `ROWS_DUE` while rows wait for `step`, `SESSION_CLOSED`
   */
  protected save<T>(stream: S, kept: () => T): Promise<T & { tensors: Record<string, Float32Array> }> {
    return this.inTurn(async () => {
      if (stream.slot < 0) throw closed();
      if (stream.due > 0) {
        throw new AdderError({
          code: 'ROWS_DUE',
          message: `${stream.due} rows of this session wait for a step`,
          fix: 'call step() before save()',
        });
      }
      const value = kept();
      const reads = Object.entries(this.slotOf(this.state, stream.slot)).map(
        async ([key, t]) => [key, Float32Array.from(await this.backend.read(t))] as const,
      );
      return { ...value, tensors: Object.fromEntries(await Promise.all(reads)) };
    });
  }

  private inTurn<T>(body: () => Promise<T>): Promise<T> {
    const result = this.queue.then(body);
    this.queue = result.catch(() => undefined);
    return result;
  }

  /** Rows that all step together; whoever has more due is brought up alone before. */
  private commonDepth(): number {
    const crowd = this.paysRows ? CROWD * this.capacity : 1;
    let depth = 0;
    while (depth < TOGETHER && this.streams.filter(({ due }) => due > depth).length >= crowd) depth++;
    return depth;
  }

  private forgetCommon(): void {
    this.common?.free();
    this.common = undefined;
  }

  private async bringUp(stream: S): Promise<number> {
    const { lengths } = this;
    const longest = lengths[lengths.length - 1];
    const length = this.paysRows
      ? lengths.findLast((l) => l <= stream.due)!
      : (lengths.find((l) => l >= stream.due) ?? longest);
    let pass = this.catchUp.get(length);
    if (!pass) {
      pass = this.newPass(1, length, this.alone);
      this.catchUp.set(length, pass);
    }
    this.copy(this.alone, this.slotOf(this.state, stream.slot));
    const running = this.advance(pass, [{ stream, index: 0 }]);
    // Enqueued behind the pass, before anything can move the stream to another slot.
    this.copy(this.slotOf(this.state, stream.slot), this.alone);
    return running;
  }

  /** Another capacity; the states of all streams move along. */
  private resize(atLeast: number): void {
    const { backend, network } = this;
    const capacity = capacityFor(atLeast);
    const before = this.state;
    this.state = newState(backend, network, capacity * this.sequences);
    for (const { slot } of this.streams) this.copy(this.slotOf(this.state, slot), this.slotOf(before, slot));
    this.forgetCommon();
    if (this.capacity > 0) freeState(backend, before);
    this.capacity = capacity;
  }

  /** Views of one slot's states. */
  private slotOf(state: State, slot: number): State {
    return Object.fromEntries(
      Object.entries(state).map(([name, t]) => {
        const shape = [this.sequences, ...t.shape.slice(1)];
        return [name, { ...t, shape, offset: t.offset + slot * sizeOf(shape) } satisfies Tensor];
      }),
    );
  }

  private copy(to: State, from: State): void {
    for (const [name, t] of Object.entries(to)) this.backend.kernels.copy(t, from[name]);
  }
}

/**
 * Slots for so many streams: exact up to 2, then in steps of a sixteenth of the last power of two. An empty slot costs as much
 * as a full one, and every step is a pass to be recorded.
 */
export function capacityFor(streams: number): number {
  if (streams <= 2) return Math.max(1, streams);
  const grain = Math.max(2, 2 ** (Math.floor(Math.log2(streams - 1)) - 4));
  return Math.ceil(streams / grain) * grain;
}

/** Of a stream that was used after its end. */
export function closed(): AdderError {
  return new AdderError({ code: 'SESSION_CLOSED', message: 'this session was closed', fix: 'open another' });
}
