import { type Fan, valueRange } from './fan.js';
import { formatValue, positionOf, type TimeTick, timeTicks, valueTicks } from './ticks.js';

export interface TerminalChartOptions {
  /** Columns of the whole chart, at least 40. */
  width: number;
  /** Rows of the plot without title and axis. */
  height: number;
  /** Braille and shades; otherwise plain ASCII. */
  unicode: boolean;
  color: boolean;
}

/** Signs of one character set. `shades` go from the widest interval to the narrowest. */
interface Signs {
  shades: string[];
  history: string;
  median: string;
  actual: string;
  origin: string;
  vertical: string;
  tickLeft: string;
  tickDown: string;
  corner: string;
  horizontal: string;
}

const UNICODE: Signs = {
  shades: ['░', '▒', '▓'],
  history: '⣀⣀',
  median: '⠒⠒',
  actual: '×',
  origin: '┊',
  vertical: '│',
  tickLeft: '┤',
  tickDown: '┬',
  corner: '└',
  horizontal: '─',
};
const ASCII: Signs = {
  shades: ['.', ':', '%'],
  history: '*',
  median: 'o',
  actual: 'x',
  origin: '!',
  vertical: '|',
  tickLeft: '+',
  tickDown: '+',
  corner: '+',
  horizontal: '-',
};

const RESET = '\u001b[0m';
const COLORS = { history: '', median: '\u001b[1;36m', band: '\u001b[36m', actual: '\u001b[33m', axis: '\u001b[2m' };

/** Bits of the eight dots of a braille character, by row (0 = top) and column. */
const DOTS = [
  [0x01, 0x08],
  [0x02, 0x10],
  [0x04, 0x20],
  [0x40, 0x80],
] as const;

type Layer = 'history' | 'median' | 'band' | 'actual' | 'axis';

/**
 * A fan chart in text: the history and the median as lines (2 × 4 braille dots a character), intervals as shades, dates
 * below. Ends with a newline.
 */
export function terminalChart(fan: Fan, options: TerminalChartOptions): string {
  const signs = options.unicode ? UNICODE : ASCII;
  const { height } = options;
  const [low, high] = valueRange(fan);
  const ticks = valueTicks(low, high, Math.max(2, Math.floor(height / 3))).map(({ value, label }) => ({
    value,
    label: options.unicode ? label : label.replace('−', '-'),
  }));
  const labelWidth = Math.max(...ticks.map((tick) => tick.label.length));
  const columns = Math.max(20, options.width - labelWidth - 2);
  const canvas = new Canvas(columns, height, options.unicode, signs);

  const past = fan.history.length;
  const steps = past + fan.median.length;
  const x = (k: number) => (steps > 1 ? (k / (steps - 1)) * (canvas.dotsWide - 1) : 0);
  const y = (value: number) => ((high - value) / (high - low)) * (canvas.dotsHigh - 1);
  const column = (k: number) => Math.floor(x(k) / canvas.dotsPerColumn);

  const lastSeen = lastFinite(fan.history);
  canvas.verticalLine(column(past - 1), signs.origin, 'axis');
  for (const [i, { low: bottom, high: top }] of fan.intervals.entries()) {
    const shade = signs.shades[Math.min(signs.shades.length - 1, i + (fan.intervals.length === 1 ? 1 : 0))]!;
    const first = column(past);
    for (let c = first; c < columns; c++) {
      // The step at the middle of the column, between two forecasts if there are fewer steps than columns.
      const k = Math.min(
        fan.median.length - 1,
        Math.max(0, ((c + 0.5) * canvas.dotsPerColumn * (steps - 1)) / (canvas.dotsWide - 1) - past),
      );
      canvas.band(c, y(interpolate(top, k)), y(interpolate(bottom, k)), shade);
    }
  }
  canvas.polyline(
    [...fan.history].map((v, k) => [x(k), y(v)]),
    'history',
  );
  const start: [number, number][] = lastSeen === past - 1 ? [[x(lastSeen), y(fan.history[lastSeen]!)]] : [];
  canvas.polyline([...start, ...[...fan.median].map((v, k): [number, number] => [x(past + k), y(v)])], 'median');
  if (fan.actual)
    for (let k = 0; k < fan.actual.length; k++) canvas.sign(x(past + k), y(fan.actual[k]!), signs.actual, 'actual');

  const tickRows = new Map(ticks.map((tick) => [Math.floor(y(tick.value) / canvas.dotsPerRow), tick.label]));
  const lines: string[] = fan.title === '' ? [] : [fan.title];
  for (let row = 0; row < height; row++) {
    const label = tickRows.get(row);
    const axis = `${(label ?? '').padStart(labelWidth)} ${label === undefined ? signs.vertical : signs.tickLeft}`;
    lines.push(paint(axis, 'axis', options.color) + canvas.row(row, options.color));
  }
  for (const text of timeAxis(fan, columns, column, signs))
    lines.push(paint(`${' '.repeat(labelWidth + 1)}${text.trimEnd()}`, 'axis', options.color));
  lines.push(`${' '.repeat(labelWidth + 2)}${legend(fan, signs)}`);
  return `${lines.map((line) => line.trimEnd()).join('\n')}\n`;
}

