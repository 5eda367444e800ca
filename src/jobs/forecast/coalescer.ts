import type { ForecastRequest, ForecastResult } from '../../forecast/forecaster.js';
import type { Answer } from './codec.js';

interface Item {
  request: ForecastRequest;
  signal: AbortSignal | undefined;
  resolve(result: ForecastResult): void;
  reject(error: unknown): void;
}

interface Lane {
  waiting: Item[];
  /** Jobs under way. */
  flying: number;
  planned: boolean;
}

/** Jobs of one model under way at a time; what comes meanwhile shares the next one. */
const FLYING = 3;

/**
 * Lets small calls that come together share a job. A call that comes alone leaves at once; while jobs are under way, calls
 * wait for the first of them to come back, so that their number grows with the load and not with the number of callers.
 */
export class Coalescer {
  private readonly lanes = new Map<string, Lane>();

  constructor(
    private readonly send: (model: string, requests: ForecastRequest[]) => Promise<Answer[]>,
    private readonly size: number,
  ) {}

  /** One request; rejects with its own error, or with that of its job. */
  forecast(model: string, request: ForecastRequest, signal: AbortSignal | undefined): Promise<ForecastResult> {
    const lane = this.lanes.get(model) ?? { waiting: [], flying: 0, planned: false };
    this.lanes.set(model, lane);
    return new Promise<ForecastResult>((resolve, reject) => {
      lane.waiting.push({ request, signal, resolve, reject });
      this.plan(model, lane);
    });
  }

  /** After what is running now, so that the requests of one call, and of calls read from sockets together, leave together. */
  private plan(model: string, lane: Lane): void {
    if (lane.planned || lane.flying >= FLYING) return;
    lane.planned = true;
    setImmediate(() => {
      lane.planned = false;
      void this.fly(model, lane);
    });
  }

  private async fly(model: string, lane: Lane): Promise<void> {
    const items: Item[] = [];
    while (items.length < this.size && lane.waiting.length > 0) {
      const item = lane.waiting.shift()!;
      if (item.signal?.aborted) item.reject(item.signal.reason);
      else items.push(item);
    }
    if (items.length > 0) {
      lane.flying++;
      // The rest need not wait for this one.
      if (lane.waiting.length > 0) this.plan(model, lane);
      try {
        const answers = await this.send(
          model,
          items.map(({ request }) => request),
        );
        items.forEach((item, i) => {
          const answer = answers[i]!;
          if ('result' in answer) item.resolve(answer.result);
          else item.reject(answer.error);
        });
      } catch (error) {
        for (const item of items) item.reject(error);
      } finally {
        lane.flying--;
      }
    }
    if (lane.waiting.length > 0) this.plan(model, lane);
    else if (lane.flying === 0) this.lanes.delete(model);
  }
}
