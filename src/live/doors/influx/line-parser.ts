/**
 * InfluxDB line protocol: `measurement,tag=value field=1.5,other=2i 1700000000000000000`. One point a numeric or boolean
 * field. Rules and the words of the errors as in InfluxDB's own parser, which clients' logs and tests look for.
 * https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
 */
import type { ColumnStore } from '../../../forecast/series/columns.js';
import { FieldError, readNumber } from './field-value.js';
import { type SeriesKey, SeriesKeys } from './series-keys.js';

/** Milliseconds of one unit of a timestamp; below one millisecond as what it is divided by. */
export const PRECISIONS = { ns: 1e-6, us: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;
export type Precision = keyof typeof PRECISIONS;

/** A line that was not understood. */
export interface BadLine {
  /** 1-based. */
  line: number;
  text: string;
  message: string;
}

/** Bad lines that are told one by one; further ones are counted. */
const MAX_BAD = 100;
const MAX_TEXT = 300;

/** Earliest and latest time of InfluxDB: 64-bit nanoseconds. */
const MAX_MS = 9_223_372_036_854;

const TAB = 9;
const NEWLINE = 10;
const RETURN = 13;
const SPACE = 32;
const QUOTE = 34;
const HASH = 35;
const COMMA = 44;
const BACKSLASH = 92;
const EQUALS = 61;

/** What one body brought. */
export class LineBatch {
  readonly bad: BadLine[] = [];
  badLines = 0;
  lines = 0;
  /** Fields that hold text: understood, but nothing to forecast. */
  texts = 0;

  constructor(
    readonly points: ColumnStore,
    readonly precision: Precision,
    /** Time of lines that have none, milliseconds since 1970. */
    readonly now: number,
    /** Begin of every series name. */
    readonly prefix: string,
  ) {}

  /** @param text the line, one character a byte */
  fail(line: number, text: string, message: string): void {
    this.badLines++;
    if (this.bad.length >= MAX_BAD) return;
    const shown = Buffer.from(text.slice(0, MAX_TEXT), 'latin1').toString('utf8').replace(/\r$/, '');
    this.bad.push({ line, text: shown, message });
  }
}

/** Parses bodies one after another; remembers the series keys that it has seen, because the next body repeats them. */
export class LineParser {
  readonly keys = new SeriesKeys();
  /** The line that was read last: its fields that are numbers, its fields that are text, its time. */
  private readonly names: string[] = [];
  private readonly values: number[] = [];
  private count = 0;
  private texts = 0;
  private time = 0;

  /**
   * Parses complete lines of `text` (one character a byte) into the batch. Returns where it stopped: the end, or the begin
   * of a last line that is not `final` yet.
   */
  parse(text: string, batch: LineBatch, final: boolean): number {
    const end = text.length;
    const keys = this.keys.under(batch.prefix);
    let at = 0;
    while (at < end) {
      let c = text.charCodeAt(at);
      while (c === SPACE || c === TAB || c === NEWLINE || c === RETURN) {
        if (c === NEWLINE) batch.lines++;
        c = ++at < end ? text.charCodeAt(at) : 0;
      }
      if (at >= end) return end;
      const begin = at;
      if (c === HASH) {
        at = text.indexOf('\n', at) + 1;
        if (at === 0) return final ? end : begin;
        batch.lines++;
        continue;
      }
      try {
        at = this.line(text, begin, end, batch, keys);
        // Beyond the end: the line is cut off by the end of this piece.
        if (at > end && !final) return begin;
        this.keep(batch);
        batch.lines += 1 + (this.texts > 0 ? newlinesBetween(text, begin, at - 1) : 0);
      } catch (error) {
        if (!(error instanceof FieldError)) throw error;
        // What follows may still make it a good one.
        if (!final && !endsWithin(text, begin)) return begin;
        at = text.indexOf('\n', begin) + 1 || end + 1;
        batch.fail(++batch.lines, text.slice(begin, at - 1), error.message);
      }
    }
    return end;
  }

  /** The points of the last line join the batch: only now, because a bad line leaves nothing, not even a name. */
  private keep(batch: LineBatch): void {
    for (let i = 0; i < this.count; i++) batch.points.push(this.names[i]!, this.time, this.values[i]!, batch.lines + 1);
    batch.texts += this.texts;
  }

  /** Reads the line that begins at `at`; returns the place behind its newline, or beyond `end` when there is none. */
  private line(text: string, at: number, end: number, batch: LineBatch, keys: Map<string, SeriesKey>): number {
    const begin = at;
    this.count = 0;
    this.texts = 0;
    let c = 0;
    for (; at < end; at++) {
      c = text.charCodeAt(at);
      if (c === BACKSLASH) at++;
      else if (c === SPACE || c === NEWLINE) break;
    }
    if (c !== SPACE || at >= end) {
      throw new FieldError(text.charCodeAt(begin) === COMMA ? 'missing measurement' : 'missing fields');
    }
    const raw = text.slice(begin, at);
    const key = keys.get(raw) ?? this.keys.add(keys, raw, batch.prefix);
    at = skipSpaces(text, at, end);
    for (;;) {
      at = this.field(text, at, end, key);
      c = at < end ? text.charCodeAt(at) : NEWLINE;
      if (c !== COMMA) break;
      at++;
    }
    if (c !== SPACE && c !== NEWLINE && c !== RETURN) throw new FieldError('invalid field format');
    at = skipSpaces(text, at, end);
    this.time = batch.now;
    if (at < end && text.charCodeAt(at) !== NEWLINE) {
      const time = readTime(text, at, end, batch.precision);
      this.time = time.ms;
      at = skipSpaces(text, time.end, end);
      if (at < end && text.charCodeAt(at) !== NEWLINE) throw new FieldError('bad timestamp');
    }
    return at + 1;
  }

  /** Reads `name=value`; returns the place behind it. */
  private field(text: string, at: number, end: number, key: SeriesKey): number {
    const begin = at;
    let c = 0;
    for (; at < end; at++) {
      c = text.charCodeAt(at);
      if (c === BACKSLASH) at++;
      else if (c === EQUALS || c === SPACE || c === COMMA || c === NEWLINE) break;
    }
    if (at >= end || c !== EQUALS) {
      throw new FieldError(this.count + this.texts === 0 && at === begin ? 'missing fields' : 'invalid field format');
    }
    if (at === begin) throw new FieldError('missing field key');
    const raw = text.slice(begin, at++);
    if (text.charCodeAt(at) === QUOTE) {
      this.texts++;
      return endOfString(text, at + 1, end);
    }
    const number = readNumber(text, at, end);
    this.names[this.count] = key.fields.get(raw) ?? this.keys.addField(key, raw);
    this.values[this.count++] = number.value;
    return number.end;
  }
}

function skipSpaces(text: string, at: number, end: number): number {
  while (at < end) {
    const c = text.charCodeAt(at);
    if (c !== SPACE && c !== RETURN) break;
    at++;
  }
  return at;
}

/** Place behind the closing quote. */
function endOfString(text: string, at: number, end: number): number {
  for (; at < end; at++) {
    const c = text.charCodeAt(at);
    if (c === BACKSLASH) at++;
    else if (c === QUOTE) return at + 1;
  }
  throw new FieldError('unbalanced quotes');
}

/** Whether the line that begins at `at` has a newline outside of quotes. */
function endsWithin(text: string, at: number): boolean {
  let quoted = false;
  for (; at < text.length; at++) {
    const c = text.charCodeAt(at);
    if (c === BACKSLASH) at++;
    else if (c === QUOTE) quoted = !quoted;
    else if (c === NEWLINE && !quoted) return true;
  }
  return false;
}

const stamp = { ms: 0, end: 0 };

/** A timestamp as milliseconds, rounded down. The result is one object that the next call overwrites. */
function readTime(text: string, at: number, end: number, precision: Precision): { ms: number; end: number } {
  const negative = text.charCodeAt(at) === 45;
  if (negative) at++;
  const start = at;
  while (at < end && isDigit(text.charCodeAt(at))) at++;
  const digits = at - start;
  if (digits === 0) throw new FieldError('bad timestamp');
  if (digits > 19) throw outOfRange();
  // Nanoseconds of today do not fit a float: the digits below a millisecond are left out before there is a number.
  const below = precision === 'ns' ? 6 : precision === 'us' ? 3 : 0;
  let whole = 0;
  let rest = 0;
  for (let i = start; i < at; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (at - i > below) whole = whole * 10 + digit;
    else rest += digit;
  }
  const ms = (below > 0 ? whole : whole * PRECISIONS[precision]) * (negative ? -1 : 1) - (negative && rest > 0 ? 1 : 0);
  if (Math.abs(ms) > MAX_MS) throw outOfRange();
  stamp.ms = ms;
  stamp.end = at;
  return stamp;
}

const isDigit = (c: number) => c >= 48 && c <= 57;
const outOfRange = () => new FieldError('time outside range -9223372036854775806 - 9223372036854775806');

/** Text between quotes may hold newlines. */
function newlinesBetween(text: string, from: number, to: number): number {
  let count = 0;
  for (let i = text.indexOf('\n', from); i >= 0 && i < to; i = text.indexOf('\n', i + 1)) count++;
  return count;
}
