import type { WebSocket } from 'ws';
import { AdderError } from '../../platform/errors.js';
import { SAMPLE_RATE } from '../decode/index.js';
import { HOP } from '../features/index.js';
import type { HeardEvent, SessionOutput } from '../hearing/protocol.js';
import { shownEvent } from '../outlook/outlook.js';
import { TURN_TRACKS } from '../turns/index.js';
import type { HubSession } from './hub.js';
import { type ClientMessage, denseFrame, messageOf, turnFrame } from './messages.js';
import { Outbox } from './outbox.js';
import { changed, note, type SessionProgress } from './progress.js';
import { interim, problem, summary, thresholds, turnsAt } from './said.js';

export interface ConnectionParts {
  id: string;
  session: HubSession;
  progress: SessionProgress;
  model: string;
  turnModel: string | undefined;
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
  /** The newest row of turn tracks. */
  private turn: Float32Array | undefined;

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
      this.outbox.message(problem(error));
      this.socket.close(1013, 'the session is lost; begin another');
    },
  };

  private begin(): void {
    const { id, progress, model, turnModel, resumed, resumeMs } = this.parts;
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
      ...turnsAt(turnModel, progress),
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
      this.obey(messageOf(data));
    } catch (error) {
      this.outbox.message(problem(error as Error));
    }
  }

  private obey(message: ClientMessage): void {
    const { session, progress } = this.parts;
    switch (message.type) {
      case 'keep_alive':
        return;
      case 'configure': {
        const { events, turns, tracks, interimMs } = message;
        if (events || turns) {
          progress.options = changed(progress.options, message);
          session.push({ kind: 'configure', options: progress.options });
        }
        progress.tracks = tracks ?? progress.tracks;
        progress.interimMs = interimMs ?? progress.interimMs;
        this.outbox.message({
          type: 'configured',
          tracks: progress.tracks,
          interimMs: progress.interimMs,
          ...thresholds(progress),
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

  private tell(output: SessionOutput): void {
    const { first, count, sides, turns, events, marks, repaired, errors } = output;
    const { progress } = this.parts;
    const { tracks, interimMs } = progress;
    progress.rows = first + count;
    progress.repaired = repaired;
    if (turns && turns.count > 0) this.turn = turns.values.slice(-TURN_TRACKS.length);
    const frames = () => [
      ...(tracks.length > 0
        ? [
            denseFrame(
              first,
              count,
              sides.map(({ values }) => values),
              tracks,
            ),
          ]
        : []),
      ...(turns && turns.count > 0 ? [turnFrame(turns)] : []),
    ];
    if (count > 0 && (tracks.length > 0 || turns)) this.outbox.dense(frames, count);
    for (const event of events) this.tellEvent(event);
    if (count > 0 && interimMs > 0 && progress.rows >= this.nextInterim) {
      this.nextInterim = progress.rows + (interimMs * SAMPLE_RATE) / 1000 / HOP;
      this.outbox.interim(interim(output, progress.rows, this.turn));
    }
    for (const error of errors) this.outbox.message(problem(new AdderError(error)));
    for (const _ of marks) this.outbox.message({ type: 'flushed', sample: progress.rows * HOP });
  }

  private tellEvent(event: HeardEvent): void {
    note(this.parts.progress, event);
    const { type, ...rest } = shownEvent(event);
    // A prediction may turn out wrong; whatever else is told stands.
    this.outbox.message({ type: 'event', event: type, final: type !== 'end_predicted', ...rest });
  }

  private async summarise(): Promise<void> {
    if (this.released) return;
    const { id, progress } = this.parts;
    await this.release('end');
    this.outbox.message(summary(id, progress, this.outbox.droppedRows));
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
