import type { ForecastRequest, ForecastResult } from '../../forecast/forecaster.js';
import type { EngineInfo, EngineOptions, ForecastEngine } from '../../forecast/rest/forecast-engine.js';
import { unlessAborted } from '../../platform/abort.js';
import type { Config } from '../../platform/config.js';
import type { JobClient } from '../client.js';
import { Overloaded } from '../inference/client.js';
import type { AdderJobs } from '../table.js';
import { Coalescer } from './coalescer.js';
import { decodeAnswers, encodeRequests } from './codec.js';

/** Bounds of one job: a large call becomes several, which workers share and small calls get past. */
const JOB_SERIES = 256;
const JOB_VALUES = 500_000;

/** Calls of at most this many series share jobs with others, and go before larger ones. */
const SMALL_CALL = 16;

/** Models whose last run is remembered. */
const MAX_RAN = 256;

/** Series of one shared job. */
const SHARED_SERIES = 64;

/** No account: no key can have this owner. Who may ask was settled at the door, and lists of jobs do not show what is asked. */
const SERVICE = '*';

export interface QueueEngineOptions {
  config: Pick<Config, 'model' | 'inference' | 'server'>;
}

/**
 * Forecasts by the workers, through the queue: what the API process uses. Small calls that come together share a job; large
 * ones become several. They are jobs for the time that somebody waits for them, and are cancelled when the time is over.
 */
export class QueueEngine implements ForecastEngine {
  private inFlight = 0;
  private answeredAt = Number.NEGATIVE_INFINITY;
  /** What ran each model when it last answered. */
  private readonly ran = new Map<string, EngineInfo>();
  private readonly coalescer: Coalescer;

  constructor(
    private readonly jobs: JobClient<AdderJobs>,
    private readonly options: QueueEngineOptions,
  ) {
    this.coalescer = new Coalescer((model, requests) => this.job(model, requests, 5), SHARED_SERIES);
  }

  /**
   * Results in the order of the requests. AdderErrors: those of the forecaster; `OVERLOADED` with `retryAfter` when too much
   * waits already; `TIMEOUT`, `INFERENCE_LOST`, `QUEUE_UNREACHABLE`, `JOB_LOST`.
   */
  async forecast(requests: ForecastRequest[], { model, signal }: EngineOptions = {}): Promise<ForecastResult[]> {
    const { inference } = this.options.config;
    // A single call may be larger than the queue when nothing else waits.
    if (this.inFlight > 0 && this.inFlight + requests.length > inference.queueSize) {
      throw new Overloaded(this.inFlight, 5);
    }
    this.inFlight += requests.length;
    const name = model ?? this.options.config.model;
    try {
      signal?.throwIfAborted();
      return requests.length <= SMALL_CALL
        ? await this.small(name, requests, signal)
        : await this.large(name, requests, signal);
    } finally {
      this.inFlight -= requests.length;
    }
  }

  /** Shares jobs with the small calls of other callers. */
  private async small(
    model: string,
    requests: ForecastRequest[],
    signal: AbortSignal | undefined,
  ): Promise<ForecastResult[]> {
    // A shared job goes on for the others.
    return unlessAborted(
      Promise.all(requests.map((request) => this.coalescer.forecast(model, request, signal))),
      signal,
    );
  }

  /** Jobs of its own, which workers share and small calls get past. */
  private async large(
    model: string,
    requests: ForecastRequest[],
    signal: AbortSignal | undefined,
  ): Promise<ForecastResult[]> {
    // When one part fails the others are of no use any more.
    const failed = new AbortController();
    const stop = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal;
    try {
      const parts = await Promise.all(parted(requests).map((part) => this.job(model, part, 10, stop)));
      return parts.flat().map((answer) => {
        if ('error' in answer) throw answer.error;
        return answer.result;
      });
    } catch (error) {
      failed.abort(error);
      throw error;
    }
  }

  private async job(model: string, requests: ForecastRequest[], priority: number, signal?: AbortSignal) {
    const { output, result } = await this.jobs.call(
      'forecast',
      { model },
      { ...this.asking(), priority, payload: encodeRequests(requests), ...(signal ? { signal } : {}) },
    );
    this.learn(model, result);
    return decodeAnswers(output ?? new Uint8Array());
  }

  /** What ran the model when it last answered; a worker is asked where it has not yet. */
  async describe(model = this.options.config.model): Promise<EngineInfo> {
    return this.ran.get(model) ?? this.ask(model, this.options.config.server.syncTimeoutMs);
  }

  private async ask(model: string, timeoutMs: number): Promise<EngineInfo> {
    const { result } = await this.jobs.call('describe', { model }, { ...this.asking(), timeoutMs });
    this.learn(model, result);
    return result as unknown as EngineInfo;
  }

  private learn(model: string, result: Record<string, unknown> | null): void {
    this.answeredAt = performance.now();
    if (typeof result?.model !== 'string' || typeof result.backend !== 'string') return;
    if (this.ran.size >= MAX_RAN) this.ran.clear();
    this.ran.set(model, { model: result.model, backend: result.backend });
  }

  /** By one worker, on the device that it computes on; throws `SELF_TEST`. */
  async selfTest(): Promise<void> {
    await this.jobs.call('self-test', {}, this.asking());
    this.answeredAt = performance.now();
  }

  /** Throws unless some worker has answered within the last `freshMs`, or does so within `timeoutMs`. */
  async ping(freshMs: number, timeoutMs: number): Promise<void> {
    if (performance.now() - this.answeredAt > freshMs) await this.ask(this.options.config.model, timeoutMs);
  }

  /** The job client is not ours to close. */
  async close(): Promise<void> {}

  private asking() {
    return { owner: SERVICE, timeoutMs: this.options.config.server.syncTimeoutMs };
  }
}

/** The requests in parts of bounded size, in their order. */
export function parted(requests: readonly ForecastRequest[]): ForecastRequest[][] {
  const parts: ForecastRequest[][] = [];
  let values = 0;
  for (const request of requests) {
    const last = parts.at(-1);
    if (!last || last.length >= JOB_SERIES || values + request.history.length > JOB_VALUES) {
      parts.push([request]);
      values = request.history.length;
    } else {
      last.push(request);
      values += request.history.length;
    }
  }
  return parts;
}
