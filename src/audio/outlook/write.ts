/** The outlook of a recording as JSON text, in pieces: one track of an hour is three megabytes of it. */
import { SAMPLE_RATE } from '../decode/index.js';
import { HOP } from '../features/index.js';
import type { TurnOutlook } from '../hearing/protocol.js';
import { type TrackName, trackOf } from '../model/index.js';
import { SIDES, TURN_HOP, TURN_TRACKS, turnTrackOf } from '../turns/index.js';
import type { HeardChannels } from './hear.js';
import { rounded, shownEvent } from './outlook.js';

const milliseconds = (samples: number) => (1000 * samples) / SAMPLE_RATE;

/**
 * `{sampleRate, hopMs, …more, tracks: {NAME: [a value a hop]}, events}`; with turns, tracks and events are those of
 * `sides: {a: {…moreOf(0), tracks, events}, b}`, and `turns` has a value a frame of 20 ms.
 */
export function* outlookJson(
  { count, sides, turns }: HeardChannels,
  names: readonly TrackName[],
  more: Readonly<Record<string, unknown>> = {},
  moreOf: (side: number) => Readonly<Record<string, unknown>> = () => ({}),
): Generator<string> {
  const side = function* (s: number) {
    const { values, events } = sides[s];
    const tracks = { first: 0, count, values };
    yield* tracksJson(names.map((name) => [name, trackOf(tracks, name)]));
    yield `,"events":${JSON.stringify(events.map(shownEvent))}}`;
  };
  const head = { sampleRate: SAMPLE_RATE, hopMs: milliseconds(HOP), ...more };
  if (!turns) {
    yield open({ ...head, ...moreOf(0) });
    yield* side(0);
    yield '\n';
    return;
  }
  yield open(head);
  yield '"sides":{';
  for (const [s, name] of SIDES.entries()) {
    yield `${s === 0 ? '' : ','}"${name}":${open(moreOf(s))}`;
    yield* side(s);
  }
  yield '},';
  yield* turnsJson(turns);
  yield '}\n';
}

function* turnsJson({ model, tracks, events }: TurnOutlook): Generator<string> {
  yield `"turns":${open({ model, hopMs: milliseconds(TURN_HOP) })}`;
  yield* tracksJson(TURN_TRACKS.map((name) => [name, turnTrackOf(tracks, name)]));
  yield `,"events":${JSON.stringify(events.map(shownEvent))}}`;
}

function* tracksJson(tracks: readonly (readonly [string, Float32Array])[]): Generator<string> {
  yield '"tracks":{';
  for (const [i, [name, values]] of tracks.entries()) {
    yield `${i === 0 ? '' : ','}${JSON.stringify(name)}:${JSON.stringify(Array.from(values, rounded))}`;
  }
  yield '}';
}

/** An object that goes on. */
function open(fields: object): string {
  const text = JSON.stringify(fields).slice(0, -1);
  return text === '{' ? text : `${text},`;
}