function legend(fan: Fan, signs: Signs): string {
  const offset = fan.intervals.length === 1 ? 1 : 0;
  const bands = fan.intervals.map(
    ({ percent }, i) => `${signs.shades[Math.min(signs.shades.length - 1, i + offset)]!.repeat(2)} ${percent} %`,
  );
  return [
    `${signs.history} history`,
    `${signs.median} median`,
    ...bands.reverse(),
    ...(fan.actual ? [`${signs.actual} held out`] : []),
  ].join('   ');
}

/** The axis line with ticks, the labels under it, and under those the larger units. */
function timeAxis(fan: Fan, columns: number, column: (k: number) => number, signs: Signs): string[] {
  const times = Float64Array.from([...fan.historyTimes, ...fan.futureTimes]);
  const from = times[0]!;
  const to = times.at(-1)!;
  const most = Math.floor(columns / 12);
  const marks: TimeTick[] = fan.calendar
    ? timeTicks(from, to, most)
    : valueTicks(from, to, most).map(({ value }) => ({ time: value, label: formatValue(value, 1) }));
  const line = Array.from(signs.horizontal.repeat(columns));
  const labels = new Array<string>(columns + 1).fill(' ');
  const parents = new Array<string>(columns + 1).fill(' ');
  let free = 0;
  let freeParent = 0;
  for (const mark of marks) {
    const at = positionOf(times, mark.time);
    if (at === undefined) continue;
    const c = column(at);
    const start = Math.min(Math.max(0, c + 1 - Math.floor(mark.label.length / 2)), columns + 1 - mark.label.length);
    if (start < free) continue;
    line[c] = signs.tickDown;
    for (const [i, letter] of Array.from(mark.label).entries())
      labels[start + i] = signs === ASCII && letter === '−' ? '-' : letter;
    free = start + mark.label.length + 2;
    const { parent } = mark;
    if (parent && start >= freeParent && start + parent.length <= columns + 1) {
      for (const [i, letter] of Array.from(parent).entries()) parents[start + i] = letter;
      freeParent = start + parent.length + 2;
    }
  }
  const rows = [`${signs.corner}${line.join('')}`, labels.join('')];
  if (parents.some((letter) => letter !== ' ')) rows.push(parents.join(''));
  return rows;
}

/** A grid of characters that can also be drawn on dot by dot. */
class Canvas {
  readonly dotsPerColumn: number;
  readonly dotsPerRow: number;
  readonly dotsWide: number;
  readonly dotsHigh: number;
  private readonly cells: { text: string; layer: Layer; dots: number }[][];

  constructor(
    columns: number,
    private readonly rows: number,
    private readonly unicode: boolean,
    private readonly signs: Signs,
  ) {
    this.dotsPerColumn = unicode ? 2 : 1;
    this.dotsPerRow = unicode ? 4 : 1;
    this.dotsWide = columns * this.dotsPerColumn;
    this.dotsHigh = rows * this.dotsPerRow;
    this.cells = Array.from({ length: rows }, () =>
      Array.from({ length: columns }, () => ({ text: ' ', layer: 'axis' as Layer, dots: 0 })),
    );
  }

  verticalLine(column: number, text: string, layer: Layer): void {
    for (const row of this.cells) Object.assign(row[column]!, { text, layer });
  }

