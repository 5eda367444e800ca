import { randomUUID } from 'node:crypto';
import { deserialize, serialize } from 'node:v8';
import type { ApiKeys } from '../../http/auth/api-keys.js';
import type { Authenticator } from '../../http/auth/authenticate.js';
import { type Caller, mustHave } from '../../http/auth/caller.js';
import { type Entry, SocketDoor } from '../../http/socket-door.js';
import type { UpgradeHandler } from '../../http/upgrades.js';
import { RequestError } from '../../platform/request-error.js';
import type { SessionListener, SpeechHub } from './hub.js';
import { parametersOf, type SessionParameters } from './messages.js';
import { changed, freshProgress, type SessionProgress, wishes } from './progress.js';
import { SpeechConnection } from './speech-connection.js';
import type { SessionVault } from './vault.js';

/** Sessions of one account, and of all, in one process. */
const MAX_OF_ONE = 500;
const MAX_OF_ALL = 2000;

interface Kept {
  progress: SessionProgress;
  state: Uint8Array;
}

export interface SpeechServerOptions {
  keys: ApiKeys;
  authenticator: Authenticator;
  hub: SpeechHub;
  vault: SessionVault;
  onError(error: unknown): void;
}

/** The WebSocket door of live speech: which session begins, and which goes on. */
export class SpeechServer {
  private readonly door: SocketDoor<SpeechConnection>;
  readonly accept: UpgradeHandler;
  private closed = false;

  constructor(private readonly options: SpeechServerOptions) {
    const { keys, authenticator, onError } = options;
    this.door = new SocketDoor({
      protocol: 'adder.audio.v1',
      keys,
      authenticator,
      admit: (caller, own) => this.admit(caller, own),
      open: (entry) => this.open(entry),
      // One whose session is still being kept can be resumed, so it stays known until then.
      ended: (connection) => connection.ended(),
      onError,
    });
    this.accept = this.door.accept;
  }

  /** Hears what was received, keeps every session, then closes its connection. */
  close(): Promise<void> {
    this.closed = true;
    return this.door.close((connection) => connection.leave(1001, 'this server stops; resume the session by its id'));
  }

  private admit(caller: Caller, own: number): void {
    mustHave(caller, 'forecast');
    if (own < MAX_OF_ONE && this.door.size < MAX_OF_ALL && !this.closed) return;
    throw new RequestError({
      status: own >= MAX_OF_ONE ? 429 : 503,
      code: own >= MAX_OF_ONE ? 'TOO_MANY_CONNECTIONS' : 'OVERLOADED',
      message: `${own >= MAX_OF_ONE ? own : this.door.size} speech sessions are open`,
      fix: 'close some, or try again later',
      retryAfter: 10,
    });
  }

  private async open({ request, socket, caller, enter }: Entry<SpeechConnection>): Promise<void> {
    const asked = parametersOf(request.url ?? '');
    const id = asked.session ?? randomUUID();
    const kept = asked.session === undefined ? undefined : await this.resume(caller.owner, asked);
    const progress = kept ? { ...kept.progress, ...wishes(asked) } : freshProgress(asked);
    // The hub may speak before there is a connection to hear it: nothing was pushed yet, so only of a loss.
    let connection: SpeechConnection | undefined;
    const listener: SessionListener = {
      onOutput: (output) => connection?.listener.onOutput(output),
      onRoom: () => connection?.listener.onRoom(),
      onLost: (error) => (connection ? connection.listener.onLost(error) : socket.destroy()),
    };
    const { hub, vault, onError } = this.options;
    const keep = (state: Uint8Array, now: SessionProgress) =>
      vault.keep(caller.owner, id, serialize({ progress: now, state } satisfies Kept));
    let opened: Awaited<ReturnType<SpeechHub['open']>>;
    const asksTurns = Object.keys(asked.turnOptions).length > 0;
    try {
      if (asksTurns) progress.options = changed(progress.options, { turns: asked.turnOptions });
      const { format, options } = progress;
      opened = await hub.open({ format, options, ...(kept ? { saved: kept.state } : {}) }, listener);
    } catch (error) {
      if (kept) await keep(kept.state, kept.progress);
      throw error;
    }
    const { session, model, turnModel } = opened;
    const resumed = kept !== undefined;
    // One that goes on does so with what it was kept with, until told otherwise.
    if (resumed && asksTurns) session.push({ kind: 'configure', options: progress.options });
    const parts = { id, session, progress, model, turnModel, resumed, resumeMs: vault.keepMs, keep, onError };
    connection = enter((webSocket) => new SpeechConnection(webSocket, parts));
    // A request that is no proper upgrade, or whose sender has gone, was answered without a connection.
    if (connection) return;
    if (kept) await keep(kept.state, kept.progress);
    await session.close();
  }

  /** The state of a session that was dropped. One that another connection still holds is taken from it: its client is gone. */
  private async resume(owner: string, asked: SessionParameters): Promise<Kept> {
    const id = asked.session!;
    const holder = this.door.of(owner).find((connection) => connection.id === id);
    await holder?.leave(4001, 'another connection goes on with this session');
    const bytes = await this.options.vault.take(owner, id);
    if (!bytes) {
      throw new RequestError({
        status: 404,
        code: 'UNKNOWN_SESSION',
        message: `there is no session ${id} to go on with`,
        where: { field: 'session' },
        fix: 'sessions are kept for a limited time after a connection drops; begin a new one',
      });
    }
    const kept = deserialize(bytes) as Kept;
    const { format, options } = kept.progress;
    for (const [name, wanted, is] of [
      ['sample_rate', asked.sampleRate, format.sampleRate],
      ['channels', asked.channels, format.channels],
      ['encoding', asked.encoding, format.encoding],
      ['turns', asked.turns, options.turns !== undefined],
    ] as const) {
      if (wanted === undefined || wanted === is) continue;
      await this.options.vault.keep(owner, id, bytes);
      throw new RequestError({
        status: 422,
        code: 'INVALID_REQUEST',
        message: `this session has ${name} ${is}, not ${wanted}`,
        where: { field: name },
        fix: `leave ${name} out, or begin a new session`,
      });
    }
    return kept;
  }
}
