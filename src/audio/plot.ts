/**
 * A picture of a recording as SVG: the waveform with the speech that was found, the probability tracks below it, and
 * the events of both. Plain text in, plain text out; no scripts, no fonts beyond what every viewer has.
 */
import type { SpeechEvent } from './events.js';
import { escaped, line, n, text } from './svg.js';
import type { TurnEvent } from './turns/index.js';

export interface PlotTrack {
  name: string;
  /** Probabilities, one a frame of 10 ms. */
  values: ArrayLike<number>;
}

export type PlotEvent = SpeechEvent | TurnEvent;

export interface PlotOptions {
  title?: string;
  /** Pixels. Default 1200. */
  width?: number;
  /** Seconds to show; the whole recording by default. */
  from?: number;
  to?: number;
}

const SAMPLE_RATE = 16_000;
const FRAMES = 100;
const MARGIN = { left: 54, right: 18, top: 46, bottom: 34 };
const WAVE_HEIGHT = 130;
const TRACK_HEIGHT = 170;
const GAP = 26;

const GRID = '#e3e8ed';
const WAVE = '#6b7f92';
const VOICED = '#1f6f8b';
const SPEECH = '#dff0ea';
const PREDICTED = '#b3471d';
const TURN = '#7a3e9d';
/** Distinct in hue and in lightness, for print and for colour-blind readers (after Okabe & Ito 2008). */
const COLOURS = ['#0b6e4f', '#0072b2', '#d55e00', '#56b4e9', '#cc79a7', '#8a6d00', '#7a3e9d', '#444444'];

/**
 * @param samples 16 kHz, full scale ±1
 * @param tracks probability tracks, drawn in order; the first one boldest
 * @param events events of the same stream
 */
export function plotAudio(
  samples: ArrayLike<number>,
  tracks: readonly PlotTrack[],
  events: readonly PlotEvent[],
  options: PlotOptions = {},
): string {
  const { width = 1200, title = '' } = options;
  const from = Math.max(0, options.from ?? 0);
  const to = Math.max(
    from + 0.01,
    Math.min(options.to ?? Number.POSITIVE_INFINITY, Math.max(0.01, samples.length / SAMPLE_RATE)),
  );
  const inner = width - MARGIN.left - MARGIN.right;
  const x = (seconds: number) => MARGIN.left + ((seconds - from) / (to - from)) * inner;
  const waveTop = MARGIN.top + 20;
  const trackTop = waveTop + WAVE_HEIGHT + GAP;
  const bottom = trackTop + TRACK_HEIGHT;
  const height = bottom + MARGIN.bottom;
  const spans = speechSpans(events, to);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escaped(title || 'speech outlook')}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    title ? text(MARGIN.left, 22, title, { size: 15, bold: true }) : '',
    ...shading(spans, x, from, to, waveTop, bottom),
    ...timeAxis(from, to, x, waveTop, bottom),
    ...waveform(samples, spans, from, to, inner, waveTop),
    ...levelAxis(trackTop, width),
    ...tracks.map((track, i) => curve(track, i, from, to, x, trackTop)),
    ...markers(events, x, from, to, waveTop, bottom),
    ...legend(tracks, width, title),
    '</svg>',
  ];
  return `${parts.filter((p) => p !== '').join('\n')}\n`;
}

interface Span {
  from: number;
  to: number;
}

/** Seconds of speech between the start and end events; open ones reach to the end. */
function speechSpans(events: readonly PlotEvent[], end: number): Span[] {
  const out: Span[] = [];
  let start: number | undefined;
  for (const event of events) {
    if (event.type === 'speech_start') start = event.at / SAMPLE_RATE;
    else if (event.type === 'speech_end') {
      out.push({ from: start ?? 0, to: event.at / SAMPLE_RATE });
      start = undefined;
    }
  }
  if (start !== undefined) out.push({ from: start, to: end });
  return out;
}

