/** Clients of every door that takes points, each as its protocol's own clients behave, the service going and coming back. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Point as LinePoint } from '@influxdata/influxdb-client';
import { until } from '../../service/support/processes.js';
import type { Broker } from './broker.js';
import { HEADERS_1, HEADERS_2, labels, one, packed, two } from './prometheus.js';

export interface Point {
  /** Which of the feeder's series. */
  series: number;
  /** Milliseconds since 1970. */
  time: number;
  value: number;
}

export interface Feeder {
  /** Of the door. */
  readonly door: string;
  /** Name in the store of its n-th series. */
  nameOf(series: number): string;
  /** Resolves when the points are committed, however often that must be tried. */
  send(points: readonly Point[]): Promise<void>;
  /** The stream whose numbers the service keeps for it, and the last of them. */
  readonly stream?: { name: string; sequence: number };
  close?(): void;
}

/** Where the API listens by now; waits while there is none. */
export interface Service {
  address(): Promise<string>;
}

/** How long a client waits for anything at all. */
export const PATIENCE_MS = 60_000;

/** One request, again and again until it is answered: while the service is away, and when it says "later". */
async function post(service: Service, path: string, body: string | Uint8Array, headers: Record<string, string>) {
  for (const end = Date.now() + PATIENCE_MS; ; await sleep(50)) {
    let answer: Response;
    try {
      answer = await fetch((await service.address()) + path, { method: 'POST', headers, body: body as string });
    } catch (error) {
      if (Date.now() > end) throw error;
      continue;
    }
    if (answer.ok) return;
    const later = answer.status === 503 || answer.status === 429;
    if (!later || Date.now() > end) throw new Error(`${path} answered ${answer.status}: ${await answer.text()}`);
  }
}

/** `POST /v1/series/{id}/points`, with numbered batches. */
export class RestFeeder implements Feeder {
  readonly door = 'REST append';
  readonly stream = { name: 'rest', sequence: 0 };
  constructor(private readonly service: Service) {}

  nameOf = (series: number) => `rest/${series}`;

  async send(points: readonly Point[]): Promise<void> {
    for (const [series, own] of bySeries(points)) {
      const { name } = this.stream;
      const path = `/v1/series/${encodeURIComponent(this.nameOf(series))}/points?stream=${name}&sequence=${++this.stream.sequence}`;
      const columns = { timestamps: own.map(({ time }) => time), values: own.map(({ value }) => value) };
      await post(this.service, path, JSON.stringify(columns), { 'content-type': 'application/json' });
    }
  }
}

/** `/api/v2/write` with nanoseconds, and `/write` with milliseconds. */
export class InfluxFeeder implements Feeder {
  readonly door: string;
  constructor(
    private readonly service: Service,
    private readonly version: 1 | 2,
  ) {
    this.door = `InfluxDB ${version}`;
  }

  nameOf = (series: number) => `influx${this.version}/meter.reading{site="${series}"}`;

  async send(points: readonly Point[]): Promise<void> {
    const { version } = this;
    const lines = points.map(({ series, time, value }) =>
      new LinePoint('meter')
        .tag('site', String(series))
        .floatField('reading', value)
        .timestamp(version === 2 ? `${time}000000` : String(time))
        .toLineProtocol(),
    );
    const path = version === 2 ? '/api/v2/write?org=any&bucket=influx2' : '/write?db=influx1&precision=ms';
    await post(this.service, path, lines.join('\n'), { 'content-type': 'text/plain; charset=utf-8' });
  }
}

/** Remote write 1.0 and 2.0. */
export class PrometheusFeeder implements Feeder {
  readonly door: string;
  constructor(
    private readonly service: Service,
    private readonly version: 1 | 2,
  ) {
    this.door = `Prometheus ${version}.0`;
  }

  nameOf = (series: number) => `reading${this.version}{site="${series}"}`;

  async send(points: readonly Point[]): Promise<void> {
    const { version } = this;
    const all = [...bySeries(points)].map(([series, own]) => ({
      site: String(series),
      samples: own.map(({ time, value }) => ({ value, timestamp: time })),
    }));
    if (version === 1) {
      const timeseries = all.map(({ site, samples }) => ({ labels: labels({ __name__: 'reading1', site }), samples }));
      return post(this.service, '/api/v1/write', packed(one, { timeseries }), HEADERS_1);
    }
    const symbols = ['', '__name__', 'reading2', 'site', ...all.map(({ site }) => site)];
    const timeseries = all.map(({ samples }, i) => ({ labelsRefs: [1, 2, 3, 4 + i], samples }));
    return post(this.service, '/api/v1/write', packed(two, { symbols, timeseries }), HEADERS_2);
  }
}

/** `mosquitto_pub` with QoS 1, one for each topic. What it has sent is committed when it is stored: nothing comes back to it. */
export class MqttFeeder implements Feeder {
  readonly door: string;
  private readonly topics = new Map<number, ReturnType<Broker['publisher']>>();
  private readonly sent = new Map<number, number>();

  constructor(
    private readonly broker: Broker,
    private readonly version: 'mqttv311' | 'mqttv5',
    /** Points of a series in the store. */
    private readonly stored: (name: string) => Promise<number>,
  ) {
    this.door = version;
  }

  nameOf = (series: number) => `${this.version}/${series}`;

  async send(points: readonly Point[]): Promise<void> {
    for (const { series, time, value } of points) {
      let topic = this.topics.get(series);
      topic ??= this.broker.publisher(this.nameOf(series), ['-q', '1', '-V', this.version]);
      this.topics.set(series, topic);
      topic.say(JSON.stringify({ at: time, v: value }));
      this.sent.set(series, (this.sent.get(series) ?? 0) + 1);
    }
    for (const [series, count] of this.sent) {
      await until(async () => (await this.stored(this.nameOf(series))) >= count, PATIENCE_MS, `${this.door} to store`);
    }
  }

  close(): void {
    for (const topic of this.topics.values()) topic.end();
  }
}

export function bySeries(points: readonly Point[]): Map<number, Point[]> {
  const found = new Map<number, Point[]>();
  for (const point of points) {
    const own = found.get(point.series);
    if (own) own.push(point);
    else found.set(point.series, [point]);
  }
  return found;
}
