/** One channel of a live session: its stream in the speech model, and the events of it. */
import { EventDecider, type EventOptions, type EventState, type SpeechEvent } from '../events.js';
import {
  LEADS,
  type SpeechListener,
  type SpeechSession,
  type SpeechState,
  type SpeechTracks,
  TRACKS,
} from '../model/index.js';

export interface SideState {
  speech: SpeechState;
  events: EventState;
}

const SPEECH = TRACKS.indexOf('speech');
const ENDS = LEADS.map((lead) => [lead, TRACKS.indexOf(`end_${lead}`)] as const);

export class Side {
  /** What the last step brought. */
  tracks: SpeechTracks = { first: 0, count: 0, values: new Float32Array() };

  /** Filled anew for each row: one object for every hop of every session would be a lot to collect. */
  private readonly frame = { speech: 0, end: {} as Record<number, number> };

  private constructor(
    private readonly speech: SpeechSession,
    private decider: EventDecider,
  ) {}

  /** @throws AdderError `BAD_OPTION`; `BAD_STATE` of other weights */
  static open(listener: SpeechListener, options: Partial<EventOptions>, saved?: SideState): Side {
    // Thresholds that do not fit together must not leave an open stream behind.
    const decider = saved ? EventDecider.restore(saved.events, options) : new EventDecider(options);
    return new Side(listener.open(saved?.speech), decider);
  }

  /** Rows heard, and rows that wait for a step. */
  get rows(): number {
    return this.speech.rows;
  }

  get due(): number {
    return this.speech.due;
  }

  get speaking(): boolean {
    return this.decider.isSpeaking;
  }

  hear(samples: Float32Array): void {
    this.speech.push(samples);
  }

  /** After a step. */
  takeTracks(): SpeechTracks {
    this.tracks = this.speech.take();
    return this.tracks;
  }

  /** Events of row `i` of the tracks. */
  decide(i: number): SpeechEvent[] {
    const { values } = this.tracks;
    const from = i * TRACKS.length;
    const { frame } = this;
    frame.speech = values[from + SPEECH];
    for (const [lead, column] of ENDS) frame.end[lead] = values[from + column];
    return this.decider.push(frame);
  }

  /** At the end of the stream. */
  finish(): SpeechEvent[] {
    return this.decider.finish();
  }

  /** Other thresholds from the next row on. */
  configure(options: Partial<EventOptions>): void {
    this.decider = EventDecider.restore(this.decider.snapshot(), options);
  }

  async save(): Promise<SideState> {
    return { speech: await this.speech.save(), events: this.decider.snapshot() };
  }

  close(): void {
    this.speech.close();
  }
}
