/** One live session inside the listening process: bytes of the client in, rows of tracks and events out. */
import { deserialize, serialize } from 'node:v8';
import { AdderError, toAdderError } from '../../platform/errors.js';
import { Converter, LiveDecoder, type LiveDecoderState, OpusPacketDecoder } from '../decode/index.js';
import { EventDecider, type EventOptions, type EventState, type SpeechEvent } from '../events.js';
import { frameAt, LEADS, type SpeechListener, type SpeechSession, type SpeechState } from '../model/index.js';
import type { AudioFormat, SessionItem, SessionOutput } from './protocol.js';

/** All of a session between two connections. An Opus decoder starts anew: its memory of the last packet fades in some 10 ms. */
interface SavedSession {
  version: 1;
  format: AudioFormat;
  decoder: LiveDecoderState | undefined;
  speech: SpeechState;
  events: EventState;
  options: Partial<EventOptions>;
}

/** Samples at 16 kHz out of the client's bytes. */
interface Source {
  push(bytes: Uint8Array): ArrayLike<number> | undefined;
  finish(): ArrayLike<number> | undefined;
  snapshot(): LiveDecoderState | undefined;
  readonly repaired: number;
  close(): void;
}

export class HearingSession {
  /** Thresholds that apply from a row on: rows that came before them are decided by the ones before. */
  private readonly changes: { row: number; options: Partial<EventOptions> }[] = [];
  private errors: AdderError[] = [];
  private marks: number[] = [];
  private finished = false;

  private constructor(
    readonly format: AudioFormat,
    private readonly source: Source,
    private readonly speech: SpeechSession,
    private decider: EventDecider,
    private options: Partial<EventOptions>,
  ) {}

  /** @throws AdderError `BAD_SAMPLE_RATE`, `BAD_CHANNELS`, `BAD_OPTION`; `BAD_STATE` of other weights */
  static async open(
    listener: SpeechListener,
    format: AudioFormat,
    options: Partial<EventOptions>,
    bytes?: Uint8Array,
  ): Promise<HearingSession> {
    if (!bytes) {
      const decider = new EventDecider(options);
      return new HearingSession(format, await openSource(format), listener.open(), decider, options);
    }
    const saved = deserialize(bytes) as SavedSession;
    if (saved.version !== 1) {
      throw new AdderError({ code: 'BAD_STATE', message: 'this session was kept by another version of Adder' });
    }
    const source = await openSource(saved.format, saved.decoder);
    const speech = listener.open(saved.speech);
    const decider = EventDecider.restore(saved.events, saved.options);
    return new HearingSession(saved.format, source, speech, decider, saved.options);
  }

  get rows(): number {
    return this.speech.rows;
  }

  get speaking(): boolean {
    return this.decider.isSpeaking;
  }

  /** Takes an item; its rows are due at the listener's next step. What is wrong with it is told by `take`. */
  push(item: SessionItem): void {
    try {
      switch (item.kind) {
        case 'audio':
          this.hear(this.source.push(item.bytes));
          return;
        case 'configure':
          this.changes.push({ row: this.speech.rows + this.speech.due, options: item.events });
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

  /** What the last step brought. */
  take(session: number): SessionOutput {
    const tracks = this.speech.take();
    const { first, count, values } = tracks;
    const events: SpeechEvent[] = [];
    for (let i = 0; i < count; i++) {
      this.change(first + i);
      const frame = frameAt(tracks, i);
      const end = Object.fromEntries(LEADS.map((lead) => [lead, frame[`end_${lead}`]]));
      events.push(...this.decider.push({ speech: frame.speech, end }));
    }
    this.change(first + count);
    if (this.finished) events.push(...this.decider.finish());
    const errors = this.errors.map((error) => error.toJSON());
    this.errors = [];
    const marks = this.marks.splice(0);
    const { repaired } = this.source;
    return { session, first, count, values, events, speaking: this.speaking, marks, repaired, errors };
  }

  /** Nothing may be due. */
  async save(): Promise<Uint8Array> {
    const saved: SavedSession = {
      version: 1,
      format: this.format,
      decoder: this.source.snapshot(),
      speech: await this.speech.save(),
      events: this.decider.snapshot(),
      options: this.options,
    };
    return serialize(saved);
  }

  close(): void {
    this.speech.close();
    this.source.close();
  }

  private hear(samples: ArrayLike<number> | undefined): void {
    if (samples && samples.length > 0) this.speech.push(samples);
  }

  private change(row: number): void {
    while (this.changes[0] && this.changes[0].row <= row) {
      this.options = this.changes.shift()!.options;
      this.decider = EventDecider.restore(this.decider.snapshot(), this.options);
    }
  }
}

async function openSource(format: AudioFormat, state?: LiveDecoderState): Promise<Source> {
  const { encoding, sampleRate, channels } = format;
  if (encoding !== 'opus') {
    const decoder = state ? LiveDecoder.restore(state) : new LiveDecoder({ encoding, sampleRate, channels });
    return {
      push: (bytes) => decoder.push(bytes)[0],
      finish: () => decoder.finish()[0],
      snapshot: () => decoder.snapshot(),
      get repaired() {
        return decoder.repaired;
      },
      close: () => decoder.close(),
    };
  }
  if (channels !== 1 && channels !== 2) {
    throw new AdderError({
      code: 'BAD_CHANNELS',
      message: `Opus packets have one or two channels, not ${channels}`,
      where: { field: 'channels' },
      fix: 'say channels=1 or channels=2',
    });
  }
  const decoder = await OpusPacketDecoder.open(channels);
  const converter = new Converter('mix');
  return {
    push: (bytes) => converter.push(decoder.packet(bytes))[0],
    finish: () => undefined,
    snapshot: () => undefined,
    repaired: 0,
    close: () => {
      decoder.close();
      converter.close();
    },
  };
}
