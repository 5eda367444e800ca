import { setImmediate as turn } from 'node:timers/promises';
import { ColumnStore } from '../../../forecast/series/columns.js';
import { LineBatch, type LineParser, type Precision } from './line-parser.js';

/** Bytes between two turns of the event loop: about 10 ms of parsing. */
const PIECE = 1 << 20;

export interface LineOptions {
  precision: Precision;
  /** Time of lines that have none, milliseconds since 1970; the present by default. */
  now?: number;
  /** Begin of every series name. */
  prefix?: string;
  /** Points in one body. Stops there, with `badLines` untouched; the caller compares `points.length`. */
  maxPoints?: number;
}

/** Parses a body of line protocol without holding the event loop. */
export async function parseLines(parser: LineParser, body: Uint8Array, options: LineOptions): Promise<LineBatch> {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const batch = new LineBatch(new ColumnStore(), options.precision, options.now ?? Date.now(), options.prefix ?? '');
  let size = PIECE;
  for (let from = 0; from < bytes.length; ) {
    const to = Math.min(bytes.length, from + size);
    const read = parser.parse(bytes.toString('latin1', from, to), batch, to === bytes.length);
    // A line longer than a piece needs a larger one.
    size = read === 0 ? size * 2 : PIECE;
    from += read;
    if (batch.points.length > (options.maxPoints ?? Number.POSITIVE_INFINITY)) break;
    if (from < bytes.length) await turn();
  }
  return batch;
}
