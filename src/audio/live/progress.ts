/** What a connection knows of its session, and leaves to the next one. */
import { AdderError } from '../../platform/errors.js';
import { EventDecider } from '../events.js';
import type { AudioFormat, HeardEvent, SessionOptions } from '../hearing/protocol.js';
import { TRACKS, type TrackName } from '../model/index.js';
import { EndOfTurn, SIDES } from '../turns/index.js';
import { type ClientMessage, defined, type SessionParameters } from './messages.js';

/** Events that a session remembers for clients that missed the last ones. */
const REMEMBERED = 32;
const DEFAULT_IDLE_MS = 60_000;
const DEFAULT_INTERIM_MS = 200;

export interface SessionProgress {
  format: AudioFormat;
  options: SessionOptions;
  tracks: TrackName[];
  interimMs: number;
  idleMs: number;
  /** Bytes of audio taken in; messages where they are packets. */
  received: number;
  rows: number;
  counts: Partial<Record<HeardEvent['type'], number>>;
  /** Of each side. */
  speech: { samples: number; since: number | undefined }[];
  repaired: number;
  recent: HeardEvent[];
}

export function freshProgress(asked: SessionParameters): SessionProgress {
  const { turns, turnOptions } = asked;
  return {
    format: {
      encoding: asked.encoding ?? 'pcm_s16',
      sampleRate: asked.sampleRate ?? 16_000,
      channels: asked.channels ?? 1,
    },
    options: { events: {}, ...(turns ? { turns: turnOptions } : {}) },
    tracks: [...TRACKS],
    interimMs: DEFAULT_INTERIM_MS,
    idleMs: DEFAULT_IDLE_MS,
    ...wishes(asked),
    received: 0,
    rows: 0,
    counts: { speech_start: 0, speech_end: 0, end_predicted: 0, ...(turns ? { end_of_turn: 0 } : {}) },
    speech: (turns ? SIDES : SIDES.slice(0, 1)).map(() => ({ samples: 0, since: undefined })),
    repaired: 0,
    recent: [],
  };
}

/** What a connection may ask for anew. */
export const wishes = ({ tracks, interimMs, idleMs }: SessionParameters) => defined({ tracks, interimMs, idleMs });

/** Counts an event, and remembers it. */
export function note(progress: SessionProgress, event: HeardEvent): void {
  progress.counts[event.type] = (progress.counts[event.type] ?? 0) + 1;
  progress.recent = [...progress.recent, event].slice(-REMEMBERED);
  const side = progress.speech[event.side === 'b' ? 1 : 0];
  if (event.type === 'speech_start') side.since = event.at;
  if (event.type === 'speech_end') {
    side.samples += event.at - (side.since ?? event.at);
    side.since = undefined;
  }
}

/**
 * Options with the thresholds of a message; those that it does not name stay.
 *
 * @throws AdderError `BAD_OPTION` where they do not fit together, `INVALID_REQUEST` for turns of a session without them
 */
export function changed(
  options: SessionOptions,
  { events, turns }: Pick<Extract<ClientMessage, { type: 'configure' }>, 'events' | 'turns'>,
): SessionOptions {
  const next = { ...options };
  if (events) {
    const { predictThreshold, ...rest } = events;
    next.events = { ...options.events, ...defined(rest) };
    if (predictThreshold) next.events.predictThreshold = { ...options.events.predictThreshold, ...predictThreshold };
    new EventDecider(next.events);
  }
  if (turns) {
    if (!options.turns) {
      throw new AdderError({
        code: 'INVALID_REQUEST',
        message: 'this session has no turn outlook',
        where: { field: 'turns' },
        fix: 'begin one with channels=2&turns=true',
      });
    }
    next.turns = { ...options.turns, ...defined(turns) };
    new EndOfTurn(next.turns);
  }
  return next;
}
