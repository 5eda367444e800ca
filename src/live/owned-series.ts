/**
 * The series of the partitions that this process owns, as far as somebody wants their forecasts: which they are, which are
 * being read, the points that come for them, and which have work for the next round.
 */
import type { StreamBatch } from '../forecast/model/stream-batch.js';
import type { Database } from '../store/database.js';
import type { StoredState } from '../store/states.js';
import { Demands } from './demands.js';
import type { LiveOutput } from './feed.js';
import { SETTLED_AFTER } from './grid.js';
import type { Leases } from './leases.js';
import { LiveSeries, runsOf } from './live-series.js';
import { type Arrival, LoadQueue } from './load-queue.js';
import { Loader, MAX_LEAD_MS } from './loader.js';
import type { LogEntry } from './log/entry.js';
import { partitionOf } from './log/partition.js';
import type { Committed } from './outcome.js';
import type { OutputStore } from './output-store.js';
import { demandedSeries, type NamedSeries, seriesByNumber } from './owner-queries.js';
import { type Standing, standingOf } from './standing.js';

export interface OwnedSeriesOptions {
  database: Database;
  batch: StreamBatch;
  outputs: OutputStore;
  leases: Leases;
  /** Resolves when what was made before is committed. */
  settled: () => Promise<void>;
  /** Told when there is work for a round. */
  onWork: () => void;
  onError: (error: Error) => void;
}

/** Series that nobody has wanted for this long leave the memory. */
const LINGER_MS = 60_000;

export class OwnedSeries {
  private readonly byNumber = new Map<number, LiveSeries>();
  /** Numbers of series that nobody wants, so that their points are passed over. */
  private readonly unwanted = new Set<number>();
  /** Numbers that the log named and we do not know. */
  private readonly unknown = new Set<number>();
  /** Series whose reading has ended; the next round takes them in. */
  private arrived: Arrival[] = [];
  /** Series with work for the next round. */
  private readonly due = new Set<LiveSeries>();
  private readonly demands: Demands;
  private readonly loads: LoadQueue;

  constructor(private readonly options: OwnedSeriesOptions) {
    const { database, batch, settled, onWork, onError } = options;
    this.demands = new Demands(database);
    const arrived = (arrivals: Arrival[]) => {
      this.arrived.push(...arrivals);
      onWork();
    };
    this.loads = new LoadQueue(new Loader(database, batch, onError), { settled, arrived, onError });
  }

  get size(): number {
    return this.byNumber.size;
  }

  get loading(): number {
    return this.loads.size;
  }

  /** Whether the next round should not wait for the log. */
  get hasWork(): boolean {
    return this.arrived.length > 0 || this.due.size > 0;
  }

  /** Those of some partitions. */
  of(partitions: readonly number[]): LiveSeries[] {
    const wanted = new Set(partitions);
    return [...this.byNumber.values()].filter(({ partition }) => wanted.has(partition));
  }

  /** Waits for the reading that runs; no other begins. */
  close(): Promise<void> {
    return this.loads.close();
  }

  // Which they are

  /** Learns what is demanded by now. */
  async followDemands(): Promise<void> {
    const { changed, gone } = await this.demands.refresh();
    if (changed.length > 0) {
      this.unwanted.clear();
      await this.takePartitions(this.options.leases.partitions);
    }
    if (changed.length > 0 || gone) for (const series of this.byNumber.values()) this.want(series);
  }

  /** Takes in the series of these partitions that somebody demands. */
  async takePartitions(partitions: readonly number[]): Promise<void> {
    await this.take(await demandedSeries(this.options.database, partitions));
  }

  /** Takes in those that the log named for the first time, if somebody demands them. */
  async takeUnknown(): Promise<void> {
    if (this.unknown.size === 0) return;
    const ids = [...this.unknown];
    this.unknown.clear();
    const rows = await seriesByNumber(this.options.database, ids);
    const wanted = rows.filter(({ owner, name }) => this.demands.horizon(owner, name) > 0);
    const known = new Set(wanted.map(({ id }) => Number(id)));
    for (const id of ids) if (!known.has(id)) this.unwanted.add(id);
    await this.take(wanted);
  }

