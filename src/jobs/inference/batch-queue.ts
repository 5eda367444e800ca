import type { WorkKind, Works } from './protocol.js';

/** One request that waits for a place in a batch. */
export interface Waiting {
  model: string;
  kind: WorkKind;
  request: Works[WorkKind]['request'];
  /** Work in it; 1 is a forecast of a usual history. */
  weight: number;
  /** 1 is the most urgent. */
  priority: number;
  /** `performance.now()` at its arrival. */
  since: number;
  /** `Date.now()` after which nobody wants the answer. */
  deadline: number;
  /** Inference processes that died of, or beside, this request. */
  crashes: number;
  resolve(result: never): void;
  reject(error: unknown): void;
}

/** From this priority on nobody waits for the answer: such requests never hold up others for long. */
export const PATIENT = 20;

export const isPatient = ({ priority }: { priority: number }) => priority >= PATIENT;

/**
 * Requests in the order of their urgency, and of their arrival within it. A batch holds requests of one model and one kind only. A
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

  /**
   * Takes the next batch: the first request and those of its model and kind that follow it, of a weight of at most `size`
   * together. Requests that are not urgent fill it up only if the first one is not urgent either.
   */
  take(size: number): Waiting[] {
    const first = this.next();
    if (!first) return [];
    const batch: Waiting[] = [];
    let weight = 0;
    for (const level of this.levels) {
      if (weight >= size) break;
      if (isPatient(level) !== isPatient(first)) continue;
      const rest: Waiting[] = [];
      for (const item of level.items) {
        const alike = item.model === first.model && item.kind === first.kind;
        const fits =
          item === first || (alike && item.crashes <= 1 && first.crashes <= 1 && weight + item.weight <= size);
        if (fits) {
          batch.push(item);
          weight += item.weight;
        } else rest.push(item);
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
