import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { CsvError, type Parser, parse } from 'csv-parse';
import { AdderError, oneLine, quote, toAdderError } from '../../platform/errors.js';
import { TimestampParser } from '../time/timestamp.js';
import { delimiterOf, refuseBinary, Utf8Check } from './bytes.js';
import { ColumnStore } from './columns.js';

/** Names of the columns in the header; matched without regard to case and surrounding blanks. */
export interface ColumnNames {
  id: string;
  time: string;
  target: string;
}

export interface CsvOptions {
  columns?: Partial<ColumnNames>;
  /** More data rows than this are an error. */
  maxRows?: number;
  /** Called about every million rows. */
  onProgress?: (rows: number) => void;
}

/** What was read, still in file order. */
export interface CsvTable {
  file: string;
  store: ColumnStore;
  times: TimestampParser;
  hasId: boolean;
  notices: string[];
}

/** 50 million points take about 1 GB as columns; more belongs into the service's store, not into one file. */
export const MAX_ROWS = 50_000_000;

/** Values beyond this would overflow when squared sums are formed. */
const MAX_MAGNITUDE = 1e100;

const MISSING = new Set(['', 'na', 'n/a', 'nan', 'null', 'none', '-nan']);
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;

/**
 * Reads `unique_id,ds,y` rows from a UTF-8 CSV file (`-` reads standard input) into typed columns, streaming: memory is
 * 20 bytes a row plus one copy of each distinct id. Accepts a byte-order mark, CRLF, quotes, blank lines, `;` or tab
 * between fields, columns in any order and further columns (named in a notice). Empty, NA, NaN, null and None in `y` are
 * missing values.
 *
 * Every defect is an AdderError that names file, line and field.
 */
export async function readCsv(path: string, options: CsvOptions = {}): Promise<CsvTable> {
  const file = path === '-' ? 'standard input' : path;
  const input: Readable = path === '-' ? process.stdin : createReadStream(path, { highWaterMark: 1 << 20 });
  try {
    return await readCsvStream(input, file, options);
  } catch (thrown) {
    throw toAdderError(thrown, { file });
  } finally {
    if (path !== '-') input.destroy();
  }
}

/** The same for any stream of bytes; `file` is only used in messages. */
export async function readCsvStream(
  input: AsyncIterable<Uint8Array>,
  file: string,
  options: CsvOptions = {},
): Promise<CsvTable> {
  const reader = new RowReader(file, options);
  const utf8 = new Utf8Check();
  let parser: Parser | undefined;
  let failure: unknown;
  let head: Buffer = Buffer.alloc(0);

  const start = (): Parser => {
    const created = parse({
      bom: true,
      delimiter: delimiterOf(head),
      trim: true,
      skip_empty_lines: true,
      relax_column_count: true,
      max_record_size: 1 << 20,
      // Rows are taken here and dropped at once, so that nothing piles up in the stream's output.
      on_record: (record: string[], context) => {
        reader.row(record, context.lines);
        return null;
      },
    });
    created.on('error', (error) => {
      failure ??= error;
    });
    created.resume();
    return created;
  };
  const write = async (chunk: Buffer): Promise<void> => {
    if (failure !== undefined) throw failure;
    const target = parser!;
    if (!target.write(chunk) && failure === undefined) {
      await new Promise<void>((resolve) => {
        target.once('drain', resolve);
        target.once('error', () => resolve());
        target.once('close', resolve);
      });
    }
    if (failure !== undefined) throw failure;
  };

  try {
    for await (const piece of input) {
      const chunk = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
      if (parser) {
        utf8.push(chunk);
        await write(chunk);
        continue;
      }
      // The delimiter is read off the header line, so wait until that is complete.
      head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
      refuseBinary(head);
      utf8.push(chunk);
      if (!head.subarray(3).includes(10) && head.length < 1 << 20) continue;
      parser = start();
      await write(head);
    }
    utf8.end();
    if (!parser) {
      parser = start();
      await write(head);
    }
    const ended = parser;
    await new Promise<void>((resolve) => {
      ended.once('close', resolve);
      ended.once('error', () => resolve());
      ended.end();
    });
    if (failure !== undefined) throw failure;
  } catch (thrown) {
    throw translate(thrown);
  } finally {
    parser?.destroy();
  }
  return reader.finish();
}

/** What csv-parse found wrong, in our words; what our row reader threw passes through. */
function translate(thrown: unknown): unknown {
  if (!(thrown instanceof CsvError)) return thrown;
  const { code, lines, message } = thrown as CsvError & { lines?: number };
  const where = lines === undefined ? {} : { line: lines };
  if (code === 'CSV_MAX_RECORD_SIZE') {
    return new AdderError({
      code: 'BAD_CSV',
      message: 'a row is longer than 1 MiB',
      where,
      fix: 'check for an unclosed quote',
    });
  }
  return new AdderError({
    code: 'BAD_CSV',
    message: oneLine(message)
      .replace(/ (at|on) line \d+/, '')
      .slice(0, 160),
    where,
    fix: 'check the quotes of this row; a quote inside a quoted field is doubled',
    cause: thrown,
  });
}

/** Takes parsed rows: the header first, then data into the columns. */
class RowReader {
  readonly store = new ColumnStore();
  readonly times = new TimestampParser();
  readonly notices: string[] = [];
  private header: { id: number; time: number; target: number; width: number } | undefined;
  private readonly names: ColumnNames;
  private readonly maxRows: number;

