import { setTimeout as sleep } from 'node:timers/promises';
import { ColumnStore } from '../../../forecast/series/columns.js';
import { asRequestError } from '../../../http/problem.js';
import type { RequestError } from '../../../platform/request-error.js';
import type { Ack, Ingest, Rejection, Writer } from '../../ingest.js';

/** Points that may wait behind those that are being committed; then a stream is read no further. */
const HIGH_WATER = 20_000;
/** How long a commit is tried again while the store is away or busy. */
const PATIENCE_MS = 30_000;

export interface PumpOptions {
  ingest: Ingest;
  writer: Writer;
  /** Name under which sequence numbers are kept, for clients that resume. */
  stream: string | undefined;
  /** Everything up to this sequence number is committed. */
  onCommitted(sequence: bigint, ack: Ack): void;
  /** A point that was not kept; `tag` is what `add` was given. */
  onRejected(tag: number, rejection: Rejection): void;
  /** The stream has ended, and what came since the last commit is not kept; `room` and `end` throw the same error. */
  onFailed?(error: RequestError): void;
}

/**
 * Commits what a stream brings: while one batch is being committed the next gathers, so a slow stream waits for nothing and a
 * fast one shares commits. What cannot be stored is told and the rest is kept.
 */
export class CommitPump {
  private gathering = new ColumnStore();
  private sequence: bigint | undefined;
  private running: Promise<void> | undefined;
  private failure: RequestError | undefined;
  private readonly stopped = new AbortController();
  private roomMade = () => {};

  constructor(private readonly options: PumpOptions) {}

  /** Takes one point; `flush` must follow. */
  add(series: string, time: number, value: number, tag: number): void {
    this.gathering.push(series, time, value, tag);
  }

  /** All points up to this sequence number were added: they may be committed. */
  flush(sequence: bigint): void {
    this.sequence = sequence;
    this.running ??= this.run().finally(() => {
      this.running = undefined;
      this.roomMade();
    });
  }

  /** Whether the stream should be read no further for now. */
  get full(): boolean {
    return this.gathering.length >= HIGH_WATER;
  }

  /** Resolves when there is room again. Throws the RequestError that ended the stream. */
  async room(): Promise<void> {
    while (this.full && this.running) {
      await new Promise<void>((done) => {
        this.roomMade = done;
      });
    }
    if (this.failure) throw this.failure;
  }

  /** Waits until everything that was flushed is committed. Throws the RequestError that ended the stream. */
  async end(): Promise<void> {
    while (this.running) await this.running;
    if (this.failure) throw this.failure;
  }

  /** Gives up waiting for a store that is away; what is being committed may still be. */
  stop(): void {
    this.stopped.abort();
  }

  private async run(): Promise<void> {
    while (this.sequence !== undefined && !this.failure) {
      const points = this.gathering;
      const sequence = this.sequence;
      this.gathering = new ColumnStore();
      this.sequence = undefined;
      this.roomMade();
      try {
        const ack = await this.commit(points, sequence);
        for (const rejection of ack.rejected) this.options.onRejected(points.line[rejection.index]!, rejection);
        this.options.onCommitted(sequence, ack);
      } catch (error) {
        this.failure = asRequestError(error);
        this.options.onFailed?.(this.failure);
      }
    }
  }

  /** Tries again while that may help: a stream has a client that waits anyway, and its back-pressure reaches it. */
  private async commit(points: ColumnStore, sequence: bigint): Promise<Ack> {
    const { ingest, writer, stream } = this.options;
    const place = stream === undefined ? {} : { stream, sequence };
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
      try {
        return await ingest.write(writer, points, { ...place, partial: true });
      } catch (error) {
        const known = asRequestError(error);
        if (known.status !== 503 || this.stopped.signal.aborted) throw known;
        const pause = Math.min(5, known.retryAfter ?? 1) * 1000 * (0.5 + Math.random());
        if (Date.now() + pause > end) throw known;
        await sleep(pause, undefined, { signal: this.stopped.signal }).catch(() => {});
      }
    }
  }
}
