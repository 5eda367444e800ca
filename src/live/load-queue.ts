import type { LiveSeries } from './live-series.js';
import { LOAD_TOGETHER, type Loaded, type Loader } from './loader.js';

const RETRY_MS = 200;

/** A series that fails alone is tried again after twice the time, at most this long. */
const LONGEST_RETRY_MS = 60_000;

/** A series that has been read. */
export interface Arrival {
  series: LiveSeries;
  loaded: Loaded;
  /** It was read because points behind its state had changed. */
  changed: boolean;
}

export interface LoadQueueOptions {
  /** Resolves when what was made before is committed. */
  settled: () => Promise<void>;
  arrived: (arrivals: Arrival[]) => void;
  onError: (error: Error) => void;
}

/** Series that wait to be read from the store, many at a time, while the others go on. */
export class LoadQueue {
  private readonly waiting = new Set<LiveSeries>();
  private loading: Promise<void> | undefined;
  private closed = false;
  /** Series that have failed alone, until they are tried again. */
  private readonly aside = new Map<LiveSeries, NodeJS.Timeout>();
  /** Series of the next reading: half of those that failed, so that the one at fault comes to be alone. */
  private together = LOAD_TOGETHER;

  constructor(
    private readonly loader: Loader,
    private readonly options: LoadQueueOptions,
  ) {}

  get size(): number {
    return this.waiting.size + this.aside.size;
  }

  /**
   * Has a series read, once more if it is being read already. Points that come meanwhile go into its `pieces`.
   *
   * @param changedFrom points at or after this time have changed, so snapshots that have passed it are worthless
   */
  add(series: LiveSeries, changedFrom = Number.POSITIVE_INFINITY): void {
    series.changedFrom = Math.min(series.changedFrom, changedFrom);
    if (series.pieces && !this.waiting.has(series)) {
      series.again = true;
      return;
    }
    series.pieces ??= [];
    this.waiting.add(series);
    this.start();
  }

  /** Has a series that failed read again, the later the more often it has. Points that come meanwhile go into its `pieces`. */
  postpone(series: LiveSeries): void {
    series.pieces ??= [];
    if (series.gone || this.closed || this.aside.has(series)) return;
    const retry = () => {
      this.aside.delete(series);
      this.waiting.add(series);
      this.start();
    };
    const ms = Math.min(LONGEST_RETRY_MS, RETRY_MS * 2 ** series.failures++);
    this.aside.set(series, setTimeout(retry, ms));
  }

  remove(series: LiveSeries): void {
    this.waiting.delete(series);
    clearTimeout(this.aside.get(series));
    this.aside.delete(series);
  }

  async close(): Promise<void> {
    this.closed = true;
    for (const timer of this.aside.values()) clearTimeout(timer);
    await this.loading;
  }

  private start(): void {
    this.loading ??= this.run().finally(() => {
      this.loading = undefined;
      // One may have come after the last look.
      if (this.waiting.size > 0 && !this.closed) this.start();
    });
  }

  private async run(): Promise<void> {
    while (this.waiting.size > 0 && !this.closed) {
      const group = [...this.waiting].slice(0, this.together);
      for (const series of group) this.waiting.delete(series);
      const requests = group.map(({ id, partition, changedFrom }) => ({ id, partition, changedFrom }));
      for (const series of group) series.changedFrom = Number.POSITIVE_INFINITY;
      try {
        // A snapshot on its way may be of a series that has changed since: it must be in the store to be ruled out.
        await this.options.settled();
        const loaded = await this.loader.load(requests);
        this.options.arrived(
          group.map((series, i) => ({
            series,
            loaded: loaded[i]!,
            changed: requests[i]!.changedFrom < Number.POSITIVE_INFINITY,
          })),
        );
        this.together = Math.min(LOAD_TOGETHER, 2 * this.together);
      } catch (cause) {
        this.together = Math.max(1, group.length >> 1);
        group.forEach((series, i) => {
          series.changedFrom = Math.min(series.changedFrom, requests[i]!.changedFrom);
          if (group.length > 1 && !series.gone) this.waiting.add(series);
        });
        const [only] = group;
        if (group.length > 1) this.options.onError(cause as Error);
        else {
          this.options.onError(new Error(`series ${only!.id} cannot be read`, { cause }));
          this.postpone(only!);
        }
        await new Promise((done) => setTimeout(done, RETRY_MS));
      }
    }
  }
}
