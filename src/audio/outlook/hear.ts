/** Everything that is said of a recording whose channels are decoded. */
import type { EventOptions } from '../events.js';
import type { HeardEvent, SideOutlook, TurnOutlook } from '../hearing/protocol.js';
import { type ScanOptions, type SpeechModel, scanChannels, trackOf } from '../model/index.js';
import {
  Activity,
  type EndOfTurnOptions,
  SIDES,
  scanConversation,
  type TurnModel,
  turnEventsOf,
} from '../turns/index.js';
import { eventsOf } from './outlook.js';

export interface HearOptions extends ScanOptions {
  events?: Partial<EventOptions>;
  /** For two channels, the sides of a conversation. */
  turns?: { model: TurnModel; options: Partial<EndOfTurnOptions> };
}

export interface HeardChannels {
  /** Hops. */
  count: number;
  sides: SideOutlook[];
  turns?: TurnOutlook;
}

/**
 * What a live listener would have heard.
 *
 * @param channels of equal lengths, 16 kHz and full scale ±1; two with `turns`
 * @throws AdderError `BAD_OPTION`
 */
export async function hearChannels(
  model: SpeechModel,
  channels: readonly Float32Array[],
  options: HearOptions = {},
): Promise<HeardChannels> {
  const { turns, embeddingSeconds: seconds } = options;
  const scans = await scanChannels(model, channels, options);
  const sides = scans.map(({ tracks, embeddings }) => ({
    values: tracks.values,
    events: eventsOf(tracks, options.events),
    ...(embeddings && seconds ? { embeddings: { seconds, size: model.config.dModel, values: embeddings } } : {}),
  }));
  const { count } = scans[0].tracks;
  if (!turns) return { count, sides };
  const [a, b] = scans.map(({ tracks }) => new Activity().push(trackOf(tracks, 'speech')));
  const tracks = await scanConversation(turns.model, [a, b]);
  const events = turnEventsOf([a, b], tracks, turns.options);
  return { count, sides, turns: { model: turns.model.name, tracks, events } };
}

/** Events of all sides and of turns, in the order in which they became known; those of two sides name theirs. */
export function allEvents({ sides, turns }: Pick<HeardChannels, 'sides' | 'turns'>): HeardEvent[] {
  if (!turns) return sides[0].events;
  const named = sides.flatMap(({ events }, s) => events.map((event) => ({ ...event, side: SIDES[s] })));
  return [...named, ...turns.events].sort((a, b) => a.sample - b.sample);
}
