import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

/** How often a process that waits asks again, and how soon after a lost connection it does. */
const ASK_MS = 2000;

export interface LeadershipOptions {
  databaseUrl: string;
  /** What one process at a time shall do. */
  name: string;
  /** Begins the work; what it returns ends it. */
  lead(): Promise<() => Promise<void>>;
  onError(error: unknown): void;
}

/**
 * Lets one process at a time do something, by an advisory lock that PostgreSQL frees when the process or its connection ends.
 * The lock has a connection of its own.
 */
export class Leadership {
  private readonly stopping = new AbortController();
  private readonly running: Promise<void>;

  constructor(private readonly options: LeadershipOptions) {
    this.running = this.run();
  }

  async close(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  private async run(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      try {
        await this.term();
      } catch (error) {
        if (!signal.aborted) this.options.onError(error);
      }
      await sleep(ASK_MS, undefined, { signal }).catch(() => {});
    }
  }

  /** Waits for the lock and leads until the connection breaks or the process stops. */
  private async term(): Promise<void> {
    const { signal } = this.stopping;
    const client = new pg.Client({
      connectionString: this.options.databaseUrl,
      keepAlive: true,
      application_name: 'adder-leader',
    });
    const lost = new Promise<void>((done) => {
      client.once('end', () => done());
      client.on('error', () => done());
      signal.addEventListener('abort', () => done(), { once: true });
    });
    try {
      await client.connect();
      while (!signal.aborted && !(await this.locked(client))) {
        await sleep(ASK_MS, undefined, { signal }).catch(() => {});
      }
      if (signal.aborted) return;
      const end = await this.options.lead();
      await lost;
      await end();
    } finally {
      await client.end().catch(() => {});
    }
  }

  private async locked(client: pg.Client): Promise<boolean> {
    const { rows } = await client.query<{ locked: boolean }>(
      'select pg_try_advisory_lock(hashtextextended($1, 0)) as locked',
      [`adder:${this.options.name}`],
    );
    return rows[0]?.locked ?? false;
  }
}
