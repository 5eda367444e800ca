import type { WebSocket } from 'ws';
import { asRequestError } from '../../http/problem.js';
import { AdderError } from '../../platform/errors.js';
import { fieldOf } from '../../platform/request-error.js';
import { SAMPLE_RATE } from '../decode/index.js';
import { EventDecider, type EventOptions, type SpeechEvent } from '../events.js';
import { HOP } from '../features/index.js';
import type { AudioFormat, SessionOutput } from '../hearing/protocol.js';
import { frameAt, TRACKS, type TrackName } from '../model/index.js';
import { rounded, shownEvent } from '../outlook/outlook.js';
import type { HubSession } from './hub.js';
import { type ClientMessage, clientMessage, denseFrame } from './messages.js';
import { Outbox } from './outbox.js';

/** Events that a session remembers for clients that missed the last ones. */
const REMEMBERED = 32;

/** What a connection knows of its session, and leaves to the next one. */
export interface SessionProgress {
  format: AudioFormat;
  options: Partial<EventOptions>;
  tracks: TrackName[];
  interimMs: number;
  idleMs: number;
  /** Bytes of audio taken in; messages where they are packets. */
  received: number;
  rows: number;
  counts: Record<SpeechEvent['type'], number>;
  speechSamples: number;
  speechSince: number | undefined;
  repaired: number;
  recent: SpeechEvent[];
}

export interface ConnectionParts {
  id: string;
  session: HubSession;
  progress: SessionProgress;
  model: string;
  resumed: boolean;
  resumeMs: number;
  /** Keeps the session for a later connection. */
  keep(state: Uint8Array, progress: SessionProgress): Promise<void>;
  onError(error: unknown): void;
}

/** One client of `/v1/audio/live`. */
export class SpeechConnection {
  private readonly outbox: Outbox;
  private idle: NodeJS.Timeout | undefined;
  /** The client has said close; nothing is taken any more. */
  private closing = false;
  private released: Promise<void> | undefined;
  private nextMark = 0;
  private nextInterim = 0;

  constructor(
    private readonly socket: WebSocket,
    private readonly parts: ConnectionParts,
  ) {
    this.outbox = new Outbox(socket);
    socket.on('message', (data: Buffer, isBinary: boolean) => this.take(data, isBinary));
    socket.once('close', (code) => {
      clearTimeout(this.idle);
      // Whoever leaves in good order has finished; anything else may come back.
      void this.release(code === 1000 ? 'end' : 'keep');
    });
    socket.on('error', () => {});
    this.begin();
    this.stayAwake();
  }

  /** Of the session. */
  get id(): string {
    return this.parts.id;
  }

  /** Hears what was received, keeps the session and says goodbye. */
  async leave(code: number, reason: string): Promise<void> {
    this.socket.pause();
    this.closing = true;
    await this.release('keep');
    this.socket.resume();
    this.socket.close(code, reason);
  }

  /** Resolves when a connection that has closed holds its session no more. */
  async ended(): Promise<void> {
    await this.released;
  }

  /** @internal From the hub. */
  readonly listener = {
    onOutput: (output: SessionOutput) => this.tell(output),
    onRoom: () => {
      if (this.socket.isPaused && !this.closing) this.socket.resume();
    },
    onLost: (error: Error) => {
      if (this.released) return;
      this.released = Promise.resolve();
      this.outbox.message({ type: 'error', ...said(asRequestError(error)) });
      this.socket.close(1013, 'the session is lost; begin another');
    },
  };

  private begin(): void {
    const { id, progress, model, resumed, resumeMs } = this.parts;
    const { format, tracks, interimMs, idleMs, received, rows, recent } = progress;
    this.outbox.message({
      type: 'begin',
      session: id,
      resumed,
      model,
      ...format,
      eventRate: SAMPLE_RATE,
      hop: HOP,
      tracks,
      interimMs,
      idleMs,
      resumeMs,
      received,
      rows,
      ...(resumed ? { events: recent.map(shownEvent) } : {}),
    });
  }

  private take(data: Buffer, isBinary: boolean): void {
    if (this.closing) return;
    this.stayAwake();
    const { session, progress } = this.parts;
    if (isBinary) {
      if (data.length === 0) return;
      progress.received += progress.format.encoding === 'opus' ? 1 : data.length;
      session.push({ kind: 'audio', bytes: data });
      if (session.full) this.socket.pause();
      return;
    }
    try {
      this.obey(parse(data));
    } catch (error) {
      this.outbox.message({ type: 'error', ...said(asRequestError(error)) });
    }
  }