  private async take(rows: readonly NamedSeries[]): Promise<void> {
    const { outputs, leases } = this.options;
    const fresh = rows.filter(({ id }) => !this.byNumber.has(Number(id)));
    if (fresh.length === 0) return;
    const present = await outputs.standings(fresh.map(({ id }) => id));
    for (const { id, owner, name } of fresh) {
      const partition = partitionOf(id);
      if (this.byNumber.has(Number(id)) || !leases.get(partition)) continue;
      const series = new LiveSeries(id, owner, name, partition);
      series.output = present.get(id);
      series.committed = series.output;
      series.scoredAt = series.output?.at ?? Number.NEGATIVE_INFINITY;
      this.byNumber.set(Number(id), series);
      this.want(series);
      this.loads.add(series);
    }
  }

  private want(series: LiveSeries): void {
    const horizon = this.demands.horizon(series.owner, series.name);
    if (horizon > (series.output?.times.length ?? 0)) {
      series.wanting = true;
      this.due.add(series);
      this.options.onWork();
    }
    series.horizon = horizon;
    if (horizon > 0) series.idleSince = undefined;
    else series.idleSince ??= performance.now();
  }

  /** Those that nobody has wanted for long. */
  idle(): LiveSeries[] {
    const now = performance.now();
    return [...this.byNumber.values()].filter(
      ({ idleSince, pieces }) => idleSince !== undefined && now - idleSince > LINGER_MS && !pieces,
    );
  }

  /** Lets go of series that nobody wants, and passes over their points from now on. */
  passOver(idle: readonly LiveSeries[]): void {
    for (const series of idle) {
      if (series.horizon > 0) continue;
      this.forget(series);
      this.unwanted.add(Number(series.id));
    }
  }

  /** Lets go of the series of these partitions. */
  drop(partitions: readonly number[]): void {
    for (const series of this.of(partitions)) this.forget(series);
  }

  private forget(series: LiveSeries): void {
    series.gone = true;
    this.byNumber.delete(Number(series.id));
    this.loads.remove(series);
    this.due.delete(series);
  }

  // What comes for them

  /** Takes in the series that were read, and what came for them meanwhile. */
  takeArrivals(): void {
    for (const arrival of this.arrived.splice(0)) this.arrive(arrival);
  }

  private arrive({ series, loaded, changed }: Arrival): void {
    if (series.gone) return;
    if (loaded.deleted) {
      this.forget(series);
      return;
    }
    const pieces = series.pieces ?? [];
    const { again } = series;
    series.pieces = undefined;
    series.again = false;
    series.core = loaded.core;
    series.through = loaded.through;
    series.revisions = loaded.revisions;
    series.snapshotAt = loaded.snapshotAt;
    series.slot = loaded.slot ?? series.slot;
    for (const { seq, times, values } of pieces) if (seq > series.through) this.add(series, times, values);
    if (again) this.loads.add(series);
    const { core } = series;
    // The forecast that stands has seen less, or something else.
    const next = core && core.position > 0 ? core.timeOf(core.position) : undefined;
    if (changed || !loaded.slot || next !== series.output?.times[0]) series.wanting = true;
    if (series.core) this.due.add(series);
    else if (!series.pieces && loaded.points >= SETTLED_AFTER && !series.named) {
      series.named = true;
      const message = `series ${series.name} (${series.id}) has no forecast: its first points show no step or no value; state its frequency`;
      this.options.onError(new Error(message));
    }
  }

  /** Works an entry of the log in. */
  workIn(entry: LogEntry): void {
    const { points, touched } = entry.changes;
    for (const { id, from, to } of runsOf(entry)) {
      const series = this.byNumber.get(id);
      if (!series) {
        if (!this.unwanted.has(id)) this.unknown.add(id);
        continue;
      }
      const times = points.times.subarray(from, to);
      const values = points.values.subarray(from, to);
      if (series.pieces) series.keep({ seq: entry.seq, times, values });
      if (series.core ? entry.seq > series.through : !series.pieces) this.add(series, times, values);
    }
    touched.ids.forEach((id, i) => {
      const series = this.byNumber.get(id);
      if (series) this.loads.add(series, touched.from[i]!);
      else if (!this.unwanted.has(id)) this.unknown.add(id);
    });
  }

