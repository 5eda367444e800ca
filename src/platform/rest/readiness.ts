import type { Logger } from 'pino';
import type { EngineInfo, ForecastEngine } from '../../forecast/rest/forecast-engine.js';
import type { Database } from '../../store/database.js';

export interface ReadinessReport {
  ready: boolean;
  /** What is missing, in words. */
  checks: Record<string, 'ok' | string>;
  engine?: EngineInfo;
}

/** A database that has answered this recently is not asked again. */
const FRESH_MS = 1000;

/**
 * Whether this process can answer: the self-test forecast has passed, the database answers, and it is not stopping. A
 * self-test that fails is repeated, because the inference process may have been killed under it.
 */
export class Readiness {
  private engineInfo: EngineInfo | undefined;
  private failure = 'the self-test forecast has not finished';
  private stopping = false;
  private timer: NodeJS.Timeout | undefined;
  private database: { at: number; error: string | undefined } | undefined;

  constructor(
    private readonly engine: ForecastEngine,
    private readonly store: Database,
    private readonly log: Logger,
  ) {}

  /** Begins the self-test; the answer is in `report`. */
  start(): void {
    void this.test();
  }

  stop(): void {
    this.stopping = true;
    clearTimeout(this.timer);
  }

  private async test(): Promise<void> {
    try {
      await this.engine.selfTest();
      this.engineInfo = await this.engine.describe();
      this.log.info(this.engineInfo, 'the self-test forecast passed');
    } catch (error) {
      this.failure = (error as Error).message;
      if (this.stopping) return;
      this.log.error({ err: error }, 'the self-test forecast failed; trying again in 10 s');
      this.timer = setTimeout(() => void this.test(), 10_000);
      this.timer.unref();
    }
  }

  async report(): Promise<ReadinessReport> {
    const database = await this.databaseError();
    const checks = {
      forecast: this.engineInfo ? 'ok' : this.failure,
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
