/** From activity and the turn outlook to `end_of_turn` events, frame by frame. */
import { EndOfTurn, type EndOfTurnOptions, type EndOfTurnState } from './decide.js';
import { TURN_TRACKS, type TurnTracks } from './tracks.js';

/** The two sides of a conversation: the first and the second channel. */
export const SIDES = ['a', 'b'] as const;
export type SideName = (typeof SIDES)[number];

/** Samples of a frame of 20 ms at 16 kHz. */
export const TURN_HOP = 320;

/** The turn of a side counts as over. Times are samples at 16 kHz from the start of the stream. */
export interface TurnEvent {
  type: 'end_of_turn';
  /** Who spoke last. */
  side: SideName;
  /** End of the frame at which this was decided. */
  sample: number;
  /** Where the silence began. */
  at: number;
  /** P(the other side is the next to speak). */
  probability: number;
  /** Milliseconds of silence before the decision. */
  waited: number;
}

export interface TurnDeciderState {
  frame: number;
  last: 0 | 1 | null;
  end: EndOfTurnState;
}

const SHIFT = TURN_TRACKS.indexOf('shift');

export class TurnDecider {
  private end: EndOfTurn;
  private frame = 0;
  private last: 0 | 1 | undefined;

  /** @throws AdderError `BAD_OPTION` */
  constructor(options: Partial<EndOfTurnOptions> = {}) {
    this.end = new EndOfTurn(options);
  }

  /** Takes the next frame: who is active, and its `shift`. */
  push(a: number, b: number, shift: number): TurnEvent | undefined {
    if (Boolean(a) !== Boolean(b)) this.last = a ? 0 : 1;
    const sample = ++this.frame * TURN_HOP;
    const waited = this.end.push(shift);
    if (waited === undefined || this.last === undefined) return undefined;
    return {
      type: 'end_of_turn',
      side: SIDES[this.last],
      sample,
      at: sample - waited * 16,
      probability: shift,
      waited,
    };
  }

  /** Other thresholds from the next frame on. */
  configure(options: Partial<EndOfTurnOptions>): void {
    this.end = EndOfTurn.restore(this.end.snapshot(), options);
  }

  snapshot(): TurnDeciderState {
    return { frame: this.frame, last: this.last ?? null, end: this.end.snapshot() };
  }

  static restore({ frame, last, end }: TurnDeciderState, options: Partial<EndOfTurnOptions> = {}): TurnDecider {
    const decider = new TurnDecider();
    decider.end = EndOfTurn.restore(end, options);
    decider.frame = frame;
    decider.last = last ?? undefined;
    return decider;
  }
}

/** Events of a whole conversation. @throws AdderError `BAD_OPTION` */
export function turnEventsOf(
  activity: readonly [ArrayLike<number>, ArrayLike<number>],
  { count, values }: TurnTracks,
  options: Partial<EndOfTurnOptions> = {},
): TurnEvent[] {
  const decider = new TurnDecider(options);
  const out: TurnEvent[] = [];
  for (let t = 0; t < count; t++) {
    const event = decider.push(activity[0][t], activity[1][t], values[t * TURN_TRACKS.length + SHIFT]);
    if (event) out.push(event);
  }
  return out;
}
