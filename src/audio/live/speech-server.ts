import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { deserialize, serialize } from 'node:v8';
import { type WebSocket, WebSocketServer } from 'ws';
import type { ApiKeys } from '../../http/auth/api-keys.js';
import { type Authenticator, tokenOf } from '../../http/auth/authenticate.js';
import { type Caller, mustHave } from '../../http/auth/caller.js';
import { asRequestError } from '../../http/problem.js';
import { refuseUpgrade } from '../../http/upgrades.js';
import { RequestError } from '../../platform/request-error.js';
import { TRACKS } from '../model/index.js';
import type { SessionListener, SpeechHub } from './hub.js';
import { parametersOf, type SessionParameters } from './messages.js';
import { type SessionProgress, SpeechConnection } from './speech-connection.js';
import type { SessionVault } from './vault.js';

/** Largest message, bytes; a larger one closes the connection with 1009. */
const MAX_MESSAGE = 2 ** 20;
/** Sessions of one account, and of all, in one process. */
const MAX_OF_ONE = 500;
const MAX_OF_ALL = 2000;
/** A connection that has not answered a ping when the next one is due is gone. */
const HEARTBEAT_MS = 15_000;
const DEFAULT_IDLE_MS = 60_000;
const DEFAULT_INTERIM_MS = 200;

const PROTOCOL = 'adder.audio.v1';
/** Browsers cannot send headers with a WebSocket: there a key comes as a second subprotocol. */
const KEY_PROTOCOL = 'adder.key.';

interface Client {
  id: string;
  connection: SpeechConnection;
  owner: string;
  token: string | undefined;
  alive: boolean;
}

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