  private obey(message: ClientMessage): void {
    const { session, progress } = this.parts;
    switch (message.type) {
      case 'keep_alive':
        return;
      case 'configure': {
        const { events, tracks, interimMs } = message;
        if (events) {
          const { predictThreshold, ...rest } = events;
          const options = { ...progress.options, ...defined(rest) };
          if (predictThreshold) options.predictThreshold = { ...options.predictThreshold, ...predictThreshold };
          // Throws where they do not fit together.
          new EventDecider(options);
          progress.options = options;
          session.push({ kind: 'configure', events: options });
        }
        progress.tracks = tracks ?? progress.tracks;
        progress.interimMs = interimMs ?? progress.interimMs;
        this.outbox.message({
          type: 'configured',
          tracks: progress.tracks,
          interimMs: progress.interimMs,
          events: new EventDecider(progress.options).options,
        });
        return;
      }
      case 'flush':
        session.push({ kind: 'mark', mark: this.nextMark++ });
        return;
      case 'close':
        this.closing = true;
        clearTimeout(this.idle);
        session.push({ kind: 'finish' });
        void session.drained().then(() => this.summarise());
    }
  }

  private tell({ first, count, values, events, speaking, marks, repaired, errors }: SessionOutput): void {
    const { progress } = this.parts;
    const { tracks, interimMs } = progress;
    progress.rows = first + count;
    progress.repaired = repaired;
    if (count > 0 && tracks.length > 0) this.outbox.dense(() => denseFrame(first, count, values, tracks), count);
    for (const event of events) this.tellEvent(event);
    if (count > 0 && interimMs > 0 && progress.rows >= this.nextInterim) {
      this.nextInterim = progress.rows + (interimMs * SAMPLE_RATE) / 1000 / HOP;
      const frame = frameAt({ first, count, values }, count - 1);
      this.outbox.interim({
        type: 'interim',
        sample: progress.rows * HOP,
        speaking,
        ...Object.fromEntries(TRACKS.map((name) => [name, rounded(frame[name])])),
      });
    }
    for (const error of errors) this.outbox.message({ type: 'error', ...said(asRequestError(new AdderError(error))) });
    for (const _ of marks) this.outbox.message({ type: 'flushed', sample: progress.rows * HOP });
  }

  private tellEvent(event: SpeechEvent): void {
    const { progress } = this.parts;
    progress.counts[event.type]++;
    if (event.type === 'speech_start') progress.speechSince = event.at;
    if (event.type === 'speech_end') {
      progress.speechSamples += event.at - (progress.speechSince ?? event.at);
      progress.speechSince = undefined;
    }
    progress.recent = [...progress.recent, event].slice(-REMEMBERED);
    const { type, ...rest } = shownEvent(event);
    // A prediction may turn out wrong; a start or an end stands.
    this.outbox.message({ type: 'event', event: type, final: type !== 'end_predicted', ...rest });
  }

  private async summarise(): Promise<void> {
    if (this.released) return;
    const { id, progress } = this.parts;
    const { received, rows, counts, speechSamples, repaired } = progress;
    await this.release('end');
    this.outbox.message({
      type: 'summary',
      session: id,
      received,
      rows,
      sample: rows * HOP,
      seconds: (rows * HOP) / SAMPLE_RATE,
      speechSeconds: speechSamples / SAMPLE_RATE,
      events: counts,
      repaired,
      droppedRows: this.outbox.droppedRows,
    });
    // The client's own goodbye must be read, also where it came with more audio than was due.
    this.socket.resume();
    this.socket.close(1000, 'done');
  }

  /** Lets go of the session, once. */
  private release(how: 'keep' | 'end'): Promise<void> {
    this.released ??= (async () => {
      const { session, progress, keep, onError } = this.parts;
      try {
        if (how === 'end') await session.close();
        else await keep(await session.save(), progress);
      } catch (error) {
        onError(error);
      }
    })();
    return this.released;
  }

  private stayAwake(): void {
    clearTimeout(this.idle);
    const { idleMs } = this.parts.progress;
    this.idle = setTimeout(() => {
      // One that we do not read cannot be told to be silent.
      if (this.socket.isPaused) this.stayAwake();
      else this.socket.close(4008, `nothing came for ${idleMs} ms; resume the session by its id`);
    }, idleMs);
    this.idle.unref();
  }
}

function parse(data: Buffer): ClientMessage {
  let message: unknown;
  try {
    message = JSON.parse(data.toString('utf8'));
  } catch (error) {
    throw new AdderError({
      code: 'BAD_JSON',
      message: (error as Error).message,
      fix: 'send one JSON object a text message, and audio in binary ones',
    });
  }
  const known = clientMessage.safeParse(message);
  if (known.success) return known.data;
  const issue = known.error.issues[0];
  throw new AdderError({
    code: 'INVALID_REQUEST',
    message: issue.message,
    where: { field: fieldOf(issue.path as (string | number)[]) || 'type' },
    fix: 'docs/speech-api.md lists the messages',
  });
}

const said = ({ code, message, fix, where }: AdderError) => ({
  code,
  message,
  ...(where?.field === undefined ? {} : { field: where.field }),
  ...(fix === undefined ? {} : { fix }),
});

const defined = <T extends object>(fields: T): Partial<T> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;
