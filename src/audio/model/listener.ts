/** Many live streams of sound on one speech model: samples in at any pace, rows of tracks out after each step. */
import type { State } from '../../engine/layers/layer.js';
import { AdderError } from '../../platform/errors.js';
import { type ExtractorState, FEATURES, FeatureExtractor } from '../features/index.js';
import type { SpeechModel } from './model.js';
import { Pass } from './pass.js';
import { RowQueue, TrackRows } from './row-queue.js';
import { type Pending, rowsToTracks } from './rows.js';
import { closed, type Seat, type Slotted, SlottedStreams } from './slotted-streams.js';
import { type SpeechTracks, TRACKS } from './tracks.js';

/** Lengths of the passes that bring up one session. */
const CATCH_UP = [1, 2, 4, 8, 16, 32, 64, 128, 256];

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

class Session implements SpeechSession, Slotted {
  slot = -1;
  readonly extractor: FeatureExtractor;
  readonly waiting = new RowQueue(FEATURES);
  readonly out: TrackRows;
  pending: Pending | undefined;

  constructor(
    private readonly owner: SpeechListener,
    saved: SpeechState | undefined,
  ) {
    this.extractor = saved ? FeatureExtractor.restore(saved.extractor) : new FeatureExtractor();
    this.out = new TrackRows(TRACKS.length, saved?.rows);
    this.pending = saved?.pending ?? undefined;
  }

  get due(): number {
    return this.waiting.length;
  }

  get rows(): number {
    return this.out.rows;
  }

  push(samples: ArrayLike<number>): number {
    if (this.slot < 0) throw closed();
    const { count, features } = this.extractor.push(samples);
    this.waiting.push(features, count);
    return count;
  }

  take(): SpeechTracks {
    return this.out.take();
  }

  save(): Promise<SpeechState> {
    return this.owner.saveSession(this);
  }

  close(): void {
    this.owner.closeSession(this);
  }
}

export class SpeechListener extends SlottedStreams<Session, Pass> {
  constructor(readonly model: SpeechModel) {
    super(model.backend, model.network, 1, CATCH_UP);
  }

  /**
   * A new stream, or one that goes on from a saved state.
   *
   * @throws AdderError `BAD_STATE` if the state belongs to other weights
   */
  open(saved?: SpeechState): SpeechSession {
    if (saved && (saved.format !== 'adder-speech-1' || saved.digest !== this.model.digest)) {
      throw new AdderError({
        code: 'BAD_STATE',
        message: `this session state belongs to other weights (${saved.model})`,
        fix: 'continue it with the model it was made by, or start a new session',
      });
    }
    const session = new Session(this, saved);
    this.add(session, saved?.tensors);
    return session;
  }

  /** @internal */
  saveSession(session: Session): Promise<SpeechState> {
    const { name, digest } = this.model;
    return this.save(session, () => ({
      format: 'adder-speech-1',
      model: name,
      digest,
      rows: session.rows,
      extractor: session.extractor.snapshot(),
      pending: session.pending ?? null,
    }));
  }

  /** @internal */
  closeSession(session: Session): void {
    this.remove(session);
  }

  protected override newPass(sessions: number, length: number, state: State): Pass {
    return new Pass(this.model, sessions, length, state);
  }

  protected override async advance(pass: Pass, seats: readonly Seat<Session>[]): Promise<number> {
    const { length, features, lengths } = pass;
    lengths.fill(0);
    let done = 0;
    for (const { stream, index } of seats) {
      const count = stream.waiting.shift(length, features, index * length * FEATURES);
      lengths[index] = count;
      done += count;
    }
    const output = await pass.run();
    // A session may have left its slot while the pass ran: where its rows lie is known by the index alone.
    for (const { stream, index } of seats) {
      const at = { index, length, count: lengths[index] };
      const { values, pending } = rowsToTracks(this.model, output, features, at, stream.pending);
      stream.pending = pending;
      stream.out.add(values, at.count);
    }
    return done;
  }
}
