/** What is said about a recording once its tracks are there: events, stretches of speech, and which tracks are shown. */
import { decideAll, type EventOptions, type SpeechEvent } from '../events.js';
import { LEADS, type SpeechTracks, type TrackName, trackOf } from '../model/index.js';

/** Tracks of a written outlook: speech now and later, and its end. */
export const SHOWN_TRACKS = [
  'speech',
  'speech_50',
  'speech_100',
  'speech_200',
  'speech_500',
  'speech_1000',
  'end_100',
  'end_200',
  'end_500',
] as const satisfies readonly TrackName[];

/** A stretch of speech; samples at 16 kHz, the end exclusive. */
export interface SpeechSegment {
  from: number;
  to: number;
}

/** Events of whole tracks with the thresholds given. @throws AdderError `BAD_OPTION` */
export function eventsOf(tracks: SpeechTracks, options: Partial<EventOptions> = {}): SpeechEvent[] {
  const end = Object.fromEntries(LEADS.map((lead) => [lead, trackOf(tracks, `end_${lead}`)]));
  return decideAll(trackOf(tracks, 'speech'), end, options);
}

/** Stretches between the starts and ends of a finished stream's events. */
export function segmentsOf(events: readonly SpeechEvent[]): SpeechSegment[] {
  const out: SpeechSegment[] = [];
  let from: number | undefined;
  for (const { type, at } of events) {
    if (type === 'speech_start') from = at;
    else if (type === 'speech_end' && from !== undefined) {
      out.push({ from, to: at });
      from = undefined;
    }
  }
  return out;
}

/** Six decimals are finer than the 1e-4 within which streams and scans agree. */
export const rounded = (value: number): number | null =>
  Number.isFinite(value) ? Math.round(value * 1e6) / 1e6 : null;

/** An event as JSON has it. */
export const shownEvent = <T extends { probability: number }>(event: T) => ({
  ...event,
  probability: rounded(event.probability),
});
