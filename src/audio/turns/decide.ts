/** When to take the turn: the last step of a voice agent, and the trade between waiting and interrupting. */
import { AdderError } from '../../platform/errors.js';

export interface EndOfTurnOptions {
  /** Probability of a shift at which the turn counts as over. Higher interrupts less and waits longer. */
  threshold: number;
  /** Milliseconds of silence before any decision. */
  delayMs: number;
  /** Milliseconds of silence after which the turn is over whatever the probability. */
  timeoutMs: number;
}

export const DEFAULT_END_OF_TURN: EndOfTurnOptions = { threshold: 0.5, delayMs: 200, timeoutMs: 1500 };

const FRAME_MS = 20;

export interface EndOfTurnState {
  /** Milliseconds of silence so far. */
  silence: number;
  decided: boolean;
}

/** Decides once in every silence of both sides, causally. */
export class EndOfTurn {
  readonly options: EndOfTurnOptions;
  private silence = 0;
  private decided = false;

  /** @throws AdderError `BAD_OPTION` for a threshold outside 0 … 1 or a timeout before the delay */
  constructor(options: Partial<EndOfTurnOptions> = {}) {
    this.options = { ...DEFAULT_END_OF_TURN, ...options };
    const { threshold, delayMs, timeoutMs } = this.options;
    if (!(threshold >= 0 && threshold <= 1 && delayMs >= 0 && timeoutMs >= delayMs && Number.isFinite(timeoutMs))) {
      throw new AdderError({
        code: 'BAD_OPTION',
        message: 'a decision needs a threshold between 0 and 1 and 0 ≤ delay ≤ timeout',
        fix: 'correct threshold, delayMs and timeoutMs',
      });
    }
  }

  /** Takes the shift of the next frame, NaN while somebody talks; the milliseconds of silence if the turn is over now. */
  push(shift: number): number | undefined {
    if (Number.isNaN(shift)) {
      this.silence = 0;
      this.decided = false;
      return undefined;
    }
    this.silence += FRAME_MS;
    const { threshold, delayMs, timeoutMs } = this.options;
    if (this.decided || this.silence < delayMs) return undefined;
    if (shift < threshold && this.silence < timeoutMs) return undefined;
    this.decided = true;
    return this.silence;
  }

  snapshot(): EndOfTurnState {
    const { silence, decided } = this;
    return { silence, decided };
  }

  static restore({ silence, decided }: EndOfTurnState, options: Partial<EndOfTurnOptions> = {}): EndOfTurn {
    const decider = new EndOfTurn(options);
    decider.silence = silence;
    decider.decided = decided;
    return decider;
  }
}
