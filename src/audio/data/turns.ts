/** Two-sided talk as timings: reading calls, their activity at 50 Hz, and the statistics of gaps and overlaps. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { AdderError, toAdderError } from '../../platform/errors.js';

/** Frames a second of turn models. */
export const TURN_RATE = 50;

/** One stretch of talk of one side. */
export interface Talk {
  /** Milliseconds. */
  from: number;
  to: number;
  words: number;
  /** How many of the words are back-channels (yeah, uh-huh). */
  backchannelWords: number;
}

export interface Call {
  id: string;
  durationMs: number;
  sides: [Talk[], Talk[]];
}

/** A talk whose words are all back-channels. */
export function isBackchannel(talk: Talk): boolean {
  return talk.words > 0 && talk.backchannelWords === talk.words;
}

/** Calls of a gzipped file with one JSON object a line: `{id, durMs, A: [[from, to, words, backchannelWords]…], B: …}`. */
export function readCalls(file: string): Call[] {
  let text: string;
  try {
    const bytes = readFileSync(file);
    text = (bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes).toString('utf8');
  } catch (error) {
    throw toAdderError(error, { file });
  }
  return parseCalls(text, file);
}

export function parseCalls(text: string, file = 'calls'): Call[] {
  const out: Call[] = [];
  text.split('\n').forEach((line, i) => {
    if (line.trim() === '') return;
    const bad = (message: string, cause?: unknown) =>
      new AdderError({ code: 'BAD_CALL', message, where: { file, line: i + 1 }, cause });
    let row: { id?: unknown; durMs?: unknown; A?: unknown; B?: unknown };
    try {
      row = JSON.parse(line) as typeof row;
    } catch (cause) {
      throw bad('this line is not JSON', cause);
    }
    if (!(typeof row.durMs === 'number' && row.durMs > 0)) throw bad('a call needs durMs > 0');
    const side = (value: unknown): Talk[] => {
      if (!Array.isArray(value)) throw bad('a call needs the sides A and B');
      return value.map((entry: unknown) => {
        const [from, to, words = 0, backchannelWords = 0] = Array.isArray(entry) ? (entry as number[]) : [];
        if (!(from >= 0 && to >= from)) throw bad('talk must be [from, to, words, backchannelWords]');
        return { from, to, words, backchannelWords };
      });
    };
    out.push({ id: String(row.id ?? i), durationMs: row.durMs, sides: [side(row.A), side(row.B)] });
  });
  return out;
}

/** Activity of both sides, one byte a frame of 20 ms: 1 where the frame's middle lies in talk. */
export function callActivity(call: Call): [Uint8Array, Uint8Array] {
  const frames = Math.floor((call.durationMs * TURN_RATE) / 1000);
  const frameMs = 1000 / TURN_RATE;
  return call.sides.map((side) => {
    const out = new Uint8Array(frames);
    for (const { from, to } of side) {
      const first = Math.max(0, Math.ceil(from / frameMs - 0.5));
      const end = Math.min(frames, Math.ceil(to / frameMs - 0.5));
      if (end > first) out.fill(1, first, end);
    }
    return out;
  }) as [Uint8Array, Uint8Array];
}

/** What the composer draws from: real lengths in milliseconds, one entry an event. */
export interface TurnStatistics {
  /** Silences between talk of the same side. */
  pauses: number[];
  /** Silences between talk of different sides; negative values are overlaps at a change of side. */
  gaps: number[];
  /** How long after the start of the other's talk a back-channel begins. */
  backchannelAfter: number[];
}

export function turnStatistics(calls: readonly Call[], longest = 5000): TurnStatistics {
  const out: TurnStatistics = { pauses: [], gaps: [], backchannelAfter: [] };
  for (const call of calls) {
    const all = call.sides
      .flatMap((side, s) => side.map((talk) => ({ ...talk, side: s })))
      .sort((a, b) => a.from - b.from || a.to - b.to);
    let floor: (typeof all)[number] | undefined;
    for (const talk of all) {
      if (floor) {
        // Talk that ends inside the other's talk does not take the floor.
        const inside = talk.side !== floor.side && talk.to <= floor.to;
        if (inside) {
          if (isBackchannel(talk)) out.backchannelAfter.push(talk.from - floor.from);
          continue;
        }
        const silence = talk.from - floor.to;
        if (silence <= longest) {
          if (talk.side === floor.side) out.pauses.push(Math.max(0, silence));
          else out.gaps.push(Math.max(silence, -2000));
        }
      }
      floor = talk;
    }
  }
  return out;
}
