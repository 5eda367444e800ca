/**
 * The owner of partitions of live series: keeps their states in memory, works in what the log brings, commits states and
 * outputs together with how far it has come in the log. What it holds can be lost at any time: the next owner reads
 * the last snapshots and the points behind them, and goes on with the same numbers.
 */
import type { StreamBatch } from '../forecast/model/stream-batch.js';
import type { Database } from '../store/database.js';
import type { StoredState } from '../store/states.js';
import {
  type Committed,
  Committer,
  halvesOf,
  isOfContent,
  type Outcome,
  seriesOf,
  withoutPartitions,
} from './committer.js';
import { Demands } from './demands.js';
import type { LiveOutput, OutputHook } from './feed.js';
import { forecastAll } from './forecasting.js';
import { SETTLED_AFTER } from './grid.js';
import { type Held, LeaseLost, Leases } from './leases.js';
import { LiveSeries, runsOf } from './live-series.js';
import { type Arrival, LoadQueue } from './load-queue.js';
import { LOAD_TOGETHER, Loader, MAX_LEAD_MS } from './loader.js';
import type { LogEntry } from './log/entry.js';
import type { LogFollower } from './log/follower.js';
import { partitionOf } from './log/partition.js';
import { OutputStore } from './output-store.js';
import { demandedSeries, type NamedSeries, seriesByNumber, settleCursor, trimLog } from './owner-queries.js';
import type { Publisher } from './publish.js';
import { addSnapshots } from './snapshot.js';
import { standingOf } from './standing.js';

export interface OwnerOptions {
  database: Database;
  batch: StreamBatch;
  follower: LogFollower;
  publisher: Publisher;
  hooks: readonly OutputHook[];
  /** Of this process among the owners. */
  id: string;
  /** How long partitions stay with an owner that gives no sign of life, milliseconds. */
  leaseMs: number;
  onError: (error: Error) => void;
  /** Told about every round that did something. */
  onRound?: (round: { entries: number; series: number; outputs: number; ms: number }) => void;
}

/** Entries of one round, and how long it waits for the first. */
const ROUND_ENTRIES = 2000;
const WAIT_MS = 100;

/** Patches after which a series is due for a snapshot, and snapshots of one round. */
const SNAPSHOT_PATCHES = 16;
const SNAPSHOTS_A_ROUND = 24;

/** Series that nobody has wanted for this long leave the memory. */
const LINGER_MS = 60_000;

const CURSORS_EVERY_MS = 250;
const DEMAND_EVERY_MS = 500;
const TRIM_EVERY_MS = 5000;
const RETRY_MS = 200;

export class LiveOwner {
  private readonly series = new Map<number, LiveSeries>();
  /** Numbers of series that nobody wants, so that their points are passed over. */
  private readonly unwanted = new Set<number>();
  private readonly unknown = new Set<number>();
  /** Series whose reading has ended; the next round takes them in. */
  private arrived: Arrival[] = [];
  /** Series with work for the next round. */
  private readonly due = new Set<LiveSeries>();
  private readonly leases: Leases;
  private readonly committer: Committer;
  private readonly demands: Demands;
  private readonly loads: LoadQueue;
  private readonly outputs: OutputStore;
  private timers: NodeJS.Timeout[] = [];
  private readonly busy = new Set<Promise<void>>();
  private closing = false;
  /** Work that must not meet a round half done. */
  private chores: (() => Promise<void>)[] = [];
  /** Cursors that wait for a commit. */
  private cursors = new Map<number, number>();
  private committedAt = 0;
  private alive = performance.now();
  private ended = false;
  private running: Promise<void> | undefined;

  constructor(private readonly options: OwnerOptions) {
    const { database, batch, publisher, hooks, id, leaseMs } = options;
    this.leases = new Leases(database, id, leaseMs);
    this.outputs = new OutputStore(database, options.onError);
    this.committer = new Committer(database, this.outputs, this.leases, publisher, hooks);
    this.demands = new Demands(database);
    const arrived = (arrivals: Arrival[]) => {
      this.arrived.push(...arrivals);
      this.options.follower.stir();
    };
    this.loads = new LoadQueue(new Loader(database, batch, options.onError), arrived, options.onError);
  }