  /** Adds points to a series, or has it read again where they are too late for its state. */
  private add(series: LiveSeries, times: Float64Array, values: Float64Array): void {
    const limit = Date.now() + MAX_LEAD_MS;
    if (times.some((time) => time > limit)) {
      const kept = times.map((_, i) => i).filter((i) => times[i]! <= limit);
      if (kept.length === 0) return;
      this.add(
        series,
        Float64Array.from(kept, (i) => times[i]!),
        Float64Array.from(kept, (i) => values[i]!),
      );
      return;
    }
    if (!series.core) {
      this.loads.add(series);
      return;
    }
    try {
      if (series.core.add(times, values)) this.due.add(series);
      else this.loads.add(series, Math.min(...times));
    } catch (error) {
      this.lose([series], error);
    }
  }

  // What is made of them

  /** Those with something to step or to forecast, once. */
  takeDue(): LiveSeries[] {
    const due = [...this.due].filter(({ gone, core, wanting }) => !gone && core && (core.due || wanting));
    this.due.clear();
    return due;
  }

  /** Gives up the states of series that failed together, and has them read again; one that fails alone is tried later. */
  lose(group: readonly LiveSeries[], cause: unknown): void {
    const [only, another] = group;
    if (only && !another) {
      this.options.onError(new Error(`series ${only.name} (${only.id}) fails; it is read again`, { cause }));
    }
    for (const series of group) {
      series.core = undefined;
      series.wanting = true;
      this.due.delete(series);
      if (series.pieces) continue;
      if (another) this.loads.add(series);
      else this.loads.postpone(series);
    }
    if (another) this.options.onError(cause as Error);
  }

  /** The series keeps its present output and is read again, because its next one cannot be committed. */
  refuse(id: bigint, error: unknown): void {
    const series = this.byNumber.get(Number(id));
    if (!series) return;
    series.output = series.committed;
    this.lose([series], error);
  }

  /**
   * Takes outputs that are about to be committed for the present ones, so that the next round goes on from them. One that
   * follows an output which was refused meanwhile is left out.
   */
  expect(outputs: readonly LiveOutput[]): Map<LiveOutput, Standing> {
    const expected = new Map<LiveOutput, Standing>();
    for (const output of outputs) {
      const series = this.byNumber.get(Number(output.seriesId));
      if (!series || output.sequence !== (series.output?.sequence ?? 0) + 1) continue;
      series.output = standingOf(output);
      expected.set(output, series.output);
    }
    return expected;
  }

  /** Those that still follow what is in the store, or on its way there. */
  stillExpected(expected: ReadonlyMap<LiveOutput, Standing>): LiveOutput[] {
    return [...expected]
      .filter(([{ seriesId }, standing]) => this.byNumber.get(Number(seriesId))?.output === standing)
      .map(([output]) => output);
  }

  /**
   * Notes what was committed.
   *
   * @param expected of its outputs
   * @param taken whose the snapshots are that were to be kept
   */
  settle(
    { outputs, snapshots, deleted }: Committed,
    expected: ReadonlyMap<LiveOutput, Standing>,
    taken: ReadonlyMap<StoredState, LiveSeries>,
  ): void {
    for (const output of outputs) {
      const series = this.byNumber.get(Number(output.seriesId));
      if (!series) continue;
      series.committed = expected.get(output);
      series.failures = 0;
    }
    for (const id of deleted) {
      const series = this.byNumber.get(Number(id));
      if (series) this.forget(series);
    }
    for (const [state, series] of taken) {
      if (snapshots.has(state)) {
        series.slot = state.modelId.endsWith('/a') ? 'a' : 'b';
        series.snapshotAt = Number(state.position);
        series.revisions[series.slot] = state.revision + 1;
      } else this.loads.add(series);
    }
  }
}