/** The WebSocket door of live speech: who may come in, which session goes on, who is still there. */
export class SpeechServer {
  private readonly server = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_MESSAGE,
    perMessageDeflate: false,
    handleProtocols: (protocols) => (protocols.has(PROTOCOL) ? PROTOCOL : false),
  });
  private readonly clients = new Map<WebSocket, Client>();
  private readonly heart: NodeJS.Timeout;
  private closed = false;

  constructor(private readonly options: SpeechServerOptions) {
    this.heart = setInterval(() => this.beat(), HEARTBEAT_MS);
    this.heart.unref();
  }

  /** Takes an HTTP request over; refuses it as HTTP does where it may not come in or its parameters are wrong. */
  readonly accept = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    // Until the upgrade is done nobody else listens to it.
    socket.on('error', () => socket.destroy());
    this.admit(request)
      .then(({ caller, token }) => this.open(request, socket, head, caller, token))
      .catch((error) => refuseUpgrade(socket, asRequestError(error)));
  };

  /** Hears what was received, keeps every session, then closes its connection. */
  async close(): Promise<void> {
    this.closed = true;
    clearInterval(this.heart);
    const leaving = [...this.clients.values()].map(({ connection }) =>
      connection.leave(1001, 'this server stops; resume the session by its id'),
    );
    await Promise.all(leaving);
    this.server.close();
  }

  private async admit(request: IncomingMessage): Promise<{ caller: Caller; token: string | undefined }> {
    const headers = { ...request.headers };
    const offered = (headers['sec-websocket-protocol'] ?? '').split(',').map((protocol) => protocol.trim());
    const key = offered.find((protocol) => protocol.startsWith(KEY_PROTOCOL))?.slice(KEY_PROTOCOL.length);
    if (key !== undefined) headers.authorization = `Bearer ${key}`;
    const caller = await this.options.authenticator.authenticate({ headers });
    mustHave(caller, 'forecast');
    const own = [...this.clients.values()].filter(({ owner }) => owner === caller.owner).length;
    if (own >= MAX_OF_ONE || this.clients.size >= MAX_OF_ALL || this.closed) {
      throw new RequestError({
        status: own >= MAX_OF_ONE ? 429 : 503,
        code: own >= MAX_OF_ONE ? 'TOO_MANY_CONNECTIONS' : 'OVERLOADED',
        message: `${own >= MAX_OF_ONE ? own : this.clients.size} speech sessions are open`,
        fix: 'close some, or try again later',
        retryAfter: 10,
      });
    }
    return { caller, token: caller.key ? tokenOf({ headers }) : undefined };
  }

  private async open(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    caller: Caller,
    token: string | undefined,
  ): Promise<void> {
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
    try {
      const { format, options } = progress;
      opened = await hub.open({ format, events: options, ...(kept ? { saved: kept.state } : {}) }, listener);
    } catch (error) {
      if (kept) await keep(kept.state, kept.progress);
      throw error;
    }
    const { session, model } = opened;
    this.server.handleUpgrade(request, socket, head, (webSocket) => {
      const resumed = kept !== undefined;
      const parts = { id, session, progress, model, resumed, resumeMs: vault.keepMs, keep, onError };
      connection = new SpeechConnection(webSocket, parts);
      this.welcome(webSocket, { id, connection, owner: caller.owner, token, alive: true });
    });
    // A request that is no proper upgrade, or whose sender has gone, was answered without a connection.
    if (connection) return;
    if (kept) await keep(kept.state, kept.progress);
    await session.close();
  }

  /** The state of a session that was dropped. One that another connection still holds is taken from it: its client is gone. */
  private async resume(owner: string, asked: SessionParameters): Promise<Kept> {
    const id = asked.session!;
    const holder = [...this.clients.values()].find((client) => client.id === id && client.owner === owner);
    await holder?.connection.leave(4001, 'another connection goes on with this session');
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
    const { format } = kept.progress;
    for (const [field, name] of [
      ['sampleRate', 'sample_rate'],
      ['channels', 'channels'],
      ['encoding', 'encoding'],
    ] as const) {
      if (asked[field] === undefined || asked[field] === format[field]) continue;
      await this.options.vault.keep(owner, id, bytes);
      throw new RequestError({
        status: 422,
        code: 'INVALID_REQUEST',
        message: `this session has ${name} ${format[field]}, not ${asked[field]}`,
        where: { field: name },
        fix: `leave ${name} out, or begin a new session`,
      });
    }
    return kept;
  }

  private welcome(socket: WebSocket, client: Client): void {
    this.clients.set(socket, client);
    const alive = () => {
      client.alive = true;
    };
    socket.on('pong', alive);
    socket.on('message', alive);
    // One whose session is still being kept can be resumed, so it stays known until then.
    socket.once('close', () => void client.connection.ended().then(() => this.clients.delete(socket)));
  }

  private beat(): void {
    for (const [socket, client] of this.clients) {
      // One that we do not read because of back-pressure cannot answer.
      if (!client.alive && !socket.isPaused) {
        socket.terminate();
        continue;
      }
      client.alive = false;
      socket.ping(() => {});
      if (client.token !== undefined) void this.checkKey(socket, client.token);
    }
  }

  /** A key that was revoked, or has expired, ends what it opened. */
  private async checkKey(socket: WebSocket, token: string): Promise<void> {
    try {
      if (!(await this.options.keys.find(token))) socket.close(1008, 'the key is revoked or has expired');
    } catch (error) {
      this.options.onError(error);
    }
  }
}

function freshProgress(asked: SessionParameters): SessionProgress {
  return {
    format: {
      encoding: asked.encoding ?? 'pcm_s16',
      sampleRate: asked.sampleRate ?? 16_000,
      channels: asked.channels ?? 1,
    },
    options: {},
    tracks: [...TRACKS],
    interimMs: DEFAULT_INTERIM_MS,
    idleMs: DEFAULT_IDLE_MS,
    ...wishes(asked),
    received: 0,
    rows: 0,
    counts: { speech_start: 0, speech_end: 0, end_predicted: 0 },
    speechSamples: 0,
    speechSince: undefined,
    repaired: 0,
    recent: [],
  };
}

/** What a connection may ask for anew. */
const wishes = ({ tracks, interimMs, idleMs }: SessionParameters) => ({
  ...(tracks === undefined ? {} : { tracks }),
  ...(interimMs === undefined ? {} : { interimMs }),
  ...(idleMs === undefined ? {} : { idleMs }),
});
