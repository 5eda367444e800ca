/**
 * Writes of many callers in one transaction each time: while one is being committed, the next ones gather. A single write
 * on an idle system goes at once; under load a commit is shared by all that wait.
 */
import type { ColumnStore } from '../forecast/series/columns.js';
import { AdderError } from '../platform/errors.js';
import { checkName } from '../store/checks.js';
import type { Database } from '../store/database.js';
import { type ChangedPoints, type PointColumns, PointWriter, type WriteResult } from '../store/points.js';
import { SeriesStore } from '../store/series.js';
import type { Announcer } from './announce.js';
import type { Ack, Ingest, Rejection, WriteOptions, Writer } from './ingest.js';
import { type Appended, appendChanges } from './log/append.js';
import { collect } from './log/collect.js';
import { checked, merged, share, toColumns } from './point-batch.js';
import { SeriesNames } from './series-names.js';

/** Points of one transaction; a larger batch has one of its own. */
const TOGETHER = 40_000;

/** Points that may wait in one process, and of them one owner's. */
const WAITING = 1_000_000;
const OWN_WAITING = WAITING / 2;

/** Too much waits already. */
export class IngestOverloaded extends AdderError {
  constructor(
    waiting: number,
    readonly retryAfter: number,
  ) {
    super({
      code: 'OVERLOADED',
      message: `${waiting} points wait to be written already`,
      fix: `send them again in ${retryAfter} s`,
    });
  }
}

interface Waiting {
  owner: string;
  points: PointColumns;
  place: { stream: string; sequence: bigint } | undefined;
  resolve(result: WriteResult): void;
  reject(error: unknown): void;
}

export interface GroupIngestOptions {
  announcer: Announcer;
}

export class GroupIngest implements Ingest {
  private readonly writer: PointWriter;
  private readonly names: SeriesNames;
  private queue: Waiting[] = [];
  private waiting = 0;
  private readonly waitingOf = new Map<string, number>();
  private running: Promise<void> | undefined;
  /** The last write of each stream that is on its way to the queue. */
  private readonly turns = new Map<string, Promise<void>>();
  /** Points a second, smoothed. */
  private rate = 20_000;

  constructor(
    private readonly database: Database,
    private readonly options: GroupIngestOptions,
  ) {
    this.writer = new PointWriter(database);
    this.names = new SeriesNames(new SeriesStore(database));
  }

  async write(writer: Writer, rows: ColumnStore, options: WriteOptions = {}): Promise<Ack> {
    const { owner } = writer;
    const rejected: Rejection[] = [];
    const good = checked(rows, options.partial ? rejected : undefined);
    const place =
      options.stream === undefined
        ? undefined
        : { stream: checkName(options.stream, 'stream'), sequence: options.sequence ?? 0n };
    if (this.waiting + good.length > WAITING && this.waiting > 0) throw this.overloaded();
    if ((this.waitingOf.get(owner) ?? 0) > OWN_WAITING) throw this.overloaded();
    this.count(owner, good.length);
    try {
      for (let attempt = 0; ; attempt++) {
        const { points, kept } = await this.inOrder(owner, place, () =>
          this.columns(writer, rows, good, options, rejected),
        );
        try {
          const counts =
            points.times.length === 0 && !place
              ? { inserted: 0, updated: 0, unchanged: 0, repeated: false }
              : await this.commit(owner, points, place);
          return { ...counts, series: kept, rejected: rejected.sort((a, b) => a.index - b.index) };
        } catch (error) {
          // A series was deleted since its number was learnt: what is written to it now makes it again.
          if (attempt > 0 || !(error instanceof AdderError) || error.code !== 'UNKNOWN_SERIES') throw error;
          this.names.forget(owner);
        }
      }
    } finally {
      this.count(owner, -good.length);
    }
  }

  /** Waits for what was begun; writes that come later are refused by the database that is closed. */
  async close(): Promise<void> {
    while (this.running) await this.running;
  }

  /** Writes of one stream come to the queue in the order of the calls, or a later one would make an earlier one a repetition. */
  private inOrder<T>(owner: string, place: Waiting['place'], work: () => Promise<T>): Promise<T> {
    if (!place) return work();
    const stream = `${owner}\n${place.stream}`;
    const mine = (this.turns.get(stream) ?? Promise.resolve()).then(work);
    const done = mine.then(
      () => {},
      () => {},
    );
    this.turns.set(stream, done);
    void done.then(() => {
      if (this.turns.get(stream) === done) this.turns.delete(stream);
    });
    return mine;
  }

  private async columns(
    writer: Writer,
    rows: ColumnStore,
    good: Uint32Array,
    options: WriteOptions,
    rejected: Rejection[],
  ): Promise<{ points: PointColumns; kept: number }> {
    const used = new Uint8Array(rows.ids.length);
    for (const row of good) used[rows.series[row]!] = 1;
    const names = rows.ids.filter((_, s) => used[s]);
    let ids: bigint[];
    try {
      ids = await this.names.resolve(writer, names, options.describe);
    } catch (error) {
      if (!options.partial || !(error instanceof AdderError) || error.code !== 'TOO_MANY_SERIES') throw error;
      return this.withinQuota(writer, rows, good, rejected, error.message);
    }
    return { points: toColumns(rows, good, new Map(names.map((name, i) => [name, ids[i]!]))), kept: names.length };
  }