  constructor(
    private readonly file: string,
    private readonly options: CsvOptions,
  ) {
    this.names = { id: 'unique_id', time: 'ds', target: 'y', ...options.columns };
    this.maxRows = options.maxRows ?? MAX_ROWS;
  }

  row(record: string[], line: number): void {
    if (!this.header) {
      this.readHeader(record, line);
      return;
    }
    const { id, time, target, width } = this.header;
    if (record.length !== width) {
      throw new AdderError({
        code: 'BAD_ROW',
        message: `the row has ${record.length} ${record.length === 1 ? 'field' : 'fields'}, the header ${width}`,
        where: { line },
        fix:
          record.length > width
            ? 'quote fields that hold the separator, and write decimals with a point'
            : 'complete the row or delete it',
      });
    }
    if (this.store.length >= this.maxRows) {
      throw new AdderError({
        code: 'TOO_MANY_ROWS',
        message: `the file has more than ${this.maxRows.toLocaleString('en')} data rows`,
        where: { line },
        fix: 'split it by series, or keep only the recent part of each',
      });
    }
    const series = id < 0 ? '' : record[id]!;
    if (id >= 0 && series === '') {
      throw new AdderError({
        code: 'NO_ID',
        message: 'the series id is empty',
        where: { line, field: this.names.id },
        fix: 'name the series of this row',
      });
    }
    let t: number;
    try {
      t = this.times.parse(record[time]!);
    } catch (thrown) {
      throw thrown instanceof AdderError ? thrown.at({ line, field: this.names.time }) : thrown;
    }
    this.store.push(series, t, parseValue(record[target]!, line, this.names.target), line);
    if (this.options.onProgress && this.store.length % 1_000_000 === 0) this.options.onProgress(this.store.length);
  }

  private readHeader(record: string[], line: number): void {
    const find = (name: string) => {
      const hits = record.flatMap((cell, i) => (cell.trim().toLowerCase() === name.trim().toLowerCase() ? [i] : []));
      if (hits.length > 1) {
        throw new AdderError({
          code: 'BAD_HEADER',
          message: `the header names ${quote(name)} twice`,
          where: { line },
          fix: 'remove one of the columns',
        });
      }
      return hits[0] ?? -1;
    };
    const header = {
      id: find(this.names.id),
      time: find(this.names.time),
      target: find(this.names.target),
      width: record.length,
    };
    const missing = [...(header.time < 0 ? [this.names.time] : []), ...(header.target < 0 ? [this.names.target] : [])];
    // An id column that was asked for by name must be there; the default one is optional.
    if (header.id < 0 && this.options.columns?.id !== undefined) missing.push(this.names.id);
    if (missing.length > 0) {
      throw new AdderError({
        code: 'BAD_HEADER',
        message: `no column ${missing.map((name) => quote(name)).join(' and ')} in the header ${quote(record.join(','), 60)}`,
        where: { line },
        fix: 'the first line must name the columns ds,y (and unique_id for several series), or name yours with --time-col, --target-col, --id-col',
      });
    }
    const used = new Set([header.id, header.time, header.target]);
    const ignored = record.filter((_, i) => !used.has(i));
    if (ignored.length > 0)
      this.notices.push(
        `ignored ${ignored.length === 1 ? 'column' : 'columns'} ${ignored
          .slice(0, 8)
          .map((c) => quote(c))
          .join(', ')}${ignored.length > 8 ? ', …' : ''}`,
      );
    this.header = header;
  }

  finish(): CsvTable {
    if (!this.header) {
      throw new AdderError({
        code: 'EMPTY_FILE',
        message: 'the file is empty',
        where: { file: this.file },
        fix: 'give a CSV file with the header ds,y and at least 3 rows',
      });
    }
    if (this.store.length === 0) {
      throw new AdderError({
        code: 'EMPTY_FILE',
        message: 'the file has a header but no rows',
        where: { file: this.file },
        fix: 'add at least 3 rows',
      });
    }
    return { file: this.file, store: this.store, times: this.times, hasId: this.header.id >= 0, notices: this.notices };
  }
}

/** The number in a field, NaN for the usual signs of a missing one. */
function parseValue(text: string, line: number, field: string): number {
  if (NUMBER.test(text)) {
    const value = Number(text);
    if (Math.abs(value) <= MAX_MAGNITUDE) return value;
    throw new AdderError({
      code: 'TOO_LARGE',
      message: `${quote(text)} is beyond 1e100`,
      where: { line, field },
      fix: 'rescale the values',
    });
  }
  if (MISSING.has(text.toLowerCase())) return Number.NaN;
  if (/^[+-]?inf(inity)?$/i.test(text)) {
    throw new AdderError({
      code: 'NOT_FINITE',
      message: `${quote(text)} is not finite`,
      where: { line, field },
      fix: 'leave the field empty if the value is missing',
    });
  }
  const comma = /^[+-]?[\d.\s]*,\d+$/.test(text) || /^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$/.test(text);
  throw new AdderError({
    code: 'BAD_NUMBER',
    message: `${quote(text)} is not a number`,
    where: { line, field },
    fix: comma
      ? 'write 1234.5, with a decimal point and without thousands separators'
      : 'leave the field empty if the value is missing',
  });
}