  /** Takes its share of the partitions and begins. */
  async start(): Promise<void> {
    await this.demands.refresh();
    await this.beat();
    await Promise.all(this.busy);
    this.every(this.options.leaseMs / 5, () => this.beat());
    this.every(DEMAND_EVERY_MS, () => this.refreshDemands());
    this.every(TRIM_EVERY_MS, () => trimLog(this.options.database));
    this.running = this.run();
  }

  /** What it holds at this moment. */
  get held(): { partitions: number; series: number; loading: number; backlog: number } {
    return {
      partitions: this.leases.partitions.length,
      series: this.series.size,
      loading: this.loads.size,
      backlog: this.options.follower.backlog,
    };
  }

  /** Milliseconds since it last began a round; grows when a device hangs. */
  get silence(): number {
    return performance.now() - this.alive;
  }

  /** Ends the round that runs, keeps all states, and gives the partitions to the others. */
  async close(): Promise<void> {
    this.closing = true;
    for (const timer of this.timers) clearInterval(timer);
    this.options.follower.stir();
    await this.running;
    await Promise.all(this.busy);
    await this.loads.close();
    await this.saveAll(this.leases.partitions).catch(this.options.onError);
    await this.leases.leave().catch(this.options.onError);
  }

  private every(ms: number, work: () => Promise<void>): void {
    let active = false;
    const timer = setInterval(() => {
      if (active) return;
      active = true;
      this.track(
        work().finally(() => {
          active = false;
        }),
      );
    }, ms);
    this.timers.push(timer);
  }

  private track(work: Promise<void>): void {
    const done: Promise<void> = work.catch(this.options.onError).finally(() => this.busy.delete(done));
    this.busy.add(done);
  }

  // Ownership

  private async beat(): Promise<void> {
    const { lost, claimed, surplus } = await this.leases.beat();
    this.drop(lost);
    // Not waited for: the next sign of life must not be late.
    for (const one of claimed) this.track(this.adopt(one));
    if (surplus > 0 && claimed.length === 0) {
      await this.between(() => this.giveBack(this.leases.partitions.slice(-surplus)));
    }
  }

  /** From now on this partition is ours: its states are read in one view with the log, whatever the owner before had done. */
  private async adopt({ partition, cursor }: Held): Promise<void> {
    const { database, follower } = this.options;
    try {
      await follower.follow(partition, await settleCursor(database, partition, cursor));
      await this.take(await demandedSeries(database, [partition]));
    } catch (error) {
      // Whoever gets it next begins anew; that may be us.
      this.drop([partition]);
      await this.leases.release([partition]);
      throw error;
    }
  }

  private async giveBack(partitions: readonly number[]): Promise<void> {
    await this.saveAll(partitions);
    this.drop(partitions);
    await this.leases.release(partitions);
  }

  private drop(partitions: readonly number[]): void {
    const gone = new Set(partitions);
    for (const partition of partitions) {
      this.options.follower.unfollow(partition);
      this.cursors.delete(partition);
    }
    for (const series of this.series.values()) if (gone.has(series.partition)) this.forget(series);
  }

  private forget(series: LiveSeries): void {
    series.gone = true;
    this.series.delete(Number(series.id));
    this.loads.remove(series);
    this.due.delete(series);
  }

  // Demand

  private async refreshDemands(): Promise<void> {
    const { changed, gone } = await this.demands.refresh();
    if (changed.length > 0) {
      this.unwanted.clear();
      await this.take(await demandedSeries(this.options.database, this.leases.partitions));
    }
    if (changed.length > 0 || gone) for (const series of this.series.values()) this.want(series);
    await this.between(() => this.evict());
  }

  private want(series: LiveSeries): void {
    const horizon = this.demands.horizon(series.owner, series.name);
    if (horizon > (series.output?.times.length ?? 0)) {
      series.wanting = true;
      this.due.add(series);
      this.options.follower.stir();
    }
    series.horizon = horizon;
    if (horizon > 0) series.idleSince = undefined;
    else series.idleSince ??= performance.now();
  }

  /** Numbers that the log named and we do not know. */
  private async identify(): Promise<void> {
    const ids = [...this.unknown];
    this.unknown.clear();
    const rows = await seriesByNumber(this.options.database, ids);
    const wanted = rows.filter(({ owner, name }) => this.demands.horizon(owner, name) > 0);
    const known = new Set(wanted.map(({ id }) => Number(id)));
    for (const id of ids) if (!known.has(id)) this.unwanted.add(id);
    await this.take(wanted);
  }

