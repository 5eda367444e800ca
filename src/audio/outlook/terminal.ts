/** A recording in text: one line a stretch of time, with its level, the probability of speech, and what happened in it. */
import { SAMPLE_RATE } from '../decode/index.js';
import type { SpeechEvent } from '../events.js';
import { HOP } from '../features/index.js';
import { type SpeechTracks, trackOf } from '../model/index.js';

/** Lines of a whole recording, at most about so many. */
const LINES = 60;
/** Seconds that one line may stand for. */
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600];
const BAR = 12;
/** Events named on one line; more are counted. */
const NAMED = 4;
/** Decibels below full scale at which the bar of the level is empty. */
const QUIET = -60;

const MARKS = { speech_start: ['▶', '>'], speech_end: ['■', '#'], end_predicted: ['…', '~'] } as const;

export interface TerminalOptions {
  /** Blocks and marks beyond ASCII. */
  unicode: boolean;
}

/** @param samples 16 kHz, full scale ±1. Ends with a newline. */
export function terminalOutlook(
  samples: ArrayLike<number>,
  tracks: SpeechTracks,
  events: readonly SpeechEvent[],
  { unicode }: TerminalOptions,
): string {
  const seconds = samples.length / SAMPLE_RATE;
  const step = STEPS.find((s) => seconds / s <= LINES) ?? STEPS[STEPS.length - 1];
  const digits = step < 1 ? 1 : 0;
  const speech = trackOf(tracks, 'speech');
  const soon = trackOf(tracks, 'end_200');
  const hops = Math.round((step * SAMPLE_RATE) / HOP);
  const wide = Math.max(4, seconds.toFixed(digits).length);
  const lines = [`${'s'.padStart(wide)}  ${'level'.padEnd(BAR)} ${'speech'.padEnd(BAR + 5)} ends  events`];
  for (let first = 0, i = 0; first < tracks.count; first += hops, i++) {
    const last = Math.min(tracks.count, first + hops);
    const from = first * HOP;
    const to = last * HOP;
    const level = decibels(samples, from, to);
    const p = mean(speech, first, last);
    lines.push(
      [
        (i * step).toFixed(digits).padStart(wide),
        ` ${bar((level - QUIET) / -QUIET, unicode)}`,
        `${bar(p, unicode)} ${p.toFixed(2)}`,
        largest(soon, first, last).toFixed(2),
        ` ${named(events, from, to, digits + 2, unicode)}`,
      ]
        .join(' ')
        .trimEnd(),
    );
  }
  return `${lines.join('\n')}\n`;
}

/** Events that became known in samples (from, to]. */
function named(events: readonly SpeechEvent[], from: number, to: number, digits: number, unicode: boolean): string {
  const own = events.filter(({ sample }) => sample > from && sample <= to);
  const changes = own.filter(({ type }) => type !== 'end_predicted');
  // Predictions come in threes; the nearest one of a line says most.
  const predicted = own.filter(({ type }) => type === 'end_predicted').slice(-1);
  const words = [...changes.slice(0, NAMED), ...predicted].map(({ type, at, lead }) => {
    const mark = MARKS[type][unicode ? 0 : 1];
    const when = (at / SAMPLE_RATE).toFixed(digits);
    return type === 'end_predicted' ? `${mark} end by ${when} (${lead} ms)` : `${mark} ${type.slice(7)} ${when}`;
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
