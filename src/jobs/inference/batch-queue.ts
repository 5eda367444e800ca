import type { ForecastRequest, ForecastResult } from '../../forecast/forecaster.js';

/** One request that waits for a place in a batch. */
export interface Waiting {
  model: string;
  request: ForecastRequest;
  /** 1 is the most urgent. */
  priority: number;
  /** `performance.now()` at its arrival. */
  since: number;
  /** `Date.now()` after which nobody wants the answer. */
  deadline: number;
  /** Inference processes that died of, or beside, this request. */
  crashes: number;
  resolve(result: ForecastResult): void;
  reject(error: unknown): void;
}

/**
 * Requests in the order of their urgency, and of their arrival within it. A batch holds one model's requests only. A
 * request that was twice in a batch whose process died is tried alone, so that it cannot take others with it again.
 */
export class BatchQueue {
  private readonly levels: { priority: number; items: Waiting[] }[] = [];
  private count = 0;

  get size(): number {
    return this.count;
  }

  push(item: Waiting): void {
    this.level(item.priority).items.push(item);
    this.count++;
  }

  /** Back to the front of their urgency, in their order. */
  unshift(items: readonly Waiting[]): void {
    for (const item of [...items].reverse()) this.level(item.priority).items.unshift(item);
    this.count += items.length;
  }

  private level(priority: number): { items: Waiting[] } {
    const at = this.levels.findIndex((level) => level.priority >= priority);
    if (at >= 0 && this.levels[at]!.priority === priority) return this.levels[at]!;
    const level = { priority, items: [] };
    this.levels.splice(at < 0 ? this.levels.length : at, 0, level);
    return level;
  }

  /** Arrival of the request that is next in turn; undefined when none waits. */
  next(): Waiting | undefined {
    return this.levels.find(({ items }) => items.length > 0)?.items[0];
  }

  /** Takes the next batch: the first request and those of the same model that follow it, at most `size`. */
  take(size: number): Waiting[] {
    const first = this.next();
    if (!first) return [];
    const limit = first.crashes > 1 ? 1 : size;
    const batch: Waiting[] = [];
    for (const level of this.levels) {
      if (batch.length >= limit) break;
      const rest: Waiting[] = [];
      for (const item of level.items) {
        const fits = item.model === first.model && (item.crashes <= 1 || item === first);
        if (batch.length < limit && fits) batch.push(item);
        else rest.push(item);
      }
      level.items = rest;
    }
    this.forgetEmpty();
    this.count -= batch.length;
    return batch;
  }

  /** Takes out what `gone` names. */
  remove(gone: (item: Waiting) => boolean): Waiting[] {
    const removed: Waiting[] = [];
    for (const level of this.levels) {
      const rest: Waiting[] = [];
      for (const item of level.items) (gone(item) ? removed : rest).push(item);
      level.items = rest;
    }
    this.forgetEmpty();
    this.count -= removed.length;
    return removed;
  }

  private forgetEmpty(): void {
    for (let i = this.levels.length - 1; i >= 0; i--) if (this.levels[i]!.items.length === 0) this.levels.splice(i, 1);
  }
}
