/** The two sides of a live session together: who is active, the turn outlook, and the ends of turns. */
import { type SpeechTracks, trackOf } from '../model/index.js';
import {
  Activity,
  type ActivityState,
  type Conversation,
  type EndOfTurnOptions,
  TURN_TRACKS,
  TurnDecider,
  type TurnDeciderState,
  type TurnEvent,
  type TurnListener,
  type TurnState,
  type TurnTracks,
} from '../turns/index.js';

export interface TurnEarState {
  conversation: TurnState;
  activity: [ActivityState, ActivityState];
  decider: TurnDeciderState;
}

const SHIFT = TURN_TRACKS.indexOf('shift');

export class TurnEar {
  /** What the last step brought. */
  tracks: TurnTracks = { first: 0, count: 0, values: new Float32Array() };
  /** Of the frames of `tracks`. */
  private active: [Uint8Array, Uint8Array] = [new Uint8Array(), new Uint8Array()];

  private constructor(
    private readonly conversation: Conversation,
    private readonly activity: [Activity, Activity],
    private readonly decider: TurnDecider,
  ) {}

  /** @throws AdderError `BAD_OPTION`; `BAD_STATE` of other weights */
  static open(listener: TurnListener, options: Partial<EndOfTurnOptions>, saved?: TurnEarState): TurnEar {
    if (!saved) {
      const decider = new TurnDecider(options);
      return new TurnEar(listener.open(), [new Activity(), new Activity()], decider);
    }
    const decider = TurnDecider.restore(saved.decider, options);
    const [a, b] = saved.activity;
    return new TurnEar(listener.open(saved.conversation), [Activity.restore(a), Activity.restore(b)], decider);
  }

  /** Takes the new tracks of both sides; their frames wait for a step of the turn model. */
  hear(a: SpeechTracks, b: SpeechTracks): void {
    this.active = [this.activity[0].push(trackOf(a, 'speech')), this.activity[1].push(trackOf(b, 'speech'))];
    this.conversation.push(...this.active);
  }

  /** After a step of the turn model. */
  takeTracks(): TurnTracks {
    this.tracks = this.conversation.take();
    return this.tracks;
  }

  /** The event of frame `i` of the tracks, if there is one. */
  decide(i: number): TurnEvent | undefined {
    const [a, b] = this.active;
    return this.decider.push(a[i], b[i], this.tracks.values[i * TURN_TRACKS.length + SHIFT]);
  }

  /** Other thresholds from the next frame on. */
  configure(options: Partial<EndOfTurnOptions>): void {
    this.decider.configure(options);
  }

  async save(): Promise<TurnEarState> {
    return {
      conversation: await this.conversation.save(),
      activity: [this.activity[0].snapshot(), this.activity[1].snapshot()],
      decider: this.decider.snapshot(),
    };
  }

  close(): void {
    this.conversation.close();
  }
}
