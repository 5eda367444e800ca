/** What a session tells its client, as JSON has it. */
import { asRequestError } from '../../http/problem.js';
import { SAMPLE_RATE } from '../decode/index.js';
import { EventDecider } from '../events.js';
import { HOP } from '../features/index.js';
import type { SessionOutput } from '../hearing/protocol.js';
import { TRACKS } from '../model/index.js';
import { rounded } from '../outlook/outlook.js';
import { EndOfTurn, SIDES, TURN_HOP, TURN_TRACKS } from '../turns/index.js';
import type { SessionProgress } from './progress.js';

/** Columns of a row by name. */
const named = (names: readonly string[], values: Float32Array, row: number) =>
  Object.fromEntries(names.map((name, c) => [name, rounded(values[row * names.length + c])]));

/** The newest hop. @param turn the newest row of turn tracks */
export function interim({ sides, count }: SessionOutput, rows: number, turn: Float32Array | undefined): object {
  const [first, ...others] = sides.map(({ values, speaking }) => ({ speaking, ...named(TRACKS, values, count - 1) }));
  const head = { type: 'interim', sample: rows * HOP };
  if (others.length === 0) return { ...head, ...first };
  const turns = turn ? { turns: named(TURN_TRACKS, turn, 0) } : {};
  return { ...head, [SIDES[0]]: first, [SIDES[1]]: others[0], ...turns };
}

/** The thresholds that hold, all of them. */
export function thresholds({ options }: SessionProgress): object {
  return {
    events: new EventDecider(options.events).options,
    ...(options.turns ? { turns: new EndOfTurn(options.turns).options } : {}),
  };
}

export function summary(id: string, progress: SessionProgress, droppedRows: number): object {
  const { received, rows, counts, speech, repaired } = progress;
  const seconds = speech.map(({ samples }) => samples / SAMPLE_RATE);
  return {
    type: 'summary',
    session: id,
    received,
    rows,
    sample: rows * HOP,
    seconds: (rows * HOP) / SAMPLE_RATE,
    speechSeconds: speech.length === 1 ? seconds[0] : Object.fromEntries(SIDES.map((side, s) => [side, seconds[s]])),
    events: counts,
    repaired,
    droppedRows,
  };
}

/** Of a session with a turn outlook, for `begin`. */
export const turnsAt = (model: string | undefined, progress: SessionProgress) =>
  progress.options.turns
    ? {
        sides: SIDES,
        turns: { model, tracks: TURN_TRACKS, hop: TURN_HOP, ...new EndOfTurn(progress.options.turns).options },
      }
    : {};

export function problem(thrown: Error): object {
  const { code, message, fix, where } = asRequestError(thrown);
  return {
    type: 'error',
    code,
    message,
    ...(where?.field === undefined ? {} : { field: where.field }),
    ...(fix === undefined ? {} : { fix }),
  };
}
