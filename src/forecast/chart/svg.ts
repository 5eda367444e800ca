import { type Fan, valueRange } from './fan.js';
import { formatValue, positionOf, type TimeTick, timeTicks, valueTicks } from './ticks.js';

export interface SvgOptions {
  /** Above all panels; a single panel's own title is used when absent. */
  title?: string;
  /** Small print under the chart: model, date. */
  caption?: string;
  /** Panels drawn at most; the caption says how many are left out. */
  maxPanels?: number;
}

const WIDTH = 960;
const MARGIN = 24;

/**
 * Colours stand as plain rules first, because many SVG renderers know no media queries; viewers that do follow the
 * reader's dark mode.
 */
const STYLE = `
text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;font-size:12px;fill:#5b6470}
.title{font-size:18px;font-weight:600;fill:#1c2229}
.panel-title{font-size:13px;font-weight:600;fill:#1c2229}
.caption,.parent{font-size:11px;fill:#8a929c}
.page{fill:#ffffff}
.grid{stroke:#e6e9ed;stroke-width:1}
.axis{stroke:#aeb6bf;stroke-width:1}
.origin{stroke:#8a929c;stroke-width:1;stroke-dasharray:3 3}
.history{fill:none;stroke:#39424d;stroke-width:1.5;stroke-linejoin:round;stroke-linecap:round}
.median{fill:none;stroke:#0b74a8;stroke-width:2.25;stroke-linejoin:round;stroke-linecap:round}
.band{fill:#0b74a8;stroke:none}
.actual{fill:#c8641a;stroke:#ffffff;stroke-width:.75}
.dot{fill:#39424d}
@media (prefers-color-scheme:dark){
text{fill:#a3adb8}.title,.panel-title{fill:#e8ecf0}.caption,.parent{fill:#7d8894}
.page{fill:#15191e}.grid{stroke:#2a3038}.axis{stroke:#4a535d}.origin{stroke:#7d8894}
.history{stroke:#c9d1d9}.dot{fill:#c9d1d9}.median{stroke:#4db6e8}.band{fill:#4db6e8}.actual{fill:#f0a35e;stroke:#15191e}
}`;

interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/**
 * A fan chart as a standalone SVG document: history, median, nested intervals, dates and round values on the axes.
 * Several fans become small multiples in two columns, each with its own axes.
 */
export function svgChart(fans: Fan[], options: SvgOptions = {}): string {
  const shown = fans.slice(0, options.maxPanels ?? 24);
  const single = shown.length === 1;
  const columns = single ? 1 : 2;
  const title = options.title ?? (single ? shown[0]!.title : `${fans.length} series`);
  const panelHeight = single ? 400 : 220;
  const top = 78;
  const gap = 28;
  const rows = Math.ceil(shown.length / columns);
  const height = top + rows * panelHeight + (rows - 1) * gap + 36;
  const panelWidth = (WIDTH - 2 * MARGIN - (columns - 1) * gap) / columns;
  const panels = shown.map((fan, i) =>
    panel(
      fan,
      {
        x: MARGIN + (i % columns) * (panelWidth + gap),
        y: top + Math.floor(i / columns) * (panelHeight + gap),
        width: panelWidth,
        height: panelHeight,
      },
      !single,
    ),
  );
  const left = fans.length - shown.length;
  const caption = [options.caption, left > 0 ? `${left} more series not drawn` : ''].filter(Boolean).join(' · ');
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escapeXml(`Forecast: ${title}`)}">`,
    `<title>${escapeXml(title)}</title>`,
    `<style>${STYLE}\n</style>`,
    `<rect class="page" width="${WIDTH}" height="${height}"/>`,
    text(MARGIN, 34, clip(title, 88), 'title'),
    legend(shown, MARGIN, 58),
    ...panels,
    caption ? text(MARGIN, height - 14, clip(caption, 150), 'caption') : '',
    '</svg>',
    '',
  ]
    .filter((line, i, all) => line !== '' || i === all.length - 1)
    .join('\n');
}

/** Opacity of the i-th of n nested bands, widest first: they add up towards the middle. */
function bandOpacity(i: number, n: number): number {
  return n === 1 ? 0.24 : 0.13 + (0.17 * i) / (n - 1);
}