function shading(
  spans: Span[],
  x: (s: number) => number,
  from: number,
  to: number,
  top: number,
  bottom: number,
): string[] {
  return spans
    .filter((s) => s.to > from && s.from < to)
    .map((s) => {
      const left = x(Math.max(from, s.from));
      const right = x(Math.min(to, s.to));
      return `<rect x="${n(left)}" y="${top}" width="${n(Math.max(0.5, right - left))}" height="${bottom - top}" fill="${SPEECH}"/>`;
    });
}

/** Ticks at 1, 2 or 5 times a power of ten, about one in 100 pixels. */
function timeAxis(from: number, to: number, x: (s: number) => number, top: number, bottom: number): string[] {
  const wanted = (to - from) / 11;
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= wanted) ?? power;
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const out: string[] = [];
  for (let k = Math.ceil(from / step - 1e-9); k * step <= to + 1e-9; k++) {
    const at = x(k * step);
    out.push(line(at, top, at, bottom, GRID), text(at, bottom + 18, (k * step).toFixed(digits), { anchor: 'middle' }));
  }
  out.push(text(MARGIN.left - 8, bottom + 18, 's', { anchor: 'end' }));
  return out;
}

/** One vertical stroke a pixel from the smallest to the largest sample in it; speech is darker. */
function waveform(
  samples: ArrayLike<number>,
  spans: Span[],
  from: number,
  to: number,
  inner: number,
  top: number,
): string[] {
  const middle = top + WAVE_HEIGHT / 2;
  const columns = Math.max(1, Math.floor(inner));
  const first = Math.floor(from * SAMPLE_RATE);
  const count = Math.max(1, Math.floor(to * SAMPLE_RATE) - first);
  const low = new Float64Array(columns);
  const high = new Float64Array(columns);
  let peak = 1e-6;
  for (let c = 0; c < columns; c++) {
    const start = first + Math.floor((c * count) / columns);
    const end = Math.max(start + 1, first + Math.floor(((c + 1) * count) / columns));
    for (let i = start; i < end && i < samples.length; i++) {
      if (samples[i] < low[c]) low[c] = samples[i];
      if (samples[i] > high[c]) high[c] = samples[i];
    }
    peak = Math.max(peak, high[c], -low[c]);
  }
  const scale = (WAVE_HEIGHT / 2 - 4) / peak;
  const paths = { quiet: '', voiced: '' };
  for (let c = 0; c < columns; c++) {
    const at = from + ((c + 0.5) * (to - from)) / columns;
    const kind = spans.some((s) => at >= s.from && at < s.to) ? 'voiced' : 'quiet';
    const y0 = middle - high[c] * scale - 0.4;
    const y1 = middle - low[c] * scale + 0.4;
    paths[kind] += `M${n(MARGIN.left + c + 0.5)} ${n(y0)}V${n(y1)}`;
  }
  const stroke = (d: string, colour: string) =>
    d ? `<path d="${d}" stroke="${colour}" stroke-width="1" fill="none"/>` : '';
  return [
    stroke(paths.quiet, WAVE),
    stroke(paths.voiced, VOICED),
    text(MARGIN.left - 8, top + 12, `${decibels(peak)}`, { anchor: 'end', size: 10 }),
    text(MARGIN.left - 8, top + 24, 'dBFS', { anchor: 'end', size: 10 }),
  ];
}

function decibels(peak: number): string {
  return (20 * Math.log10(peak)).toFixed(0).replace('-', '−');
}

function levelAxis(top: number, width: number): string[] {
  return [0, 0.5, 1].flatMap((p) => {
    const y = top + (1 - p) * TRACK_HEIGHT;
    return [
      line(MARGIN.left, y, width - MARGIN.right, y, p === 0.5 ? GRID : '#c3ccd4'),
      text(MARGIN.left - 8, y + 4, String(p), { anchor: 'end' }),
    ];
  });
}

