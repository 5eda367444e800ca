/** One live session inside the listening process: bytes of the client in, rows of tracks and events out. */
import { deserialize, serialize } from 'node:v8';
import { AdderError, toAdderError } from '../../platform/errors.js';
import type { LiveDecoderState } from '../decode/index.js';
import type { SpeechEvent } from '../events.js';
import type { SpeechListener } from '../model/index.js';
import { SIDES, type TurnListener } from '../turns/index.js';
import type { AudioFormat, HeardEvent, SessionItem, SessionOptions, SessionOutput } from './protocol.js';
import { Side, type SideState } from './side.js';
import { openSource, type Source } from './source.js';
import { TurnEar, type TurnEarState } from './turn-ear.js';
import { needTwoChannels } from './two-channels.js';

/** All of a session between two connections. An Opus decoder starts anew: its memory of the last packet fades in some 10 ms. */
interface SavedSession {
  version: 2;
  format: AudioFormat;
  decoder: LiveDecoderState | undefined;
  sides: SideState[];
  turns: TurnEarState | undefined;
  options: SessionOptions;
}

/** What sessions step on. The turn model is loaded when it is first needed. */
export interface Listeners {
  speech: SpeechListener;
  turns(): Promise<TurnListener>;
}

export class HearingSession {
  /** Thresholds that apply from a row on: rows that came before them are decided by the ones before. */
  private readonly changes: { row: number; options: SessionOptions }[] = [];
  private readonly errors: AdderError[] = [];
  private readonly marks: number[] = [];
  private finished = false;

  private constructor(
    readonly format: AudioFormat,
    private readonly source: Source,
    private readonly sides: readonly Side[],
    private readonly ear: TurnEar | undefined,
    private options: SessionOptions,
  ) {}

  /** @throws AdderError `BAD_SAMPLE_RATE`, `BAD_CHANNELS`, `BAD_OPTION`; `BAD_STATE` of other weights */
  static async open(
    listeners: Listeners,
    asked: { format: AudioFormat; options: SessionOptions },
    bytes?: Uint8Array,
  ): Promise<HearingSession> {
    const saved = bytes && (deserialize(bytes) as SavedSession);
    if (saved && saved.version !== 2) {
      throw new AdderError({ code: 'BAD_STATE', message: 'this session was kept by another version of Adder' });
    }
    const { format, options } = saved ?? asked;
    if (options.turns) needTwoChannels(format.channels, 'channels', 'say channels=2');
    const source = await openSource(format, options.turns ? 'separate' : 'mix', saved?.decoder);
    const turns = options.turns && (await listeners.turns());
    const opened: { close(): void }[] = [source];
    const keep = <T extends { close(): void }>(part: T): T => {
      opened.push(part);
      return part;
    };
    try {
      const names = options.turns ? SIDES : SIDES.slice(0, 1);
      const sides = names.map((_, s) => keep(Side.open(listeners.speech, options.events, saved?.sides[s])));
      const ear = turns && keep(TurnEar.open(turns, options.turns!, saved?.turns));
      return new HearingSession(format, source, sides, ear, options);
    } catch (error) {
      for (const part of opened) part.close();
      throw error;
    }
  }

  /** Takes an item; its rows are due at the listener's next step. What is wrong with it is told by `take`. */
  push(item: SessionItem): void {
    try {
      switch (item.kind) {
        case 'audio':
          this.hear(this.source.push(item.bytes));
          return;
        case 'configure':
          this.changes.push({ row: this.sides[0].rows + this.sides[0].due, options: item.options });
          return;
        case 'mark':
          this.marks.push(item.mark);
          return;
        case 'finish':
          this.hear(this.source.finish());
          this.finished = true;
      }
    } catch (error) {
      this.errors.push(toAdderError(error));
    }
  }

  /** After a step of the speech model; what it brought is due at the turn model's next step. */
  stepped(): void {
    const [a, b] = this.sides.map((side) => side.takeTracks());
    this.ear?.hear(a, b);
  }

  /** What the last steps brought. */
  take(session: number): SessionOutput {
    const { sides, ear } = this;
    const { first, count } = sides[0].tracks;
    const turns = ear?.takeTracks();
    const events: HeardEvent[] = [];
    let frame = 0;
    for (let i = 0; i < count; i++) {
      this.change(first + i);
      for (let s = 0; s < sides.length; s++) this.collect(events, sides[s].decide(i), s);
      // A frame of the turn model is two hops.
      const turn = (first + i) % 2 === 1 ? ear?.decide(frame++) : undefined;
      if (turn) events.push(turn);
    }
    this.change(first + count);
    if (this.finished) for (const [s, side] of sides.entries()) this.collect(events, side.finish(), s);
    return {
      session,
      first,
      count,
      sides: sides.map(({ tracks, speaking }) => ({ values: tracks.values, speaking })),
      ...(turns ? { turns } : {}),
      events,
      marks: this.marks.splice(0),
      repaired: this.source.repaired,
      errors: this.errors.splice(0).map((error) => error.toJSON()),
    };
  }

  /** Nothing may be due. */
  async save(): Promise<Uint8Array> {
    const saved: SavedSession = {
      version: 2,
      format: this.format,
      decoder: this.source.snapshot(),
      sides: await Promise.all(this.sides.map((side) => side.save())),
      turns: await this.ear?.save(),
      options: this.options,
    };
    return serialize(saved);
  }

  close(): void {
    for (const side of this.sides) side.close();
    this.ear?.close();
    this.source.close();
  }

  private hear(channels: Float32Array[]): void {
    if (channels.length === 0 || channels[0].length === 0) return;
    for (const [s, side] of this.sides.entries()) side.hear(channels[s]);
  }

  /** Sides are named where there are two. */
  private collect(events: HeardEvent[], told: readonly SpeechEvent[], side: number): void {
    for (const event of told) events.push(this.ear ? { ...event, side: SIDES[side] } : event);
  }

  private change(row: number): void {
    while (this.changes[0] && this.changes[0].row <= row) {
      this.options = this.changes.shift()!.options;
      for (const side of this.sides) side.configure(this.options.events);
      if (this.options.turns) this.ear?.configure(this.options.turns);
    }
  }
}
