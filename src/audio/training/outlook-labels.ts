/** What a frame of a composed stream should make the speech network say, as one number a frame. */
import { type Example, HORIZONS } from '../data/example.js';
import { HAZARD_BINS } from '../hazard.js';
import { IGNORE } from '../metrics/transitions.js';
import { END_AT, EVENT_LOGITS, START_AT } from '../model/config.js';

/** Speech at a horizon: no, yes, not known. */
const SAID = 3;
const SPEECH_CODES = SAID ** HORIZONS.length;
/** Bin of the next change or bins survived, and whether the change was seen. */
const CHANGE_CODES = (HAZARD_BINS + 1) * 2;
export const LABEL_CODES: number = SPEECH_CODES * CHANGE_CODES;

/** Codes of all frames of an example. */
export function labelCodes({ frames, speech, changeBin, changed }: Example): Int32Array {
  const out = new Int32Array(frames);
  const H = HORIZONS.length;
  for (let t = 0; t < frames; t++) {
    let code = changeBin[t] * 2 + changed[t];
    for (let h = H - 1; h >= 0; h--) {
      const label = speech[t * H + h];
      code = code * SAID + (label === IGNORE ? 2 : label);
    }
    out[t] = code;
  }
  return out;
}

/** The label of one logit column in a frame of this code; undefined where it is not known or not in question. */
export function labelOf(code: number, column: number): 0 | 1 | undefined {
  const at = (h: number) => Math.floor(code / SAID ** h) % SAID;
  if (column < HORIZONS.length) {
    const label = at(column);
    return label === 2 ? undefined : (label as 0 | 1);
  }
  // The hazard of the end is asked of speech, that of the start of silence.
  const speaking = at(0) === 1;
  if (column < START_AT !== speaking) return undefined;
  const change = Math.floor(code / SPEECH_CODES);
  const [bin, seen] = [change >> 1, (change & 1) === 1];
  const k = column - (column < START_AT ? END_AT : START_AT);
  if (k < bin) return 0;
  return k === bin && seen ? 1 : undefined;
}

/** Parts of the loss by column, in order. */
export const LOSS_PARTS = ['now', 'ahead', 'end', 'start'] as const;
export type LossPart = (typeof LOSS_PARTS)[number];

export function partOf(column: number): LossPart {
  if (column === 0) return 'now';
  if (column < END_AT) return 'ahead';
  return column < START_AT ? 'end' : 'start';
}

export { EVENT_LOGITS };
