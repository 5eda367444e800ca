import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import pg from 'pg';
import { AdderError } from '../platform/errors.js';
import type { Database } from '../store/database.js';
import { DEMAND_MS, Demands } from './demands.js';
import type { LiveFeed, LiveOutput, SeriesFilter, Subscription } from './feed.js';
import { OutputStore } from './output-store.js';
import { OUTPUT_CHANNEL, OUTPUT_NOTIFY, readNotification, unpackOutputs } from './publish.js';

/** Steps that are forecast when nobody says how many, and at most. */
export const DEFAULT_HORIZON = 16;
export const MAX_LIVE_HORIZON = 1024;

const RENEW_MS = DEMAND_MS / 3;
const RETRY_MS = 500;
const PAGE = 1000;

interface Listener {
  owner: string;
  filter: SeriesFilter;
  ids: ReadonlySet<string>;
  name: string;
  listen: (output: LiveOutput) => void;
  /** Sequence that was last told, by series. */
  told: Map<bigint, number>;
}

export interface LiveFeedOptions {
  database: Database;
  /** A connection of its own to subscribe with; absent: PostgreSQL tells. */
  redis?: Redis;
  onError: (error: Error) => void;
}

/** Hears the outputs of all owners and tells those who subscribed. One connection serves all subscriptions of a process. */
export class ConnectedFeed implements LiveFeed {
  private readonly listeners = new Set<Listener>();
  private readonly outputs: OutputStore;
  private readonly demands: Demands;
  private readonly process = randomUUID();
  private readonly timer: NodeJS.Timeout;
  private count = 0;
  private closed = false;
  private hearing: Promise<void> | undefined;
  private client: pg.Client | undefined;
  private reading: Promise<void> = Promise.resolve();
  private stopWaiting: (() => void) | undefined;

  constructor(private readonly options: LiveFeedOptions) {
    this.outputs = new OutputStore(options.database, options.onError);
    this.demands = new Demands(options.database);
    this.timer = setInterval(() => {
      this.demands.renew([...this.listeners].map(({ name }) => name)).catch(options.onError);
    }, RENEW_MS);
    this.timer.unref();
  }

  async subscribe(
    owner: string,
    filter: SeriesFilter,
    options: { horizon?: number },
    listen: (output: LiveOutput) => void,
  ): Promise<Subscription> {
    const horizon = checkedHorizon(options.horizon);
    const listener: Listener = {
      owner,
      filter,
      ids: new Set('ids' in filter ? filter.ids : []),
      name: `subscription:${this.process}:${this.count++}`,
      listen,
      told: new Map(),
    };
    this.listeners.add(listener);
    try {
      await this.hear();
      await this.demands.put(owner, listener.name, filter, horizon, false);
      await this.catchUp(listener);
    } catch (error) {
      this.listeners.delete(listener);
      throw error;
    }
    return {
      close: async () => {
        if (!this.listeners.delete(listener)) return;
        await this.demands.drop(owner, listener.name);
      },
    };
  }

  async demand(owner: string, name: string, filter: SeriesFilter, options: { horizon?: number }): Promise<void> {
    await this.demands.put(owner, name, filter, checkedHorizon(options.horizon), true);
  }

  release(owner: string, name: string): Promise<void> {
    return this.demands.drop(owner, name);
  }

  latest(owner: string, filter: SeriesFilter, page: { after?: string; limit?: number } = {}): Promise<LiveOutput[]> {
    return this.outputs.find(owner, filter, page);
  }

  async close(): Promise<void> {
    this.closed = true;
    clearInterval(this.timer);
    const left = [...this.listeners];
    this.listeners.clear();
    for (const { owner, name } of left) await this.demands.drop(owner, name).catch(() => {});
    this.options.redis?.disconnect();
    this.stopWaiting?.();
    await this.client?.end().catch(() => {});
    await this.hearing?.catch(() => {});
    await this.reading;
  }

