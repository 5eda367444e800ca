/** What a frame of a call should make the turn network say, as one number a frame. */
import { type Call, callActivity } from '../data/turns.js';
import { backchannelLabels, silenceEvents, vapLabels } from '../data/vap.js';
import { IGNORE } from '../metrics/transitions.js';
import { BACKCHANNEL_AT, NEXT_AT } from '../turns/config.js';

/** Every label is no, yes or not known; the first has the lowest place. */
const SAID = 3;
const COLUMNS = NEXT_AT + 1;
export const TURN_CODES: number = SAID ** COLUMNS;

/** Frames into a silence from which on it is asked who comes next. */
const ASK_FROM = 5;

export interface LabelledCall {
  activity: [Uint8Array, Uint8Array];
  codes: Int32Array;
}

/** Activity and label codes of a call. Who comes next is asked in the silences of `silenceEvents`, from 0.1 s in. */
export function labelledCall(call: Call): LabelledCall {
  const activity = callActivity(call);
  const frames = activity[0].length;
  const projection = vapLabels(activity);
  const backchannels = backchannelLabels(call, frames);
  const next = new Uint8Array(frames).fill(IGNORE);
  for (const { start, end, before, kind } of silenceEvents(activity)) {
    next.fill((kind === 'shift') === (before === 0) ? 1 : 0, start + ASK_FROM - 1, end);
  }
  const codes = new Int32Array(frames);
  for (let t = 0; t < frames; t++) {
    let code = digit(next[t]);
    for (let s = 1; s >= 0; s--) code = code * SAID + digit(backchannels[t * 2 + s]);
    for (let k = BACKCHANNEL_AT - 1; k >= 0; k--) code = code * SAID + digit(projection[t * BACKCHANNEL_AT + k]);
    codes[t] = code;
  }
  return { activity, codes };
}

const digit = (label: number): number => (label === IGNORE ? 2 : label);

/** The label of one logit column in a frame of this code; undefined where it is not known or not in question. */
export function turnLabelOf(code: number, column: number): 0 | 1 | undefined {
  const label = Math.floor(code / SAID ** column) % SAID;
  return label === 2 ? undefined : (label as 0 | 1);
}

/** The same frame with the sides' names exchanged. */
export function swappedCode(code: number): number {
  const at = (column: number) => Math.floor(code / SAID ** column) % SAID;
  const next = at(NEXT_AT);
  let out = next === 2 ? 2 : 1 - next;
  for (const s of [0, 1]) out = out * SAID + at(BACKCHANNEL_AT + s);
  for (const s of [0, 1]) for (let k = 3; k >= 0; k--) out = out * SAID + at(s * 4 + k);
  return out;
}
