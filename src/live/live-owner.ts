/**
 * The owner of partitions of live series: keeps their states in memory, works in what the log brings, commits states and
 * outputs together with how far it has come in the log. What it holds can be lost at any time: the next owner reads
 * the last snapshots and the points behind them, and goes on with the same numbers.
 */
import type { StreamBatch } from '../forecast/model/stream-batch.js';
import type { Database } from '../store/database.js';
import { CommitLine } from './commit-line.js';
import { Committer } from './committer.js';
import type { OutputHook } from './feed.js';
import { type Held, Leases } from './leases.js';
import type { LiveSeries } from './live-series.js';
import { LOAD_TOGETHER } from './loader.js';
import type { LogEntry } from './log/entry.js';
import type { LogFollower } from './log/follower.js';
import type { Cursor, Outcome } from './outcome.js';
import { OutputStore } from './output-store.js';
import { OwnedSeries } from './owned-series.js';
import { settleCursor, trimLog } from './owner-queries.js';
import { PatientCommitter } from './patient-committer.js';
import type { Publisher } from './publish.js';
import { addSnapshots } from './snapshot.js';
import { stepAll } from './stepping.js';

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

const CURSORS_EVERY_MS = 250;
const DEMAND_EVERY_MS = 500;
const TRIM_EVERY_MS = 5000;
const RETRY_MS = 200;

export class LiveOwner {
  private readonly leases: Leases;
  private readonly series: OwnedSeries;
  private readonly committer: Committer;
  private readonly patient: PatientCommitter;
  private readonly line: CommitLine;
  private timers: NodeJS.Timeout[] = [];
  private readonly busy = new Set<Promise<void>>();
  private closing = false;
  /** Work that must not meet a round half done. */
  private chores: (() => Promise<void>)[] = [];
  /** Cursors that wait for a commit. */
  private cursors = new Map<number, Cursor>();
  private committedAt = 0;
  private alive = performance.now();
  private ended = false;
  private running: Promise<void> | undefined;

  constructor(private readonly options: OwnerOptions) {
    const { database, batch, follower, publisher, hooks, id, leaseMs, onError } = options;
    this.leases = new Leases(database, id, leaseMs);
    const { leases } = this;
    const outputs = new OutputStore(database, onError);
    this.series = new OwnedSeries({
      database,
      batch,
      outputs,
      leases,
      settled: () => this.line.settled(),
      onWork: () => follower.stir(),
      onError,
    });
    this.committer = new Committer(database, outputs, leases, publisher, hooks);
    this.patient = new PatientCommitter(this.committer, {
      onError,
      onLost: (lost) => {
        // One that we have taken again meanwhile is another ownership.
        const ended = [...lost].filter(([partition, { epoch }]) => leases.get(partition)?.epoch === epoch);
        const partitions = ended.map(([partition]) => partition);
        leases.forget(partitions);
        this.drop(partitions);
      },
      onFault: (seriesId, error) => this.series.refuse(seriesId, error),
      onTry: () => {
        this.alive = performance.now();
      },
    });
    this.line = new CommitLine({ series: this.series, patient: this.patient, follower, onError });
  }

  /** Takes its share of the partitions and begins. */
  async start(): Promise<void> {
    await this.series.followDemands();
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
      loading: this.series.loading,
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
    this.patient.hurry();
    for (const timer of this.timers) clearInterval(timer);
    this.options.follower.stir();
    await this.running;
    await Promise.all(this.busy);
    await this.series.close();
    await this.save(this.series.of(this.leases.partitions)).catch(this.options.onError);
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
      await this.series.takePartitions([partition]);
    } catch (error) {
      // Whoever gets it next begins anew; that may be us.
      this.drop([partition]);
      await this.leases.release([partition]);
      throw error;
    }
  }

  private async giveBack(partitions: readonly number[]): Promise<void> {
    await this.save(this.series.of(partitions));
    this.drop(partitions);
    await this.leases.release(partitions);
  }

  private drop(partitions: readonly number[]): void {
    for (const partition of partitions) {
      this.options.follower.unfollow(partition);
      this.cursors.delete(partition);
    }
    this.series.drop(partitions);
  }

  private async refreshDemands(): Promise<void> {
    await this.series.followDemands();
    await this.between(() => this.evict());
  }

  private async evict(): Promise<void> {
    const idle = this.series.idle();
    if (idle.length === 0) return;
    await this.save(idle);
    this.series.passOver(idle);
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
        if (this.chores.length > 0) await this.line.settled();
        for (const chore of this.chores.splice(0)) await chore();
        if (this.closing) continue;
        const entries = await this.options.follower.take(this.series.hasWork ? 0 : WAIT_MS, ROUND_ENTRIES);
        await this.round(entries);
      } catch (error) {
        this.options.onError(error as Error);
        await sleep(RETRY_MS);
      }
    }
    await this.line.settled();
    this.ended = true;
  }

  /** Works entries in. Its commit begins when that of the round before is done, and goes on beside the next round. */
  private async round(entries: readonly LogEntry[]): Promise<void> {
    const begin = performance.now();
    this.series.takeArrivals();
    const outcome: Outcome = { cursors: this.cursors, outputs: [], snapshots: new Map() };
    for (const entry of entries) {
      const held = this.leases.get(entry.partition);
      if (!held) continue;
      this.series.workIn(entry);
      this.cursors.set(entry.partition, { seq: entry.seq, epoch: held.epoch });
    }
    await this.series.takeUnknown();
    const due = this.series.takeDue();
    outcome.outputs = await stepAll(this.options.batch, due, (group, error) => this.series.lose(group, error));
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
      if (held && !outcome.cursors.has(series.partition)) outcome.cursors.set(series.partition, cursorOf(held));
    }
    await this.line.begin(outcome, taken, (outputs) => {
      this.options.onRound?.({ entries: entries.length, series: due.length, outputs, ms: performance.now() - begin });
    });
  }

  /** Keeps the states of series as they are. */
  private async save(series: readonly LiveSeries[]): Promise<void> {
    for (let from = 0; from < series.length; from += LOAD_TOGETHER) {
      const some = series.slice(from, from + LOAD_TOGETHER);
      const outcome: Outcome = { cursors: new Map(), outputs: [], snapshots: new Map() };
      const taken = addSnapshots(this.options.batch.model, some, outcome, { patches: 1, most: LOAD_TOGETHER });
      for (const { partition } of some) {
        const held = this.leases.get(partition);
        if (held) outcome.cursors.set(partition, cursorOf(held));
      }
      if (taken.size === 0) continue;
      try {
        this.series.settle(await this.committer.commit(outcome), new Map(), taken);
      } finally {
        for (const one of taken.values()) one.saving = false;
      }
    }
  }
}

const cursorOf = ({ cursor, epoch }: Held): Cursor => ({ seq: cursor, epoch });

const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));