  /** Shades the cells of a column whose middle lies between two dot rows; at least the cell of the middle. */
  band(column: number, top: number, bottom: number, shade: string): void {
    const first = Math.ceil(top / this.dotsPerRow - 0.5);
    const last = Math.floor(bottom / this.dotsPerRow - 0.5);
    for (let row = Math.max(0, first); row <= Math.min(this.rows - 1, last); row++) {
      Object.assign(this.cells[row]![column]!, { text: shade, layer: 'band' });
    }
  }

  /** A line through points in dots; a point that is not finite breaks it, a lone point is a dot. */
  polyline(points: [number, number][], layer: 'history' | 'median'): void {
    let previous: [number, number] | undefined;
    for (const point of points) {
      if (!Number.isFinite(point[1])) {
        previous = undefined;
        continue;
      }
      this.segment(previous ?? point, point, layer);
      previous = point;
    }
  }

  private segment([x0, y0]: [number, number], [x1, y1]: [number, number], layer: 'history' | 'median'): void {
    const steps = Math.max(1, Math.ceil(Math.max(Math.abs(x1 - x0), Math.abs(y1 - y0))));
    for (let i = 0; i <= steps; i++)
      this.dot(Math.round(x0 + ((x1 - x0) * i) / steps), Math.round(y0 + ((y1 - y0) * i) / steps), layer);
  }

  private dot(x: number, y: number, layer: 'history' | 'median'): void {
    const cell = this.cells[Math.floor(y / this.dotsPerRow)]?.[Math.floor(x / this.dotsPerColumn)];
    if (!cell) return;
    if (!this.unicode) {
      Object.assign(cell, { text: this.signs[layer], layer });
      return;
    }
    if (cell.layer !== layer) cell.dots = 0;
    cell.dots |= DOTS[y % 4]![(x % 2) as 0 | 1];
    Object.assign(cell, { text: String.fromCharCode(0x2800 + cell.dots), layer });
  }

  sign(x: number, y: number, text: string, layer: Layer): void {
    if (!Number.isFinite(y)) return;
    const cell =
      this.cells[Math.floor(Math.round(y) / this.dotsPerRow)]?.[Math.floor(Math.round(x) / this.dotsPerColumn)];
    if (cell) Object.assign(cell, { text, layer });
  }

  row(row: number, color: boolean): string {
    let out = '';
    let run = '';
    let layer: Layer = 'axis';
    const flush = () => {
      out += run.trim() === '' ? run : paint(run, layer, color);
      run = '';
    };
    const cells = this.cells[row]!;
    const last = cells.findLastIndex((cell) => cell.text !== ' ');
    for (let c = 0; c <= last; c++) {
      const cell = cells[c]!;
      if (cell.layer !== layer && cell.text !== ' ') {
        flush();
        layer = cell.layer;
      }
      run += cell.text;
    }
    flush();
    return out;
  }
}

function paint(text: string, layer: Layer, color: boolean): string {
  return color && COLORS[layer] ? `${COLORS[layer]}${text}${RESET}` : text;
}

function interpolate(values: Float64Array, at: number): number {
  const low = Math.floor(at);
  const high = Math.min(low + 1, values.length - 1);
  return values[low]! + (at - low) * (values[high]! - values[low]!);
}

function lastFinite(values: Float64Array): number {
  let i = values.length - 1;
  while (i >= 0 && Number.isNaN(values[i]!)) i--;
  return i;
}

/** What the terminal can show: width, character set and colours, from the stream and the environment. */
export function terminalAbilities(
  stream: { isTTY?: boolean; columns?: number },
  env: Record<string, string | undefined> = process.env,
): { width: number; unicode: boolean; color: boolean } {
  const columns = stream.columns ?? Number(env.COLUMNS);
  const locale = env.LC_ALL || env.LC_CTYPE || env.LANG;
  // Containers often set no locale at all, and their terminals are UTF-8 all the same.
  const unicode = env.TERM !== 'dumb' && (locale === undefined || locale === '' || /utf-?8/i.test(locale));
  const color = env.NO_COLOR ? false : Boolean(stream.isTTY) && env.TERM !== 'dumb';
  return { width: Math.min(140, Math.max(40, columns > 0 ? columns : 80)), unicode, color };
}
