import type { Readable } from 'node:stream';
import { AdderError } from '../../../platform/errors.js';
import { type Issue, RequestError } from '../../../platform/request-error.js';
import type { Ingest, Writer } from '../../ingest.js';
import { CommitPump } from './commit-pump.js';
import { JsonPoints } from './json-points.js';
import { LineSplitter } from './line-splitter.js';

/** Refused lines that are told one by one; further ones are counted. */
const TOLD = 20;

export interface NdjsonOptions {
  ingest: Ingest;
  writer: Writer;
  stream: string | undefined;
  /** Lines of the stream that came before this body. */
  after: bigint;
  onProgress(told: { committed: number } | { line: number; code: string; message: string }): void;
}

export interface NdjsonSummary {
  /** Lines of this body. */
  lines: number;
  points: number;
  inserted: number;
  updated: number;
  unchanged: number;
}

/** Reads one body of NDJSON lines and commits its points as they come. Lines are counted from `after` + 1. */
export class NdjsonStream {
  private readonly points = new JsonPoints();
  private readonly splitter = new LineSplitter();
  private readonly issues: Issue[] = [];
  private refused = 0;
  private lines = 0;
  private flushed = 0;
  private readonly summary: NdjsonSummary = { lines: 0, points: 0, inserted: 0, updated: 0, unchanged: 0 };
  private readonly pump: CommitPump;

  constructor(private readonly options: NdjsonOptions) {
    this.pump = new CommitPump({
      ingest: options.ingest,
      writer: options.writer,
      stream: options.stream,
      onCommitted: (sequence, { inserted, updated, unchanged }) => {
        this.summary.inserted += inserted;
        this.summary.updated += updated;
        this.summary.unchanged += unchanged;
        options.onProgress({ committed: Number(sequence) });
      },
      onRejected: (line, { code, message }) => this.refuse(line, code, message),
    });
  }

  /**
   * Resolves when the body has ended and all of it is committed. Lines that cannot be kept are left out: then it throws
   * `LINES_REFUSED` after the others are committed. Throws RequestErrors when the stream cannot go on.
   */
  async read(body: Readable): Promise<NdjsonSummary> {
    try {
      // A body that is destroyed takes the connection with it, and the answer.
      for await (const piece of body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        for (const line of this.splitter.push(piece)) this.take(line);
        this.flush();
        await this.pump.room();
      }
      const last = this.splitter.last();
      if (last !== undefined) this.take(last);
      this.flush();
    } catch (error) {
      // What came before is committed if it can be.
      this.flush();
      await this.pump.end().catch(() => {});
      throw broken(error);
    }
    await this.pump.end();
    if (this.refused > 0) throw this.refusal();
    return { ...this.summary, lines: this.lines };
  }

  private flush(): void {
    if (this.lines === this.flushed) return;
    this.flushed = this.lines;
    this.pump.flush(this.position);
  }

  private get position(): bigint {
    return this.options.after + BigInt(this.lines);
  }

  private take(text: string): void {
    this.lines++;
    if (text.trim() === '') return;
    const line = Number(this.position);
    try {
      this.points.read(parse(text), (series, time, value) => {
        this.summary.points++;
        this.pump.add(series, time, value, line);
      });
    } catch (error) {
      if (!(error instanceof AdderError)) throw error;
      this.refuse(line, error.code, error.message);
    }
  }

  private refuse(line: number, code: string, message: string): void {
    if (this.refused++ >= TOLD) return;
    this.issues.push({ path: ['line', line], message });
    this.options.onProgress({ line, code, message });
  }

  private refusal(): RequestError {
    return new RequestError({
      status: 422,
      code: 'LINES_REFUSED',
      message: `${this.refused} of ${this.lines} lines were refused, the others are committed`,
      issues: this.issues,
      fix: 'correct these lines and send them again',
    });
  }
}

/** What ended a body before its end, as an error of the request where it is one. */
function broken(error: unknown): unknown {
  const code = String((error as NodeJS.ErrnoException).code ?? '');
  const compression = code.startsWith('Z_');
  if (error instanceof AdderError || !(compression || /^(ERR_STREAM|ECONN|EPIPE|ABORT_ERR)/.test(code))) return error;
  return new RequestError({
    status: 400,
    code: compression ? 'BAD_COMPRESSION' : 'STREAM_BROKEN',
    message: compression ? 'the body is not validly compressed' : 'the stream broke off',
    fix: 'ask GET /v1/live/streams/NAME what is committed and go on from there',
    cause: error,
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new AdderError({ code: 'BAD_JSON', message: (error as Error).message, fix: 'send one JSON object a line' });
  }
}