/** One point a frame, or the extremes of each pixel where there are more frames than pixels. */
function curve(
  track: PlotTrack,
  index: number,
  from: number,
  to: number,
  x: (s: number) => number,
  top: number,
): string {
  const first = Math.max(0, Math.floor(from * FRAMES));
  const last = Math.min(track.values.length, Math.ceil(to * FRAMES));
  const y = (p: number) => top + (1 - Math.min(1, Math.max(0, p))) * TRACK_HEIGHT;
  const perPixel = Math.max(1, Math.floor(((last - first) * 1.5) / Math.max(1, x(to) - x(from))));
  let d = '';
  let pen = 'M';
  for (let t = first; t < last; t += perPixel) {
    let lowAt = -1;
    let highAt = -1;
    for (let i = t; i < Math.min(last, t + perPixel); i++) {
      if (!Number.isFinite(track.values[i])) continue;
      if (lowAt < 0 || track.values[i] < track.values[lowAt]) lowAt = i;
      if (highAt < 0 || track.values[i] > track.values[highAt]) highAt = i;
    }
    if (lowAt < 0) {
      // A gap in the track is a gap in the line.
      pen = 'M';
      continue;
    }
    // Row t is complete at the end of its hop.
    for (const i of new Set([Math.min(lowAt, highAt), Math.max(lowAt, highAt)])) {
      d += `${pen}${n(x((i + 1) / FRAMES))} ${n(y(track.values[i]))}`;
      pen = 'L';
    }
  }
  const colour = COLOURS[index % COLOURS.length];
  return d
    ? `<path d="${d}" stroke="${colour}" stroke-width="${index === 0 ? 2 : 1.3}" fill="none" stroke-linejoin="round"/>`
    : '';
}

function markers(
  events: readonly PlotEvent[],
  x: (s: number) => number,
  from: number,
  to: number,
  top: number,
  bottom: number,
): string[] {
  const out: string[] = [];
  let clear = Number.NEGATIVE_INFINITY;
  for (const event of events) {
    const at = event.at / SAMPLE_RATE;
    const known = event.sample / SAMPLE_RATE;
    if (event.type === 'end_predicted') {
      if (known < from || known > to) continue;
      const end = Math.min(at, to);
      const y = top - 6;
      // From when it was said to when the end was foreseen.
      out.push(
        `<path d="M${n(x(known))} ${y}H${n(x(end))}" stroke="${PREDICTED}" stroke-width="2"/>`,
        `<circle cx="${n(x(known))}" cy="${y}" r="3.2" fill="${PREDICTED}"/>`,
        line(x(known), top, x(known), bottom, PREDICTED, '2 4'),
      );
      // Labels that would run into each other are left out; the bar still shows the lead.
      if (x(known) > clear) {
        const anchor = x(known) + 78 > x(to) ? 'end' : 'start';
        out.push(text(x(known), top - 13, `ends in ${event.lead} ms`, { size: 10, colour: PREDICTED, anchor }));
        clear = x(known) + 78;
      }
    } else if (event.type === 'end_of_turn') {
      if (known < from || known > to) continue;
      out.push(line(x(known), top, x(known), bottom, TURN, '8 3'));
      out.push(text(x(known) + 4, bottom - 6, `end of turn, ${event.waited} ms`, { size: 10, colour: TURN }));
    } else if (at >= from && at <= to) {
      const start = event.type === 'speech_start';
      out.push(line(x(at), top, x(at), bottom, VOICED, start ? undefined : '5 3'));
    }
  }
  return out;
}

function legend(tracks: readonly PlotTrack[], width: number, title: string): string[] {
  const entries = tracks.map((t, i) => ({ name: t.name, colour: COLOURS[i % COLOURS.length] }));
  const widthOf = (name: string) => 34 + name.length * 7.2;
  const total = entries.reduce((s, e) => s + widthOf(e.name), 0);
  // Beside the title if it fits there, else from the left edge.
  let at = Math.max(MARGIN.left + (title ? title.length * 9 + 24 : 0), width - MARGIN.right - total);
  return entries.flatMap((e) => {
    const left = at;
    at += widthOf(e.name);
    return [`<path d="M${n(left)} 17h16" stroke="${e.colour}" stroke-width="3"/>`, text(left + 21, 21, e.name, {})];
  });
}
