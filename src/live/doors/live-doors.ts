import type { Server } from 'node:http';
import { Authenticator } from '../../http/auth/authenticate.js';
import { RateLimiter } from '../../http/auth/rate-limit.js';
import type { ApiContext } from '../../http/context.js';
import { routeUpgrades } from '../../http/upgrades.js';
import { AdderError } from '../../platform/errors.js';
import type { LiveFeed } from '../feed.js';
import { LiveServer } from './socket/live-server.js';
import { committedSequence } from './stream/stream-positions.js';

/** The doors of the live side that are no controllers: WebSocket, MQTT. */
export class LiveDoors {
  private constructor(private readonly sockets: LiveServer) {}

  static open(api: ApiContext, server: Server): LiveDoors {
    const onError = (error: unknown) => api.log.warn({ err: error }, 'a live connection has trouble');
    const sockets = new LiveServer({
      keys: api.keys,
      authenticator: new Authenticator(api.keys, new RateLimiter(api.database), api.config),
      ingest: api.live.ingest,
      feed: feedOf(api),
      committed: (owner, stream) => committedSequence(api.database, owner, stream),
      onError,
    });
    routeUpgrades(server, new Map([['/v1/live', sockets.accept]]));
    return new LiveDoors(sockets);
  }

  /** Commits what came in, then lets go of every client. */
  async close(): Promise<void> {
    await this.sockets.close();
  }
}

export function feedOf(api: ApiContext): LiveFeed {
  const { feed } = api.live as { feed?: LiveFeed };
  if (feed) return feed;
  const absent = () => {
    throw new AdderError({ code: 'NOT_READY', message: 'live forecasts are not available', fix: 'try again later' });
  };
  return { subscribe: absent, demand: absent, release: absent, latest: absent };
}