  private readonly wanted = (owner: string, series: string): boolean => {
    for (const listener of this.listeners) if (listener.owner === owner && matches(listener, series)) return true;
    return false;
  };

  private tell(output: LiveOutput): void {
    for (const listener of [...this.listeners]) {
      if (output.owner !== listener.owner || !matches(listener, output.series)) continue;
      if ((listener.told.get(output.seriesId) ?? 0) >= output.sequence) continue;
      listener.told.set(output.seriesId, output.sequence);
      try {
        listener.listen(output);
      } catch (error) {
        this.options.onError(error as Error);
      }
    }
  }

  /** Tells the present outputs of what a listener wants, where it has not heard them yet. */
  private async catchUp(listener: Listener): Promise<void> {
    for (let after: string | undefined; ; ) {
      const page = await this.outputs.find(listener.owner, listener.filter, {
        limit: PAGE,
        ...(after === undefined ? {} : { after }),
      });
      for (const output of page) this.tell(output);
      if (page.length < PAGE) return;
      after = page.at(-1)!.series;
    }
  }

  /** Begins to hear, once. */
  private hear(): Promise<void> {
    if (this.hearing) return this.hearing;
    this.hearing = this.options.redis ? this.hearRedis(this.options.redis) : this.hearPostgres();
    this.hearing.catch(() => {
      this.hearing = undefined;
    });
    return this.hearing;
  }

  private async hearRedis(redis: Redis): Promise<void> {
    redis.on('messageBuffer', (_channel: Buffer, message: Buffer) => {
      for (const output of unpackOutputs(message, this.wanted)) this.tell(output);
    });
    // What was published while the connection was away is in the store.
    redis.on('ready', () => this.resync());
    await redis.subscribe(OUTPUT_CHANNEL);
  }

  private async hearPostgres(): Promise<void> {
    await this.connect();
    void this.stayConnected();
  }

  private async stayConnected(): Promise<void> {
    while (!this.closed) {
      const { client } = this;
      if (client) {
        await new Promise<void>((done) => {
          this.stopWaiting = done;
          client.once('end', () => done());
        });
        this.client = undefined;
      }
      if (this.closed) return;
      await new Promise((done) => setTimeout(done, RETRY_MS));
      await this.connect().then(() => this.resync(), this.options.onError);
    }
  }

  private async connect(): Promise<void> {
    const client = new pg.Client({
      connectionString: this.options.database.url,
      keepAlive: true,
      application_name: 'adder-live-feed',
      connectionTimeoutMillis: 10_000,
    });
    client.on('error', (error) => {
      if (!this.closed) this.options.onError(error);
      client.end().catch(() => {});
    });
    client.on('notification', ({ payload }) => {
      this.reading = this.reading.then(() => this.read(payload ?? '')).catch(this.options.onError);
    });
    await client.connect();
    await client.query(`listen ${OUTPUT_NOTIFY}`);
    this.client = client;
  }

  private async read(payload: string): Promise<void> {
    if (this.listeners.size === 0 || this.closed) return;
    const told = readNotification(payload);
    const outputs = 'ids' in told ? await this.outputs.byId(told.ids) : unpackOutputs(told.message, this.wanted);
    for (const output of outputs) this.tell(output);
  }

  private resync(): void {
    for (const listener of this.listeners) this.catchUp(listener).catch(this.options.onError);
  }
}

const matches = ({ filter, ids }: Pick<Listener, 'filter' | 'ids'>, series: string) =>
  'prefix' in filter ? series.startsWith(filter.prefix) : ids.has(series);

function checkedHorizon(horizon = DEFAULT_HORIZON): number {
  if (Number.isInteger(horizon) && horizon >= 1 && horizon <= MAX_LIVE_HORIZON) return horizon;
  throw new AdderError({
    code: 'BAD_HORIZON',
    message: `a live horizon is a whole number of steps from 1 to ${MAX_LIVE_HORIZON}, not ${horizon}`,
    where: { field: 'horizon' },
    fix: 'e.g. 24',
  });
}
