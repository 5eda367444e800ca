import type { MqttClient } from 'mqtt';
import type { LiveFeed, Subscription } from '../../feed.js';
import { DropOldest } from '../out/drop-oldest.js';
import { eventsOf, filterOf, type OutputEvent } from '../out/output-json.js';
import type { Publication } from './mqtt-config.js';
import { fillIn } from './topic-mapping.js';

/** Messages that wait for a slow broker; beyond it the oldest is dropped. */
const WAITING = 1000;
/** Messages handed to the library and not yet taken by the broker. */
const UNDER_WAY = 100;

/** Publishes forecasts and anomalies to a broker. */
export class MqttPublisher {
  private readonly queue = new DropOldest<{ publication: Publication; event: OutputEvent }>(WAITING);
  private subscriptions: Subscription[] = [];
  private underWay = 0;
  private closed = false;

  constructor(
    private readonly client: MqttClient,
    private readonly options: {
      owner: string;
      feed: LiveFeed;
      publications: readonly Publication[];
      onError(error: unknown): void;
    },
  ) {}

  async open(): Promise<void> {
    const { owner, feed, publications } = this.options;
    for (const publication of publications) {
      const horizon = publication.horizon === undefined ? {} : { horizon: publication.horizon };
      this.subscriptions.push(
        await feed.subscribe(owner, filterOf(publication), horizon, (output) => {
          for (const event of eventsOf(output, publication)) this.queue.push({ publication, event });
          this.flush();
        }),
      );
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    await Promise.all(this.subscriptions.map((subscription) => subscription.close()));
  }

  private flush(): void {
    while (!this.closed && this.client.connected && this.underWay < UNDER_WAY) {
      const next = this.queue.shift();
      if (!next) return;
      const { publication, event } = next;
      const { type, ...data } = event;
      const lost = this.queue.takeLost();
      this.underWay++;
      this.client
        .publishAsync(
          fillIn(publication.topic, { type, series: topicLevels(event.series) }),
          JSON.stringify(lost > 0 ? { ...data, dropped: lost } : data),
          { qos: publication.qos, retain: publication.retain },
        )
        .catch(this.options.onError)
        .finally(() => {
          this.underWay--;
          this.flush();
        });
    }
  }
}

/** A name as a part of a topic, where wildcards have no place. */
const topicLevels = (series: string) => series.replace(/[+#]/g, '_');
