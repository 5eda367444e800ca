import { Counter, type Registry } from 'prom-client';
import type { ApiContext } from '../../../http/context.js';
import { Leadership } from './leadership.js';
import { type MqttConnection, readMqttFile } from './mqtt-config.js';
import { clientOptions, MqttConsumer } from './mqtt-consumer.js';
import { MqttPublisher } from './mqtt-publisher.js';

type Parts = Pick<ApiContext, 'config' | 'log' | 'database' | 'live'>;

/** Every broker of the configuration file. One that is shared is served by all API processes, another by one at a time. */
export class MqttDoors {
  private constructor(private readonly ends: (() => Promise<void>)[]) {}

  /** Throws `BAD_CONFIGURATION`. A broker that is away does not hinder the start. */
  static async open(api: Parts, path: string, registry: Registry): Promise<MqttDoors> {
    const connections = readMqttFile(path);
    const messages = new Counter({
      name: 'adder_mqtt_messages_total',
      help: 'Messages of MQTT brokers: taken, or unreadable',
      labelNames: ['connection', 'result'],
      registers: [registry],
    });
    // What is wrong with a file of a password or a certificate shows now, and not at the first connection.
    for (const connection of connections) clientOptions(connection);
    const ends = connections.map((connection) => {
      if (connection.share !== undefined) return serve(api, connection, messages);
      const leadership = new Leadership({
        databaseUrl: api.database.url,
        name: `mqtt:${connection.name}`,
        lead: () => serve(api, connection, messages),
        onError: (error) => api.log.warn({ err: error, connection: connection.name }, 'a broker cannot be served'),
      });
      return async () => leadership.close();
    });
    return new MqttDoors(await Promise.all(ends));
  }

  async close(): Promise<void> {
    await Promise.all(this.ends.map((end) => end()));
  }
}

/** Connects; what it returns disconnects. */
async function serve(
  api: Parts,
  connection: MqttConnection,
  messages: Counter<'connection' | 'result'>,
): Promise<() => Promise<void>> {
  const { owner, name } = connection;
  const consumer = new MqttConsumer({
    connection,
    ingest: api.live.ingest,
    writer: { owner, limits: { storedSeries: api.config.limits.storedSeries } },
    count: (result) => messages.inc({ connection: name, result }),
    tell: (level, fields, message) => api.log[level]({ connection: name, ...fields }, message),
  });
  const publisher = new MqttPublisher(consumer.client, {
    owner,
    feed: api.live.feed,
    publications: connection.publish,
    onError: (error) => api.log.warn({ err: error, connection: name }, 'a forecast could not be published'),
  });
  const end = async () => {
    await publisher.close();
    await consumer.close();
  };
  try {
    await publisher.open();
    return end;
  } catch (error) {
    await end();
    throw error;
  }
}
