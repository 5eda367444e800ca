/**
 * From probability tracks to events, causally: the last step of every live session and of every clip.
 *
 * Speech starts when its probability has stayed at or above `startThreshold` for `startMs`, and ends when it has stayed
 * below `endThreshold` for `endMs`; the distance of the two thresholds keeps one noisy frame from making two events.
 * While somebody speaks, an end is predicted when the probability that speech ends within a lead reaches its threshold.
 */
import { AdderError } from '../platform/errors.js';

/** Samples of a frame at 16 kHz. */
const HOP = 160;
const HOP_MS = 10;

export interface EventOptions {
  /** Probability of speech at which it starts, and below which it ends. */
  startThreshold: number;
  endThreshold: number;
  /** Milliseconds that the probability must stay there: at least one frame of 10. */
  startMs: number;
  endMs: number;
  /** Speech shorter than this, from its first frame, does not predict its end. */
  predictAfterMs: number;
  /** Probability at which an end is predicted, for each lead; leads without one are silent. */
  predictThreshold: Partial<Record<number, number>>;
  /** A lead predicts again only after its probability has fallen under this share of its threshold. */
  rearm: number;
}

export const DEFAULT_EVENTS: EventOptions = {
  startThreshold: 0.5,
  endThreshold: 0.35,
  startMs: 30,
  endMs: 60,
  predictAfterMs: 200,
  predictThreshold: { 100: 0.6, 200: 0.6, 500: 0.7 },
  rearm: 0.6,
};

/** What one frame says. */
export interface EventFrame {
  /** Probability of speech now. */
  speech: number;
  /** Probability that speech ends within the lead, by lead in milliseconds. */
  end?: Readonly<Partial<Record<number, number>>>;
}

/** Times are samples at 16 kHz from the start of the stream. */
export interface SpeechEvent {
  type: 'speech_start' | 'speech_end' | 'end_predicted';
  /** End of the frame at which this became known. */
  sample: number;
  /** Where the change lies: the first sample of the stretch that decided it; for a prediction, `sample` + lead. */
  at: number;
  probability: number;
  /** Milliseconds, of `end_predicted` only. */
  lead?: number;
}

export interface EventState {
  frame: number;
  speaking: boolean;
  run: number;
  startedAt: number;
  fired: number[];
}

export class EventDecider {
  readonly options: EventOptions;
  private readonly leads: { lead: number; threshold: number }[];
  private frame = 0;
  private speaking = false;
  /** Frames in a row that speak for a change. */
  private run = 0;
  private startedAt = 0;
  private fired = new Set<number>();

  /** Throws BAD_OPTION for thresholds outside 0 … 1, an end above the start, or times that are not positive. */
  constructor(options: Partial<EventOptions> = {}) {
    this.options = { ...DEFAULT_EVENTS, ...options };
    const { startThreshold, endThreshold, startMs, endMs, predictAfterMs, predictThreshold, rearm } = this.options;
    const share = (v: number) => v >= 0 && v <= 1;
    check(share(startThreshold) && share(endThreshold), 'thresholds must lie between 0 and 1');
    check(endThreshold <= startThreshold, 'endThreshold must not exceed startThreshold');
    check(startMs >= 0 && endMs >= 0 && predictAfterMs >= 0, 'times must not be negative');
    check(Number.isFinite(startMs + endMs + predictAfterMs), 'times must be finite');
    check(share(rearm), 'rearm must lie between 0 and 1');
    this.leads = Object.entries(predictThreshold)
      .filter((entry): entry is [string, number] => entry[1] !== undefined)
      .map(([lead, threshold]) => ({ lead: Number(lead), threshold }))
      .sort((a, b) => b.lead - a.lead);
    check(
      this.leads.every((l) => l.lead > 0 && share(l.threshold)),
      'predictThreshold maps leads in ms to thresholds between 0 and 1',
    );
  }

  /** Events that the next frame of 10 ms brings, in order. A probability that is not a number counts as "as before". */
  push(frame: EventFrame): SpeechEvent[] {
    const out: SpeechEvent[] = [];
    const { startThreshold, endThreshold, startMs, endMs } = this.options;
    const { speech } = frame;
    const sample = (this.frame + 1) * HOP;
    const against = this.speaking ? speech < endThreshold : speech >= startThreshold;
    this.run = against ? this.run + 1 : 0;
    const needed = Math.max(1, Math.round((this.speaking ? endMs : startMs) / HOP_MS));
    if (this.run >= needed) {
      const first = (this.frame + 1 - this.run) * HOP;
      out.push({ type: this.speaking ? 'speech_end' : 'speech_start', sample, at: first, probability: speech });
      this.speaking = !this.speaking;
      this.startedAt = this.frame + 1 - this.run;
      this.run = 0;
      this.fired.clear();
    } else if (this.speaking && frame.end) this.predict(frame.end, sample, out);
    this.frame++;
    return out;
  }

  /** At the end of the stream: closes speech that is still going on. */
  finish(): SpeechEvent[] {
    if (!this.speaking) return [];
    this.speaking = false;
    const sample = this.frame * HOP;
    // A silence that was too short to count is the end after all.
    return [{ type: 'speech_end', sample, at: (this.frame - this.run) * HOP, probability: 0 }];
  }

  get isSpeaking(): boolean {
    return this.speaking;
  }

  snapshot(): EventState {
    const { frame, speaking, run, startedAt } = this;
    return { frame, speaking, run, startedAt, fired: [...this.fired] };
  }

  static restore(state: EventState, options: Partial<EventOptions> = {}): EventDecider {
    const decider = new EventDecider(options);
    decider.frame = state.frame;
    decider.speaking = state.speaking;
    decider.run = state.run;
    decider.startedAt = state.startedAt;
    decider.fired = new Set(state.fired);
    return decider;
  }

  /** One event a lead for each approach of the end: a lead stays silent until its probability has fallen back. */
  private predict(end: NonNullable<EventFrame['end']>, sample: number, out: SpeechEvent[]): void {
    const early = (this.frame + 1 - this.startedAt) * HOP_MS < this.options.predictAfterMs;
    for (const { lead, threshold } of this.leads) {
      const probability = end[lead];
      if (probability === undefined || Number.isNaN(probability)) continue;
      if (this.fired.has(lead)) {
        if (probability < threshold * this.options.rearm) this.fired.delete(lead);
      } else if (probability >= threshold && !early) {
        this.fired.add(lead);
        out.push({ type: 'end_predicted', sample, at: sample + lead * 16, probability, lead });
      }
    }
  }
}

function check(ok: boolean, message: string): void {
  if (!ok) throw new AdderError({ code: 'BAD_OPTION', message });
}

/** Events of whole tracks; `end` maps leads in ms to tracks of the same length as `speech`. */
export function decideAll(
  speech: ArrayLike<number>,
  end: Readonly<Partial<Record<number, ArrayLike<number>>>> = {},
  options: Partial<EventOptions> = {},
): SpeechEvent[] {
  const decider = new EventDecider(options);
  const leads = Object.keys(end).map(Number);
  const out: SpeechEvent[] = [];
  for (let t = 0; t < speech.length; t++) {
    const row: Partial<Record<number, number>> = {};
    for (const lead of leads) row[lead] = end[lead]![t];
    out.push(...decider.push({ speech: speech[t], end: row }));
  }
  return [...out, ...decider.finish()];
}