function legend(fans: Fan[], x: number, y: number): string {
  const { intervals } = fans[0]!;
  const parts: string[] = [];
  let at = x;
  const entry = (mark: string, label: string) => {
    parts.push(mark, text(at + 26, y, label));
    at += 26 + label.length * 6.6 + 20;
  };
  entry(`<path class="history" d="M${n(at)} ${y - 4}h20"/>`, 'history');
  entry(`<path class="median" d="M${n(at)} ${y - 4}h20"/>`, 'median forecast');
  for (const { percent, index } of intervals
    .map((interval, index) => ({ percent: interval.percent, index }))
    .reverse()) {
    // In the chart a narrow band lies on the wider ones, so its swatch is all of them on one another.
    const swatch = intervals
      .slice(0, index + 1)
      .map(
        (_, i) =>
          `<rect class="band" x="${n(at)}" y="${y - 10}" width="20" height="12" fill-opacity="${bandOpacity(i, intervals.length).toFixed(2)}"/>`,
      );
    entry(swatch.join(''), `${percent} % interval`);
  }
  if (fans.some((fan) => fan.actual))
    entry(`<circle class="actual" cx="${n(at + 10)}" cy="${y - 4}" r="3.2"/>`, 'held out');
  return `<g>${parts.join('')}</g>`;
}

function panel(fan: Fan, box: Box, titled: boolean): string {
  const [low, high] = valueRange(fan);
  const ticks = valueTicks(low, high, titled ? 4 : 6);
  // Room so that lines do not touch the frame, and ticks that lie on it are drawn.
  const room = (high - low) * 0.04;
  const labelWidth = Math.max(...ticks.map((tick) => tick.label.length)) * 7 + 10;
  const plot: Box = {
    x: box.x + labelWidth,
    y: box.y + (titled ? 22 : 4),
    width: box.width - labelWidth - 4,
    height: box.height - (titled ? 22 : 4) - 36,
  };
  const past = fan.history.length;
  const steps = past + fan.median.length;
  const x = (k: number) => plot.x + (steps > 1 ? (k / (steps - 1)) * plot.width : 0);
  const y = (value: number) => plot.y + ((high + room - value) / (high - low + 2 * room)) * plot.height;

  const out: string[] = ['<g>'];
  if (titled) out.push(text(box.x, box.y + 10, clip(fan.title, 58), 'panel-title'));
  for (const tick of ticks) {
    out.push(`<path class="grid" d="M${n(plot.x)} ${n(y(tick.value))}h${n(plot.width)}"/>`);
    out.push(text(plot.x - 8, y(tick.value) + 4, tick.label, undefined, 'end'));
  }
  out.push(...timeAxis(fan, plot, x, titled ? 80 : 90));

  // The fan opens at the last observation, if that is where the forecast starts.
  const last = fan.history[past - 1]!;
  const joined = !Number.isNaN(last);
  const future = (values: Float64Array): [number, number][] => [
    ...(joined ? [[x(past - 1), y(last)] as [number, number]] : []),
    ...[...values].map((v, k): [number, number] => [x(past + k), y(v)]),
  ];
  for (const [i, interval] of fan.intervals.entries()) {
    const outline = [...future(interval.high), ...future(interval.low).reverse()];
    out.push(
      `<path class="band" fill-opacity="${bandOpacity(i, fan.intervals.length).toFixed(2)}" d="${path(outline)}Z"/>`,
    );
  }
  out.push(`<path class="origin" d="M${n(x(past - 1))} ${n(plot.y)}v${n(plot.height)}"/>`);
  const { line, dots } = historyPath(fan.history, x, y, plot.width);
  out.push(`<path class="history" d="${line}"/>`, ...dots);
  out.push(`<path class="median" d="${path(future(fan.median))}"/>`);
  if (fan.median.length === 1)
    out.push(`<circle class="median" cx="${n(x(past))}" cy="${n(y(fan.median[0]!))}" r="2.5"/>`);
  if (fan.actual) {
    const radius = fan.actual.length > 60 ? 1.8 : 2.8;
    for (let k = 0; k < fan.actual.length; k++) {
      if (!Number.isNaN(fan.actual[k]!))
        out.push(`<circle class="actual" cx="${n(x(past + k))}" cy="${n(y(fan.actual[k]!))}" r="${radius}"/>`);
    }
  }
  out.push('</g>');
  return out.join('\n');
}

