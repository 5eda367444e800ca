import type { ApiKeys } from '../../../http/auth/api-keys.js';
import type { Authenticator } from '../../../http/auth/authenticate.js';
import { SocketDoor } from '../../../http/socket-door.js';
import type { UpgradeHandler } from '../../../http/upgrades.js';
import { RequestError } from '../../../platform/request-error.js';
import { type ConnectionParts, LiveConnection } from './live-connection.js';

/** Connections of one account in one process. */
const MAX_OF_ONE = 1000;

export interface LiveServerOptions extends ConnectionParts {
  keys: ApiKeys;
  authenticator: Authenticator;
}

/** The WebSocket door of live series. */
export class LiveServer {
  private readonly door: SocketDoor<LiveConnection>;
  readonly accept: UpgradeHandler;

  constructor({ keys, authenticator, ...parts }: LiveServerOptions) {
    this.door = new SocketDoor({
      protocol: 'adder.live.v1',
      keys,
      authenticator,
      admit: (_, own) => mayOpenAnother(own),
      open: ({ caller, enter }) => {
        enter((socket) => new LiveConnection(socket, caller, parts));
      },
      onError: parts.onError,
    });
    this.accept = this.door.accept;
  }

  /** Commits what was received, then closes every connection. */
  close(): Promise<void> {
    return this.door.close((connection) => connection.close());
  }
}

function mayOpenAnother(own: number): void {
  if (own < MAX_OF_ONE) return;
  throw new RequestError({
    status: 429,
    code: 'TOO_MANY_CONNECTIONS',
    message: `${own} connections of this account are open`,
    fix: 'close some, or send the points of several devices through one',
    retryAfter: 10,
  });
}