  private async take(rows: readonly NamedSeries[]): Promise<void> {
    const fresh = rows.filter(({ id }) => !this.series.has(Number(id)));
    if (fresh.length === 0) return;
    const present = await this.outputs.standings(fresh.map(({ id }) => id));
    for (const { id, owner, name } of fresh) {
      const partition = partitionOf(id);
      if (this.series.has(Number(id)) || !this.leases.get(partition)) continue;
      const series = new LiveSeries(id, owner, name, partition);
      series.output = present.get(id);
      series.scoredAt = series.output?.at ?? Number.NEGATIVE_INFINITY;
      this.series.set(Number(id), series);
      this.want(series);
      this.loads.add(series);
    }
  }

  private async evict(): Promise<void> {
    const now = performance.now();
    const idle = [...this.series.values()].filter(
      ({ idleSince, pieces }) => idleSince !== undefined && now - idleSince > LINGER_MS && !pieces,
    );
    if (idle.length === 0) return;
    await this.save(idle);
    for (const series of idle) {
      if (series.horizon > 0) continue;
      this.forget(series);
      this.unwanted.add(Number(series.id));
    }
  }

  /** Takes in a series that was read, and what came for it meanwhile. */
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

  // Rounds

  /** Does something between two rounds. */
  private between(work: () => Promise<void>): Promise<void> {
    if (this.ended) return work();
    return new Promise((resolve, reject) => {
      this.chores.push(() => work().then(resolve, reject));
      this.options.follower.stir();
    });
  }

  private async run(): Promise<void> {
    while (!this.closing || this.chores.length > 0) {
      this.alive = performance.now();
      try {
        for (const chore of this.chores.splice(0)) await chore();
        if (this.closing) continue;
        const quick = this.arrived.length > 0 || this.due.size > 0;
        const entries = await this.options.follower.take(quick ? 0 : WAIT_MS, ROUND_ENTRIES);
        await this.round(entries);
      } catch (error) {
        this.options.onError(error as Error);
        await sleep(RETRY_MS);
      }
    }
    this.ended = true;
  }

  private async round(entries: readonly LogEntry[]): Promise<void> {
    const begin = performance.now();
    for (const arrival of this.arrived.splice(0)) this.arrive(arrival);
    const outcome: Outcome = { cursors: this.cursors, outputs: [], snapshots: new Map() };
    for (const entry of entries) {
      if (!this.leases.get(entry.partition)) continue;
      this.workIn(entry);
      this.cursors.set(entry.partition, entry.seq);
    }
    if (this.unknown.size > 0) await this.identify();
    const due = [...this.due].filter(({ gone, core, wanting }) => !gone && core && (core.due || wanting));
    this.due.clear();
    outcome.outputs = await this.step(due);
    const stepped = due.filter(({ core }) => core);
    for (const series of stepped) series.wanting = false;
    const taken = addSnapshots(this.options.batch.model, stepped, outcome, {
      patches: SNAPSHOT_PATCHES,
      most: SNAPSHOTS_A_ROUND,
    });
    if (outcome.outputs.length === 0 && taken.size === 0) {
      // Entries that nobody waits for are counted now and then.
      if (this.cursors.size === 0 || begin - this.committedAt < CURSORS_EVERY_MS) return;
    }
    this.cursors = new Map();
    this.committedAt = begin;
    // Outputs and snapshots without news of the log are fenced all the same.
    for (const series of due) {
      const held = this.leases.get(series.partition);
      if (held && !outcome.cursors.has(series.partition)) outcome.cursors.set(series.partition, held.cursor);
    }
    const committed = await this.commit(outcome);
    if (committed) this.settle(committed, taken);
    await this.options.follower.acknowledge(outcome.cursors).catch(this.options.onError);
    const ms = performance.now() - begin;
    this.options.onRound?.({ entries: entries.length, series: due.length, outputs: outcome.outputs.length, ms });
  }

