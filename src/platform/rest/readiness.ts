import type { Logger } from 'pino';
import type { EngineInfo } from '../../forecast/rest/forecast-engine.js';
import type { Database } from '../../store/database.js';

export interface ReadinessReport {
  ready: boolean;
  /** What is missing, in words. */
  checks: Record<string, 'ok' | string>;
  engine?: EngineInfo;
}

/** What readiness asks of the workers. */
interface Workers {
  /** Throws unless a worker has passed its self-test forecast. */
  selfTest(): Promise<void>;
  /** Throws unless a worker has answered lately, or does now. */
  ping(freshMs: number, timeoutMs: number): Promise<void>;
  describe(): Promise<EngineInfo>;
}

/** A database that has answered this recently is not asked again. */
const FRESH_MS = 1000;

/** Workers are looked for this often, and may take this long: they may be in the middle of a long batch. */
const PING_EVERY_MS = 5000;
const PING_TIMEOUT_MS = 15_000;

/** Pause after a failure. */
const AGAIN_MS = 2000;

/**
 * Whether this process can answer: a worker has passed the self-test forecast and workers still answer, the database does,
 * and it is not stopping. What fails is tried again.
 */
export class Readiness {
  private engineInfo: EngineInfo | undefined;
  private failure: string | undefined = 'no worker has passed the self-test forecast yet';
  private stopping = false;
  private timer: NodeJS.Timeout | undefined;
  private database: { at: number; error: string | undefined } | undefined;

  constructor(
    private readonly workers: Workers,
    private readonly store: Database,
    private readonly log: Logger,
  ) {}

  /** Begins the self-test; the answer is in `report`. */
  start(): void {
    void this.look();
  }

  stop(): void {
    this.stopping = true;
    clearTimeout(this.timer);
  }

  private async look(): Promise<void> {
    const before = this.failure;
    try {
      if (this.engineInfo) await this.workers.ping(PING_EVERY_MS, PING_TIMEOUT_MS);
      else {
        await this.workers.selfTest();
        this.engineInfo = await this.workers.describe();
      }
      this.failure = undefined;
      if (before) this.log.info(this.engineInfo, 'ready: a worker answers');
    } catch (error) {
      this.failure = this.engineInfo
        ? `no worker answers: ${(error as Error).message}`
        : `no worker has passed the self-test forecast: ${(error as Error).message}`;
      if (!this.stopping && before !== this.failure) this.log.error({ err: error }, this.failure);
    }
    if (this.stopping) return;
    this.timer = setTimeout(() => void this.look(), this.failure ? AGAIN_MS : PING_EVERY_MS);
    this.timer.unref();
  }

  async report(): Promise<ReadinessReport> {
    const database = await this.databaseError();
    const checks = {
      forecast: this.failure ?? 'ok',
      database: database ?? 'ok',
      ...(this.stopping ? { process: 'stopping' } : {}),
    };
    const ready = Object.values(checks).every((value) => value === 'ok');
    return { ready, checks, ...(this.engineInfo ? { engine: this.engineInfo } : {}) };
  }

  private async databaseError(): Promise<string | undefined> {
    if (this.database && Date.now() - this.database.at < FRESH_MS) return this.database.error;
    let error: string | undefined;
    try {
      await this.store.pool.query('select 1');
    } catch {
      error = 'the database does not answer';
    }
    this.database = { at: Date.now(), error };
    return error;
  }
}
