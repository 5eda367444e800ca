import type { ForecastRequest, ForecastResult } from '../../forecast/forecaster.js';
import type { EngineInfo, EngineOptions, ForecastEngine } from '../../forecast/rest/forecast-engine.js';
import type { Config } from '../../platform/config.js';
import type { JobClient } from '../client.js';
import { Overloaded } from '../inference/client.js';
import type { AdderJobs } from '../table.js';
import { decodeResults, encodeRequests } from './codec.js';

/** Bounds of one job: a large call becomes several, which workers share and small calls get past. */
const JOB_SERIES = 256;
const JOB_VALUES = 500_000;

/** Calls of at most this many series go before larger ones. */
const SMALL_CALL = 16;

export interface QueueEngineOptions {
  config: Pick<Config, 'model' | 'inference' | 'server'>;
  /** Under whose name the jobs stand while they run; who may call was settled at the door. */
  owner?: string;
}

/**
 * Forecasts by the workers, through the queue: what the API process uses. Its requests are jobs for the time that somebody
 * waits for them; when the caller goes, or the time is over, they are cancelled.
 */
export class QueueEngine implements ForecastEngine {
  private inFlight = 0;

  constructor(
    private readonly jobs: JobClient<AdderJobs>,
    private readonly options: QueueEngineOptions,
  ) {}

  /**
   * Results in the order of the requests. AdderErrors: those of the forecaster; `OVERLOADED` with `retryAfter` when too much
   * waits already; `TIMEOUT`, `INFERENCE_LOST`, `QUEUE_UNREACHABLE`, `JOB_LOST`.
   */
  async forecast(requests: ForecastRequest[], { model, signal }: EngineOptions = {}): Promise<ForecastResult[]> {
    const { inference, server } = this.options.config;
    // A single call may be larger than the queue when nothing else waits.
    if (this.inFlight > 0 && this.inFlight + requests.length > inference.queueSize) {
      throw new Overloaded(this.inFlight, 5);
    }
    this.inFlight += requests.length;
    // When one part fails the others are of no use any more.
    const failed = new AbortController();
    const stop = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal;
    try {
      const parts = await Promise.all(
        parted(requests).map(async (part) => {
          const { output } = await this.jobs.call(
            'forecast',
            { model: model ?? this.options.config.model },
            {
              owner: this.options.owner ?? 'local',
              timeoutMs: server.syncTimeoutMs,
              priority: requests.length <= SMALL_CALL ? 5 : 10,
              payload: encodeRequests(part),
              signal: stop,
            },
          );
          return decodeResults(output ?? new Uint8Array());
        }),
      );
      return parts.flat();
    } catch (error) {
      failed.abort(error);
      throw error;
    } finally {
      this.inFlight -= requests.length;
    }
  }

  async describe(model = this.options.config.model): Promise<EngineInfo> {
    const { result } = await this.jobs.call('describe', { model }, this.asking());
    return result as unknown as EngineInfo;
  }

  /** By one worker, on the device that it computes on; throws `SELF_TEST`. */
  async selfTest(): Promise<void> {
    await this.jobs.call('self-test', {}, this.asking());
  }

  /** The job client is not ours to close. */
  async close(): Promise<void> {}

  private asking() {
    return { owner: this.options.owner ?? 'local', timeoutMs: this.options.config.server.syncTimeoutMs };
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