  /** Steps series as one batch; those that were in a batch that failed come in ever smaller ones, until the one at fault is alone. */
  private async step(due: readonly LiveSeries[]): Promise<LiveOutput[]> {
    const outputs: LiveOutput[] = [];
    for (const together of new Set(due.map((series) => series.together))) {
      const some = due.filter((series) => series.together === together);
      for (let from = 0; from < some.length; from += together) {
        const group = some.slice(from, from + together);
        try {
          outputs.push(...(await forecastAll(this.options.batch, group)));
          for (const series of group) {
            series.together = Number.POSITIVE_INFINITY;
          }
        } catch (error) {
          // Their states are lost.
          for (const series of group) {
            series.together = Math.max(1, group.length >> 1);
            this.lose(series, error, group.length === 1);
          }
          if (group.length > 1) this.options.onError(error as Error);
        }
      }
    }
    return outputs;
  }

  /** Gives up the state of a series after a failure, and has it read again. */
  private lose(series: LiveSeries, cause: unknown, alone = true): void {
    if (alone)
      this.options.onError(new Error(`series ${series.name} (${series.id}) fails; it is read again`, { cause }));
    series.core = undefined;
    series.wanting = true;
    this.due.delete(series);
    if (series.pieces) return;
    if (alone) this.loads.postpone(series);
    else this.loads.add(series);
  }

  private workIn(entry: LogEntry): void {
    const { points, touched } = entry.changes;
    for (const { id, from, to } of runsOf(entry)) {
      const series = this.series.get(id);
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
      const series = this.series.get(id);
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
      this.lose(series, error);
    }
  }

  /** Commits, however long the database is away; what others have taken over is left out. */
  private async commit(outcome: Outcome): Promise<Committed | undefined> {
    let left = outcome;
    while (left.cursors.size > 0) {
      this.alive = performance.now();
      try {
        return await this.committer.commit(left);
      } catch (error) {
        this.options.onError(error as Error);
        if (error instanceof LeaseLost) {
          this.leases.forget(error.partitions);
          this.drop(error.partitions);
          left = withoutPartitions(left, new Set(error.partitions), partitionOf);
        } else if (isOfContent(error)) return this.commitApart(left, error);
        else if (this.closing) return undefined;
        else await sleep(RETRY_MS);
      }
    }
    return undefined;
  }

  /** Commits what can be, when something in it cannot: the series at fault keeps its present output and is read again. */
  private async commitApart(outcome: Outcome, error: unknown): Promise<Committed | undefined> {
    const halves = halvesOf(outcome);
    if (!halves) {
      const [id] = seriesOf(outcome);
      // Cursors alone hold nothing that could be at fault.
      if (id === undefined) throw error;
      const series = this.series.get(Number(id));
      if (series) this.lose(series, error);
      return this.commit({ cursors: outcome.cursors, outputs: [], snapshots: new Map() });
    }
    const [first, second] = [await this.commit(halves[0]), await this.commit(halves[1])];
    if (!first || !second) return first ?? second;
    return {
      outputs: [...first.outputs, ...second.outputs],
      snapshots: new Set([...first.snapshots, ...second.snapshots]),
      deleted: [...first.deleted, ...second.deleted],
    };
  }

  private settle({ outputs, snapshots, deleted }: Committed, taken: ReadonlyMap<StoredState, LiveSeries>): void {
    for (const output of outputs) {
      const series = this.series.get(Number(output.seriesId));
      if (!series) continue;
      series.output = standingOf(output);
      series.failures = 0;
    }
    for (const id of deleted) {
      const series = this.series.get(Number(id));
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

  /** Keeps the states of all series of these partitions. */
  private async saveAll(partitions: readonly number[]): Promise<void> {
    const wanted = new Set(partitions);
    await this.save([...this.series.values()].filter(({ partition }) => wanted.has(partition)));
  }

  private async save(series: readonly LiveSeries[]): Promise<void> {
    for (let from = 0; from < series.length; from += LOAD_TOGETHER) {
      const some = series.slice(from, from + LOAD_TOGETHER);
      const outcome: Outcome = { cursors: new Map(), outputs: [], snapshots: new Map() };
      const taken = addSnapshots(this.options.batch.model, some, outcome, { patches: 1, most: LOAD_TOGETHER });
      for (const { partition } of some) {
        const held = this.leases.get(partition);
        if (held) outcome.cursors.set(partition, held.cursor);
      }
      if (taken.size === 0) continue;
      const committed = await this.committer.commit(outcome);
      this.settle(committed, taken);
    }
  }
}

const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));
