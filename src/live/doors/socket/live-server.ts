import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import type { ApiKeys } from '../../../http/auth/api-keys.js';
import { type Authenticator, tokenOf } from '../../../http/auth/authenticate.js';
import type { Caller } from '../../../http/auth/caller.js';
import { asRequestError } from '../../../http/problem.js';
import { refuseUpgrade } from '../../../http/upgrades.js';
import { RequestError } from '../../../platform/request-error.js';
import { type ConnectionParts, LiveConnection } from './live-connection.js';

/** Largest message, bytes; a larger one closes the connection with 1009. */
const MAX_MESSAGE = 2 ** 20;
/** Connections of one account in one process. */
const MAX_OF_ONE = 1000;
/** A connection that has not answered a ping when the next one is due is gone. */
const HEARTBEAT_MS = 15_000;

const PROTOCOL = 'adder.live.v1';
/** Browsers cannot send headers with a WebSocket: there a key comes as a second subprotocol. */
const KEY_PROTOCOL = 'adder.key.';

interface Client {
  connection: LiveConnection;
  owner: string;
  token: string | undefined;
  alive: boolean;
}

export interface LiveServerOptions extends ConnectionParts {
  keys: ApiKeys;
  authenticator: Authenticator;
}

/** The WebSocket door: who may come in, who is still there. */
export class LiveServer {
  private readonly server = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_MESSAGE,
    perMessageDeflate: false,
    handleProtocols: (protocols) => (protocols.has(PROTOCOL) ? PROTOCOL : false),
  });
  private readonly clients = new Map<WebSocket, Client>();
  private readonly heart: NodeJS.Timeout;

  constructor(private readonly options: LiveServerOptions) {
    this.heart = setInterval(() => this.beat(), HEARTBEAT_MS);
    this.heart.unref();
  }

  /** Takes an HTTP request over; refuses it as HTTP does where the caller may not come in. */
  readonly accept = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    // Until the upgrade is done nobody else listens to it.
    socket.on('error', () => socket.destroy());
    this.admit(request)
      .then(({ caller, token }) => {
        this.server.handleUpgrade(request, socket, head, (client) => this.welcome(client, caller, token));
      })
      .catch((error) => refuseUpgrade(socket, asRequestError(error)));
  };

  /** Commits what was received, then closes every connection. */
  async close(): Promise<void> {
    clearInterval(this.heart);
    await Promise.all([...this.clients.values()].map(({ connection }) => connection.close()));
    this.server.close();
  }

  private async admit(request: IncomingMessage): Promise<{ caller: Caller; token: string | undefined }> {
    const headers = { ...request.headers };
    const offered = (headers['sec-websocket-protocol'] ?? '').split(',').map((protocol) => protocol.trim());
    const key = offered.find((protocol) => protocol.startsWith(KEY_PROTOCOL))?.slice(KEY_PROTOCOL.length);
    if (key !== undefined) headers.authorization = `Bearer ${key}`;
    const caller = await this.options.authenticator.authenticate({ headers });
    let own = 0;
    for (const { owner } of this.clients.values()) if (owner === caller.owner) own++;
    if (own >= MAX_OF_ONE) {
      throw new RequestError({
        status: 429,
        code: 'TOO_MANY_CONNECTIONS',
        message: `${own} connections of this account are open`,
        fix: 'close some, or send the points of several devices through one',
        retryAfter: 10,
      });
    }
    return { caller, token: caller.key ? tokenOf({ headers }) : undefined };
  }

  private welcome(socket: WebSocket, caller: Caller, token: string | undefined): void {
    const connection = new LiveConnection(socket, caller, this.options);
    const client: Client = { connection, owner: caller.owner, token, alive: true };
    this.clients.set(socket, client);
    const alive = () => {
      client.alive = true;
    };
    socket.on('pong', alive);
    socket.on('message', alive);
    socket.once('close', () => this.clients.delete(socket));
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
