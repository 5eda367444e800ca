import pg from 'pg';
import { CHANNEL, type JobStatus } from './ledger.js';

/** A change of a job, as it is told to all processes after its transaction was committed. */
export interface JobChange {
  id: string;
  status: JobStatus;
  progress: number;
  note: string | null;
  /** A running job shall stop. */
  cancel?: boolean;
}

type Listener = (change: JobChange | 'resync') => void;

const RETRY_MS = [50, 200, 1000, 3000];

/**
 * Hears of changes of jobs through PostgreSQL's NOTIFY, on one connection a process. Messages are lost while the connection
 * is down; listeners are then told to `resync`, and every waiting caller looks at the ledger from time to time as well.
 */
export class JobEvents {
  private readonly byJob = new Map<string, Set<Listener>>();
  private readonly everything = new Set<Listener>();
  private client: pg.Client | undefined;
  private closed = false;
  private retries = 0;
  private timer: NodeJS.Timeout | undefined;

  private constructor(
    private readonly url: string,
    private readonly onError: (error: Error) => void,
  ) {}

  static async open(url: string, onError: (error: Error) => void = () => {}): Promise<JobEvents> {
    const events = new JobEvents(url, onError);
    await events.connect();
    return events;
  }

  /** Whether changes arrive at this moment. */
  get listening(): boolean {
    return this.client !== undefined;
  }

  /** Calls `listener` for changes of one job, or of all; returns what ends that. */
  on(id: string | undefined, listener: Listener): () => void {
    const set = id === undefined ? this.everything : (this.byJob.get(id) ?? new Set<Listener>());
    set.add(listener);
    if (id !== undefined) this.byJob.set(id, set);
    return () => {
      set.delete(listener);
      if (id !== undefined && set.size === 0 && this.byJob.get(id) === set) this.byJob.delete(id);
    };
  }

  private async connect(): Promise<void> {
    const client = new pg.Client({
      connectionString: this.url,
      keepAlive: true,
      application_name: 'adder-events',
      connectionTimeoutMillis: 10_000,
    });
    let lost = false;
    const lose = (error?: Error) => {
      if (lost) return;
      lost = true;
      if (error) this.onError(error);
      if (this.client === client) this.client = undefined;
      client.end().catch(() => {});
      this.again();
    };
    client.on('error', lose);
    client.on('end', () => lose());
    client.on('notification', ({ payload }) => this.hear(payload));
    try {
      await client.connect();
      await client.query(`listen ${CHANNEL}`);
    } catch (error) {
      lose(error as Error);
      return;
    }
    if (this.closed) {
      await client.end().catch(() => {});
      return;
    }
    this.client = client;
    this.retries = 0;
    this.tell('resync');
  }

  private again(): void {
    if (this.closed || this.timer) return;
    const wait = RETRY_MS[Math.min(this.retries++, RETRY_MS.length - 1)]!;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      void this.connect();
    }, wait);
    this.timer.unref();
  }

  private hear(payload: string | undefined): void {
    try {
      this.tell(JSON.parse(payload ?? '') as JobChange);
    } catch (error) {
      // Somebody else's message on our channel is theirs to worry about.
      this.onError(error as Error);
    }
  }

  private tell(change: JobChange | 'resync'): void {
    const sets = change === 'resync' ? [...this.byJob.values()] : [this.byJob.get(change.id)];
    for (const set of [...sets, this.everything]) for (const listener of [...(set ?? [])]) listener(change);
  }

  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    const { client } = this;
    this.client = undefined;
    await client?.end().catch(() => {});
  }
}
