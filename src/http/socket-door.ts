import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import type { ApiKeys } from './auth/api-keys.js';
import { type Authenticator, tokenOf } from './auth/authenticate.js';
import type { Caller } from './auth/caller.js';
import { asRequestError } from './problem.js';
import { refuseUpgrade, type UpgradeHandler } from './upgrades.js';

/** Largest message, bytes; a larger one closes the connection with 1009. */
const MAX_MESSAGE = 2 ** 20;
/** A connection that has not answered a ping when the next one is due is gone. */
const HEARTBEAT_MS = 15_000;

/** Browsers cannot send headers with a WebSocket: there a key comes as a second subprotocol. */
const KEY_PROTOCOL = 'adder.key.';

/** A request that may come in, before the protocol is changed. */
export interface Entry<Connection> {
  request: IncomingMessage;
  socket: Duplex;
  caller: Caller;
  /**
   * Changes to the WebSocket protocol and makes the connection, before it returns. Undefined when the request was no proper
   * upgrade, or its sender has gone: it was answered, and there is no connection.
   */
  enter(connect: (socket: WebSocket) => Connection): Connection | undefined;
}

export interface SocketDoorOptions<Connection> {
  /** Subprotocol that the server speaks. */
  protocol: string;
  keys: ApiKeys;
  authenticator: Authenticator;
  /** Throws where a caller, who has `own` connections open, may not come in. */
  admit(caller: Caller, own: number): void;
  /** Makes the connection by `entry.enter`; an error of it is answered as HTTP does. */
  open(entry: Entry<Connection>): void | Promise<void>;
  /** Until when a connection that has closed counts as open; no longer by default. */
  ended?(connection: Connection): Promise<void>;
  onError(error: unknown): void;
}

interface Guest<Connection> {
  connection: Connection;
  owner: string;
  token: string | undefined;
  alive: boolean;
}

/** A door for WebSockets: who may come in, who is still there, and whose key is still good. */
export class SocketDoor<Connection> {
  private readonly server: WebSocketServer;
  private readonly guests = new Map<WebSocket, Guest<Connection>>();
  private readonly heart: NodeJS.Timeout;

  constructor(private readonly options: SocketDoorOptions<Connection>) {
    const { protocol } = options;
    this.server = new WebSocketServer({
      noServer: true,
      maxPayload: MAX_MESSAGE,
      perMessageDeflate: false,
      handleProtocols: (protocols) => (protocols.has(protocol) ? protocol : false),
    });
    this.heart = setInterval(() => this.beat(), HEARTBEAT_MS);
    this.heart.unref();
  }

  /** Takes an HTTP request over; refuses it as HTTP does where it may not come in. */
  readonly accept: UpgradeHandler = (request, socket, head) => {
    // Until the upgrade is done nobody else listens to it.
    socket.on('error', () => socket.destroy());
    this.admit(request)
      .then(({ caller, token }) =>
        this.options.open({
          request,
          socket,
          caller,
          enter: (connect) => {
            let connection: Connection | undefined;
            this.server.handleUpgrade(request, socket, head, (webSocket) => {
              connection = connect(webSocket);
              this.welcome(webSocket, { connection, owner: caller.owner, token, alive: true });
            });
            return connection;
          },
        }),
      )
      .catch((error) => refuseUpgrade(socket, asRequestError(error)));
  };

  /** Connections of all accounts. */
  get size(): number {
    return this.guests.size;
  }

  /** Connections of one account. */
  of(account: string): Connection[] {
    return [...this.guests.values()].filter(({ owner }) => owner === account).map(({ connection }) => connection);
  }

  /** Has every connection leave, then lets nobody in any more. */
  async close(leave: (connection: Connection) => Promise<void>): Promise<void> {
    clearInterval(this.heart);
    await Promise.all([...this.guests.values()].map(({ connection }) => leave(connection)));
    this.server.close();
  }

  private async admit(request: IncomingMessage): Promise<{ caller: Caller; token: string | undefined }> {
    const headers = { ...request.headers };
    const offered = (headers['sec-websocket-protocol'] ?? '').split(',').map((protocol) => protocol.trim());
    const key = offered.find((protocol) => protocol.startsWith(KEY_PROTOCOL))?.slice(KEY_PROTOCOL.length);
    if (key !== undefined) headers.authorization = `Bearer ${key}`;
    const caller = await this.options.authenticator.authenticate({ headers });
    this.options.admit(caller, this.of(caller.owner).length);
    return { caller, token: caller.key ? tokenOf({ headers }) : undefined };
  }

  private welcome(socket: WebSocket, guest: Guest<Connection>): void {
    this.guests.set(socket, guest);
    const alive = () => {
      guest.alive = true;
    };
    socket.on('pong', alive);
    socket.on('message', alive);
    socket.once('close', () => {
      void Promise.resolve(this.options.ended?.(guest.connection)).then(() => this.guests.delete(socket));
    });
  }

  private beat(): void {
    for (const [socket, guest] of this.guests) {
      // One that we do not read because of back-pressure cannot answer.
      if (!guest.alive && !socket.isPaused) {
        socket.terminate();
        continue;
      }
      guest.alive = false;
      socket.ping(() => {});
      if (guest.token !== undefined) void this.checkKey(socket, guest.token);
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
