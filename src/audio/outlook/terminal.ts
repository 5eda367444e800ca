/** A recording in text: one line a stretch of time, with its level, the probability of speech, and what happened in it. */
import { SAMPLE_RATE } from '../decode/index.js';
import { HOP } from '../features/index.js';
import type { HeardEvent } from '../hearing/protocol.js';
import { trackOf } from '../model/index.js';
import { allEvents, type HeardChannels } from './hear.js';

/** Lines of a whole recording, at most about so many. */
const LINES = 60;
/** Seconds that one line may stand for. */
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600];
const BAR = 12;
/** Events named on one line; more are counted. */
const NAMED = 4;
/** Decibels below full scale at which the bar of the level is empty. */
const QUIET = -60;

const MARKS = {
  speech_start: ['▶', '>'],
  speech_end: ['■', '#'],
  end_predicted: ['…', '~'],
  end_of_turn: ['↷', '='],
} as const;

export interface TerminalOptions {
  /** Blocks and marks beyond ASCII. */
  unicode: boolean;
}

/** @param channels 16 kHz, full scale ±1: one, or the two of a turn outlook. Ends with a newline. */
export function terminalOutlook(
  channels: readonly ArrayLike<number>[],
  heard: HeardChannels,
  { unicode }: TerminalOptions,
): string {
  const { count, sides, turns } = heard;
  const seconds = channels[0].length / SAMPLE_RATE;
  const step = STEPS.find((s) => seconds / s <= LINES) ?? STEPS[STEPS.length - 1];
  const digits = step < 1 ? 1 : 0;
  const hops = Math.round((step * SAMPLE_RATE) / HOP);
  const wide = Math.max(4, seconds.toFixed(digits).length);
  const tracks = sides.map(({ values }) => {
    const own = { first: 0, count, values };
    return { speech: trackOf(own, 'speech'), soon: trackOf(own, 'end_200') };
  });
  const told = allEvents(heard);
  const titles = turns ? [title('a speaks'), title('b speaks')] : [`${'level'.padEnd(BAR)}`, title('speech'), 'ends'];
  const lines = [`${'s'.padStart(wide)}  ${titles.join(' ')}  events`];
  for (let first = 0, i = 0; first < count; first += hops, i++) {
    const last = Math.min(count, first + hops);
    const [from, to] = [first * HOP, last * HOP];
    const speech = tracks.map((track) => {
      const p = mean(track.speech, first, last);
      return `${bar(p, unicode)} ${p.toFixed(2)}`;
    });
    const level = bar((decibels(channels[0], from, to) - QUIET) / -QUIET, unicode);
    const columns = turns ? speech : [level, ...speech, largest(tracks[0].soon, first, last).toFixed(2)];
    const events = named(told, from, to, digits + 2, unicode);
    lines.push(`${(i * step).toFixed(digits).padStart(wide)}  ${columns.join(' ')}  ${events}`.trimEnd());
  }
  return `${lines.join('\n')}\n`;
}

const title = (name: string) => name.padEnd(BAR + 5);

/** Events that became known in samples (from, to]. */
function named(events: readonly HeardEvent[], from: number, to: number, digits: number, unicode: boolean): string {
  const own = events.filter(({ sample }) => sample > from && sample <= to);
  const changes = own.filter(({ type }) => type !== 'end_predicted');
  // Predictions come in threes; the nearest one of a line says most.
  const predicted = own.filter(({ type }) => type === 'end_predicted').slice(-1);
  const words = [...changes.slice(0, NAMED), ...predicted].map((event) => {
    const mark = MARKS[event.type][unicode ? 0 : 1];
    const who = event.side === undefined ? '' : `${event.side} `;
    const when = (event.at / SAMPLE_RATE).toFixed(digits);
    if (event.type === 'end_predicted') return `${mark} ${who}end by ${when} (${event.lead} ms)`;
    if (event.type === 'end_of_turn') return `${mark} ${who}end of turn ${when} (after ${event.waited} ms)`;
    return `${mark} ${who}${event.type.slice(7)} ${when}`;
  });
  if (changes.length > NAMED) words.push(`and ${changes.length - NAMED} more`);
  return words.join('  ');
}

function bar(share: number, unicode: boolean): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * BAR * 8);
  if (!unicode) return '='.repeat(Math.round(eighths / 8)).padEnd(BAR, '.');
  const whole = '█'.repeat(eighths >> 3);
  return `${whole}${eighths & 7 ? '▏▎▍▌▋▊▉'[(eighths & 7) - 1] : ''}`.padEnd(BAR, '·');
}

function decibels(samples: ArrayLike<number>, from: number, to: number): number {
  let sum = 0;
  for (let i = from; i < to; i++) sum += samples[i] ** 2;
  return 10 * Math.log10(sum / Math.max(1, to - from) + 1e-12);
}

function mean(values: ArrayLike<number>, from: number, to: number): number {
  let sum = 0;
  for (let i = from; i < to; i++) sum += values[i];
  return sum / Math.max(1, to - from);
}

function largest(values: ArrayLike<number>, from: number, to: number): number {
  let most = 0;
  for (let i = from; i < to; i++) most = Math.max(most, values[i]);
  return most;
}
