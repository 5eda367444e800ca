import type { Server } from 'node:http';
import type { Registry } from 'prom-client';
import { Authenticator } from '../../http/auth/authenticate.js';
import { RateLimiter } from '../../http/auth/rate-limit.js';
import type { ApiContext } from '../../http/context.js';
import { routeUpgrades, type UpgradeHandler } from '../../http/upgrades.js';
import { AlertSender } from './alerts/alert-sender.js';
import { MqttDoors } from './mqtt/mqtt-doors.js';
import { LiveServer } from './socket/live-server.js';
import { committedSequence } from './stream/stream-positions.js';

/** The doors of the live side that are no controllers: WebSocket, MQTT, alerts. */
export class LiveDoors {
  private constructor(
    private readonly sockets: LiveServer,
    private readonly brokers: MqttDoors | undefined,
    private readonly alerts: AlertSender,
  ) {}

  /**
   * @param others WebSockets of other rooms, by path
   * @throws AdderError `BAD_CONFIGURATION`
   */
  static async open(
    api: ApiContext,
    server: Server,
    registry: Registry,
    others: ReadonlyMap<string, UpgradeHandler> = new Map(),
  ): Promise<LiveDoors> {
    const onError = (error: unknown) => api.log.warn({ err: error }, 'a live connection has trouble');
    const sockets = new LiveServer({
      keys: api.keys,
      authenticator: new Authenticator(api.keys, new RateLimiter(api.database), api.config),
      ingest: api.live.ingest,
      feed: api.live.feed,
      committed: (owner, stream) => committedSequence(api.database, owner, stream),
      onError,
    });
    routeUpgrades(server, new Map([['/v1/live', sockets.accept], ...others]));
    const { mqttFile, webhookHosts } = api.config.live;
    const brokers = mqttFile === undefined ? undefined : await MqttDoors.open(api, mqttFile, registry);
    return new LiveDoors(sockets, brokers, new AlertSender({ database: api.database, allowed: webhookHosts, onError }));
  }

  /** Commits what came in, then lets go of every client. */
  async close(): Promise<void> {
    await Promise.all([this.sockets.close(), this.brokers?.close(), this.alerts.close()]);
  }
}
