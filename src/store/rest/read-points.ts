import { setImmediate as turn } from 'node:timers/promises';
import type { FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { ColumnStore } from '../../forecast/series/columns.js';
import { readCsvStream } from '../../forecast/series/csv.js';
import { TimestampParser } from '../../forecast/time/timestamp.js';
import { AdderError } from '../../platform/errors.js';
import { fieldOf, RequestError } from '../../platform/request-error.js';
import { frameLine, ownPointsBody, pointLine, pointsBody } from './schemas.js';

/** Lines between two turns of the event loop. */
const SLICE = 5000;

const CSV_PIECE = 1 << 20;

/**
 * The points of a request body: JSON by column, NDJSON by line, CSV. Errors name the series and the index, or the line.
 *
 * @param own the series of a path, for bodies that name none
 */
export async function readPoints(
  request: FastifyRequest,
  own: string | undefined,
  maxPoints: number,
): Promise<ColumnStore> {
  const body = request.body as unknown;
  if (body instanceof Uint8Array) return readPointBytes(body, mediaType(request), own, maxPoints);
  const store = new ColumnStore();
  readColumns(body, own, store);
  if (store.length > maxPoints) throw tooMany(maxPoints);
  return store;
}

/** The type of a body, without parameters. */
export const mediaType = (request: FastifyRequest) =>
  (request.headers['content-type'] ?? '').split(';', 1)[0]!.trim().toLowerCase();

/** Whether points are read from bytes of this type. */
export const isPointType = (type: string) => type === 'text/csv' || LINES.test(type);

const LINES = /^application\/(x-)?(ndjson|jsonl|jsonlines)$/;

/** The points of NDJSON or CSV; as `readPoints`. */
export async function readPointBytes(
  bytes: Uint8Array,
  type: string,
  own: string | undefined,
  maxPoints: number,
): Promise<ColumnStore> {
  if (!isPointType(type)) throw noPointType(type);
  const store = new ColumnStore();
  if (type === 'text/csv') await readCsvBody(bytes, own, store, maxPoints);
  else await readLines(bytes, own, store, maxPoints);
  if (store.length > maxPoints) throw tooMany(maxPoints);
  return store;
}

export const noPointType = (type: string) =>
  new RequestError({
    status: 415,
    code: 'UNSUPPORTED_MEDIA',
    message: `points do not come as ${type || 'nothing'}`,
    where: { field: 'content-type' },
    fix: 'send application/json, application/x-ndjson or text/csv',
  });

function readColumns(body: unknown, own: string | undefined, store: ColumnStore): void {
  const columns: z.output<typeof pointsBody>['series'] =
    own === undefined ? parse(pointsBody, body).series : [{ id: own, ...parse(ownPointsBody, body) }];
  columns.forEach(({ id, timestamps, values }, s) => {
    const field = own === undefined ? `series[${s}].timestamps` : 'timestamps';
    const times = timestamps as ArrayLike<unknown> | undefined;
    if (typeof times !== 'object' || times === null || times.length !== values.length) {
      throw new RequestError({
        status: 422,
        code: 'LENGTH_MISMATCH',
        message: `${times?.length ?? 'no'} timestamps for ${values.length} values`,
        where: { series: id, field },
        index: s,
        fix: 'give one timestamp for each value',
      });
    }
    const read = instantReader();
    for (let i = 0; i < values.length; i++) {
      store.push(
        id,
        at({ series: id, field: `${field}[${i}]` }, () => read(times[i])),
        values[i]!,
        i,
      );
    }
  });
}

async function readLines(
  bytes: Uint8Array,
  own: string | undefined,
  store: ColumnStore,
  maxPoints: number,
): Promise<void> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const readers = new Map<string, (value: unknown) => number>();
  let line = 0;
  for (let from = 0; from < buffer.length; ) {
    const end = buffer.indexOf(10, from);
    const text = buffer.toString('utf8', from, end < 0 ? buffer.length : end).trim();
    from = end < 0 ? buffer.length : end + 1;
    line++;
    if (text === '') continue;
    at({ line }, () => {
      const parsed = parseJson(text);
      const { id, time, value } = isFrame(parsed) ? frame(parsed) : point(parsed);
      const name = id ?? own;
      if (name === undefined || (own !== undefined && name !== own)) {
        throw new AdderError({
          code: 'BAD_SERIES',
          message:
            own === undefined ? 'this point names no series' : `this point belongs to another series than ${own}`,
          where: { field: 'series' },
          fix: own === undefined ? 'add "series"' : 'send it to POST /v1/points',
        });
      }
      const read = readers.get(name) ?? instantReader();
      readers.set(name, read);
      store.push(name, read(time), value ?? Number.NaN, line);
    });
    if (store.length > maxPoints) throw tooMany(maxPoints);
    if (line % SLICE === 0) await turn();
  }
}