  /** Keeps the points of series that exist and refuses those that would need a new one. */
  private async withinQuota(
    { owner }: Writer,
    rows: ColumnStore,
    good: Uint32Array,
    rejected: Rejection[],
    message: string,
  ): Promise<{ points: PointColumns; kept: number }> {
    const found = await new SeriesStore(this.database).find(owner, rows.ids);
    const numbers = new Map([...found].map(([name, { id }]) => [name, id]));
    const kept = good.filter((row) => {
      const series = rows.ids[rows.series[row]!]!;
      if (numbers.has(series)) return true;
      rejected.push({ index: row, series, code: 'TOO_MANY_SERIES', message });
      return false;
    });
    return { points: toColumns(rows, kept, numbers), kept: numbers.size };
  }

  private commit(owner: string, points: PointColumns, place: Waiting['place']): Promise<WriteResult> {
    return new Promise((resolve, reject) => {
      this.queue.push({ owner, points, place, resolve, reject });
      this.running ??= this.drain().finally(() => {
        this.running = undefined;
      });
    });
  }

  private async drain(): Promise<void> {
    while (this.queue.length > 0) {
      const group = this.take();
      const begin = performance.now();
      await this.run(group);
      const points = group.reduce((sum, { points: { times } }) => sum + times.length, 0);
      if (points > 1000) this.rate = 0.8 * this.rate + (0.2 * points * 1000) / (performance.now() - begin);
    }
  }

  /** The next transaction's writes: owners in turn, so that one who sends much does not keep the others waiting. */
  private take(): Waiting[] {
    const byOwner = new Map<string, Waiting[]>();
    for (const item of this.queue) {
      const list = byOwner.get(item.owner);
      if (list) list.push(item);
      else byOwner.set(item.owner, [item]);
    }
    const group: Waiting[] = [];
    let room = TOGETHER;
    const turns = [...byOwner.values()].map((list) => ({ list, next: 0 }));
    while (turns.some(({ list, next }) => next < list.length) && (group.length === 0 || room > 0)) {
      for (const turn of turns) {
        const item = turn.list[turn.next];
        if (!item || (group.length > 0 && item.points.times.length > room)) {
          turn.next = turn.list.length;
          continue;
        }
        turn.next++;
        group.push(item);
        room -= item.points.times.length;
      }
    }
    const taken = new Set(group);
    this.queue = this.queue.filter((item) => !taken.has(item));
    return group;
  }

  private async run(group: Waiting[]): Promise<void> {
    try {
      const results = await this.transact(group);
      group.forEach((item, i) => {
        item.resolve(results[i]!);
      });
    } catch (error) {
      if (group.length === 1) {
        group[0]!.reject(error);
        return;
      }
      // One of them is at fault, or two transactions met: each alone, so that only those at fault fail.
      for (const item of group) await this.run([item]);
    }
  }

  private async transact(group: readonly Waiting[]): Promise<WriteResult[]> {
    let appended: Appended[] = [];
    const results = await this.database.transaction(async (client) => {
      const changed: ChangedPoints[] = [];
      const counts = new Map<Waiting, WriteResult>();
      // Streams in one order, so that no two transactions wait for each other's.
      const placed = group.filter(({ place }) => place);
      placed.sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : order(a, b)));
      for (const item of placed) {
        const own: ChangedPoints[] = [];
        counts.set(
          item,
          await this.writer.writeIn(client, item.owner, item.points, item.place, (change) => own.push(change)),
        );
        changed.push(...own);
      }
      const free = group.filter(({ place }) => !place);
      for (const owner of new Set(free.map((item) => item.owner))) {
        const mine = free.filter((item) => item.owner === owner);
        const own: ChangedPoints[] = [];
        const total = await this.writer.writeIn(client, owner, merged(mine), undefined, (change) => own.push(change));
        share(mine, total, own).forEach((result, i) => {
          counts.set(mine[i]!, result);
        });
        changed.push(...own);
      }
      appended = await appendChanges(client, collect(changed), this.options.announcer.notify);
      return group.map((item) => counts.get(item)!);
    });
    if (appended.length > 0) this.options.announcer.announce(appended);
    return results;
  }

  private count(owner: string, points: number): void {
    this.waiting += points;
    const own = (this.waitingOf.get(owner) ?? 0) + points;
    if (own > 0) this.waitingOf.set(owner, own);
    else this.waitingOf.delete(owner);
  }

  private overloaded(): IngestOverloaded {
    return new IngestOverloaded(this.waiting, Math.max(1, Math.min(60, Math.ceil(this.waiting / 2 / this.rate))));
  }
}

const key = ({ owner, place }: Waiting) => `${owner}\n${place?.stream}`;
const order = (a: Waiting, b: Waiting) => (a.place!.sequence < b.place!.sequence ? -1 : 1);