function timeAxis(fan: Fan, plot: Box, x: (k: number) => number, spacing: number): string[] {
  const times = Float64Array.from([...fan.historyTimes, ...fan.futureTimes]);
  const from = times[0]!;
  const to = times.at(-1)!;
  const most = Math.floor(plot.width / spacing);
  const bottom = plot.y + plot.height;
  const marks: TimeTick[] = fan.calendar
    ? timeTicks(from, to, most)
    : valueTicks(from, to, most).map(({ value }) => ({ time: value, label: formatValue(value, 1) }));
  const out = [`<path class="axis" d="M${n(plot.x)} ${n(bottom)}h${n(plot.width)}"/>`];
  for (const { time, label, parent } of marks) {
    const at = positionOf(times, time);
    if (at === undefined) continue;
    out.push(
      `<path class="axis" d="M${n(x(at))} ${n(bottom)}v5"/>`,
      text(x(at), bottom + 18, label, undefined, 'middle'),
    );
    if (parent) out.push(text(x(at), bottom + 32, parent, 'parent', 'middle'));
  }
  return out;
}

/**
 * The history as one path, broken at missing values; values with missing neighbours become dots. With more than two
 * values a pixel, each pixel column keeps its first, lowest, highest and last, which looks the same.
 */
function historyPath(
  values: Float64Array,
  x: (k: number) => number,
  y: (v: number) => number,
  width: number,
): { line: string; dots: string[] } {
  const keep = values.length > 2 * width ? thinned(values, Math.floor(width)) : [...values.keys()];
  const dots: string[] = [];
  let line = '';
  let run: [number, number][] = [];
  const flush = () => {
    if (run.length === 1) dots.push(`<circle class="dot" cx="${n(run[0]![0])}" cy="${n(run[0]![1])}" r="1.5"/>`);
    else if (run.length > 1) line += path(run);
    run = [];
  };
  for (const k of keep) {
    if (Number.isNaN(values[k]!)) flush();
    else run.push([x(k), y(values[k]!)]);
  }
  flush();
  return { line, dots };
}

function thinned(values: Float64Array, buckets: number): number[] {
  const keep: number[] = [];
  for (let b = 0; b < buckets; b++) {
    const from = Math.floor((b * values.length) / buckets);
    const to = Math.floor(((b + 1) * values.length) / buckets);
    let low = from;
    let high = from;
    let missing = -1;
    for (let k = from; k < to; k++) {
      if (Number.isNaN(values[k]!)) missing = k;
      if (!(values[low]! <= values[k]!)) low = k;
      if (!(values[high]! >= values[k]!)) high = k;
    }
    const chosen = new Set([from, low, high, to - 1, ...(missing >= 0 ? [missing] : [])]);
    keep.push(...[...chosen].sort((a, c) => a - c));
  }
  return keep;
}

function path(points: [number, number][]): string {
  return points.map(([px, py], i) => `${i === 0 ? 'M' : 'L'}${n(px)} ${n(py)}`).join('');
}

function text(x: number, y: number, content: string, cssClass?: string, anchor?: 'end' | 'middle'): string {
  const attributes = `${cssClass ? ` class="${cssClass}"` : ''}${anchor ? ` text-anchor="${anchor}"` : ''}`;
  return `<text x="${n(x)}" y="${n(y)}"${attributes}>${escapeXml(content)}</text>`;
}

/** Two decimals are a fiftieth of a pixel. */
function n(value: number): string {
  return String(Math.round(value * 100) / 100);
}

function clip(content: string, limit: number): string {
  const letters = Array.from(content);
  return letters.length > limit ? `${letters.slice(0, limit - 1).join('')}…` : content;
}

/** Escapes text for XML 1.0 content and attributes; characters that XML forbids become U+FFFD. */
export function escapeXml(content: string): string {
  return content
    .replace(/[^\P{Cc}\t\n\r]|[\p{Cs}\ufffe\uffff]/gu, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&apos;');
}
