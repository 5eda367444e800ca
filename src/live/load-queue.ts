import type { LiveSeries } from './live-series.js';
import { LOAD_TOGETHER, type Loaded, type Loader } from './loader.js';

const RETRY_MS = 200;

/** A series that has been read. */
export interface Arrival {
  series: LiveSeries;
  loaded: Loaded;
  /** It was read because points behind its state had changed. */
  changed: boolean;
}

/** Series that wait to be read from the store, many at a time, while the others go on. */
export class LoadQueue {
  private readonly waiting = new Set<LiveSeries>();
  private loading: Promise<void> | undefined;
  private closed = false;

  constructor(
    private readonly loader: Loader,
    private readonly onArrival: (arrivals: Arrival[]) => void,
    private readonly onError: (error: Error) => void,
  ) {}

  get size(): number {
    return this.waiting.size;
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

  remove(series: LiveSeries): void {
    this.waiting.delete(series);
  }

  async close(): Promise<void> {
    this.closed = true;
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
      const group = [...this.waiting].slice(0, LOAD_TOGETHER);
      for (const series of group) this.waiting.delete(series);
      const requests = group.map(({ id, partition, changedFrom }) => ({ id, partition, changedFrom }));
      for (const series of group) series.changedFrom = Number.POSITIVE_INFINITY;
      try {
        const loaded = await this.loader.load(requests);
        this.onArrival(
          group.map((series, i) => ({
            series,
            loaded: loaded[i]!,
            changed: requests[i]!.changedFrom < Number.POSITIVE_INFINITY,
          })),
        );
      } catch (error) {
        this.onError(error as Error);
        group.forEach((series, i) => {
          series.changedFrom = Math.min(series.changedFrom, requests[i]!.changedFrom);
          if (!series.gone) this.waiting.add(series);
        });
        await new Promise((done) => setTimeout(done, RETRY_MS));
      }
    }
  }
}
