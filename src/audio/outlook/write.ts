/** The outlook of a recording as JSON text, in pieces: one track of an hour is three megabytes of it. */
import { SAMPLE_RATE } from '../decode/index.js';
import type { SpeechEvent } from '../events.js';
import { HOP } from '../features/index.js';
import type { SpeechTracks, TrackName } from '../model/index.js';
import { shownEvent, trackValues } from './outlook.js';

/** `{sampleRate, hopMs, …more, tracks: {NAME: [a value a hop]}, events}`. */
export function* outlookJson(
  tracks: SpeechTracks,
  names: readonly TrackName[],
  events: readonly SpeechEvent[],
  more: Readonly<Record<string, unknown>> = {},
): Generator<string> {
  const head = JSON.stringify({ sampleRate: SAMPLE_RATE, hopMs: (1000 * HOP) / SAMPLE_RATE, ...more });
  yield `${head.slice(0, -1)},"tracks":{`;
  for (const [i, name] of names.entries()) {
    yield `${i === 0 ? '' : ','}${JSON.stringify(name)}:${JSON.stringify(trackValues(tracks, name))}`;
  }
  yield `},"events":${JSON.stringify(events.map(shownEvent))}}\n`;
}