const isFrame = (value: unknown) => typeof value === 'object' && value !== null && 'ds' in value;

function frame(line: unknown) {
  const { unique_id: id, ds: time, y: value } = parse(frameLine, line);
  return { id, time, value };
}

function point(line: unknown) {
  const { series: id, timestamp: time, value } = parse(pointLine, line);
  return { id, time, value };
}

async function readCsvBody(
  bytes: Uint8Array,
  own: string | undefined,
  store: ColumnStore,
  maxPoints: number,
): Promise<void> {
  async function* pieces() {
    for (let i = 0; i < bytes.length; i += CSV_PIECE) {
      yield bytes.subarray(i, i + CSV_PIECE);
      await turn();
    }
  }
  const table = await readCsvStream(pieces(), 'body', { maxRows: maxPoints });
  if (table.times.kind === 'integer') {
    throw new AdderError({
      code: 'BAD_TIMESTAMP',
      message: 'ds holds plain counts, which are no instants',
      where: { field: 'ds' },
      fix: 'write times as 2024-01-31 or 2024-01-31T13:45:00Z, or as Unix time',
    });
  }
  if (own === undefined && !table.hasId) {
    throw new AdderError({
      code: 'BAD_SERIES',
      message: 'the CSV has no column unique_id',
      where: { line: 1, field: 'unique_id' },
      fix: 'add it, or send the points to POST /v1/series/NAME/points',
    });
  }
  const from = table.store;
  for (let i = 0; i < from.length; i++) {
    const id = table.hasId ? from.ids[from.series[i]!]! : own!;
    if (own !== undefined && id !== own) {
      throw new AdderError({
        code: 'BAD_SERIES',
        message: `this row belongs to another series than ${own}`,
        where: { line: from.line[i]!, series: id },
        fix: 'send it to POST /v1/points',
      });
    }
    store.push(id, Math.round(from.time[i]!), from.value[i]!, from.line[i]!);
  }
}

/** Reads the times of one series: numbers are milliseconds, text as everywhere in Adder. */
export function instantReader(): (value: unknown) => number {
  const parser = new TimestampParser();
  return (value) => {
    if (typeof value === 'number') return Math.round(value);
    if (typeof value !== 'string') {
      throw new AdderError({
        code: 'BAD_TIMESTAMP',
        message: `expected a time, got ${value === null ? 'null' : typeof value}`,
        fix: 'send milliseconds since 1970 or an ISO 8601 date',
      });
    }
    const ms = parser.parse(value);
    if (parser.kind === 'integer') {
      throw new AdderError({
        code: 'BAD_TIMESTAMP',
        message: `${JSON.stringify(value)} is a plain count, not an instant`,
        fix: 'send milliseconds since 1970 as a number, or an ISO 8601 date',
      });
    }
    return Math.round(ms);
  };
}

/** The result of `work`; what it throws gets the place. */
function at<T>(place: { series?: string; field?: string; line?: number }, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof AdderError)) throw error;
    // What validation found names its field only in its issues.
    const field = error instanceof RequestError && error.issues[0] ? fieldOf(error.issues[0].path) : undefined;
    throw error.at({ ...place, ...(field ? { field } : {}) });
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new AdderError({ code: 'BAD_JSON', message: (error as Error).message, fix: 'send one JSON object a line' });
  }
}

function parse<T extends z.ZodType>(schema: T, value: unknown): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issues = result.error.issues
    .slice(0, 20)
    .map(({ path, message }) => ({ path: path as (string | number)[], message }));
  throw new RequestError({
    status: 422,
    code: 'INVALID_REQUEST',
    message: issues[0]!.message,
    issues,
    fix: 'see /docs for the fields of this request',
  });
}

const tooMany = (limit: number) =>
  new RequestError({
    status: 422,
    code: 'TOO_MUCH',
    message: `more than ${limit} points in one request`,
    fix: 'send them in parts',
  });
