import { setTimeout as sleep } from 'node:timers/promises';
import type { ForecastRequest, ForecastResult, RollRequest, RollResult } from '../../forecast/forecaster.js';
import type { EngineOptions, ForecastEngine } from '../../forecast/rest/forecast-engine.js';
import { type ForecastCall, type InferenceClient, Overloaded } from '../inference/client.js';
import type { ModelInfo } from '../inference/protocol.js';

/** Requests that wait in the inference queue at a time: batches stay full, and a run that is stopped leaves little behind. */
const AT_ONCE = 512;

/** The inference of a worker as a long run uses it: in portions, and patient when others fill the queue. */
export class BatchEngine implements ForecastEngine {
  constructor(
    private readonly inference: InferenceClient,
    private readonly call: ForecastCall,
  ) {}

  forecast(requests: ForecastRequest[], { model, signal }: EngineOptions = {}): Promise<ForecastResult[]> {
    const call = { ...this.call, model, signal: signal ?? this.call.signal };
    return this.inPortions(requests, call, (portion) => this.inference.forecast(portion, call));
  }

  roll(requests: RollRequest[], model: string | undefined): Promise<RollResult[]> {
    const call = { ...this.call, model };
    return this.inPortions(requests, call, (portion) => this.inference.roll(portion, call));
  }

  describe(model?: string): Promise<ModelInfo> {
    return this.inference.describe(model, this.call.signal);
  }

  selfTest(): Promise<void> {
    return this.inference.selfTest(this.call.signal);
  }

  /** The inference process belongs to the worker. */
  async close(): Promise<void> {}

  private async inPortions<T, R>(
    requests: T[],
    { signal }: ForecastCall,
    send: (portion: T[]) => Promise<R[]>,
  ): Promise<R[]> {
    const results: R[] = [];
    for (let from = 0; from < requests.length; ) {
      signal?.throwIfAborted();
      try {
        results.push(...(await send(requests.slice(from, from + AT_ONCE))));
        from += AT_ONCE;
      } catch (error) {
        if (!(error instanceof Overloaded)) throw error;
        await sleep(error.retryAfter * 1000, undefined, signal ? { signal } : {});
      }
    }
    return results;
  }
}
