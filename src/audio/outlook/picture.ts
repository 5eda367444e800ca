/** A recording as a picture: one panel, or one for each side with what it is expected to say next. */
import type { SideOutlook } from '../hearing/protocol.js';
import { trackOf } from '../model/index.js';
import { plotAudio } from '../plot.js';
import { stacked } from '../svg.js';
import { SIDES, type TurnTrackName, type TurnTracks, turnTrackOf } from '../turns/index.js';
import type { HeardChannels } from './hear.js';

/** Tracks of a panel. */
const DRAWN = ['speech', 'speech_200', 'speech_500', 'end_200'] as const;
/** The same where there are two sides, with their turn tracks. */
const DRAWN_OF_SIDE = ['speech', 'end_200'] as const;
const PROJECTED = ['200', '600', '2000'] as const;

/** SVG. @param channels of equal lengths, 16 kHz */
export function picture(
  channels: readonly Float32Array[],
  { count, sides, turns }: Pick<HeardChannels, 'count' | 'sides' | 'turns'>,
  title: string,
): string {
  const of = ({ values }: SideOutlook, name: (typeof DRAWN)[number]) => ({
    name,
    values: trackOf({ first: 0, count, values }, name),
  });
  if (!turns) {
    const drawn = DRAWN.map((name) => of(sides[0], name));
    return plotAudio(channels[0], drawn, sides[0].events, { title });
  }
  const panels = sides.map((side, s) => {
    const turn = (name: TurnTrackName) => ({ name, values: everyHop(turns.tracks, name, count) });
    const drawn = [
      ...DRAWN_OF_SIDE.map((name) => of(side, name)),
      ...PROJECTED.map((ms) => turn(`${SIDES[s]}_${ms}`)),
      turn('shift'),
    ];
    const events = [...side.events, ...turns.events.filter((event) => event.side === SIDES[s])];
    return plotAudio(channels[s], drawn, events, { title: `${title}: side ${SIDES[s]}` });
  });
  return stacked(panels);
}

/** A turn track at each hop: what was known then. */
function everyHop(tracks: TurnTracks, name: TurnTrackName, count: number): Float32Array {
  const values = turnTrackOf(tracks, name);
  // Frame f is complete with hop 2f + 1.
  return Float32Array.from({ length: count }, (_, i) => (i === 0 ? Number.NaN : values[(i - 1) >> 1]));
}
