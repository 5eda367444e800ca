import { AdderError } from '../platform/errors.js';
import type { Database, Queryable } from '../store/database.js';
import { PARTITIONS } from './log/partition.js';
import type { Cursor } from './outcome.js';

/** A partition that this process owns. */
export interface Held {
  partition: number;
  /** Number of the ownership: a commit under an older one is refused. */
  epoch: bigint;
  /** Last log entry whose outcome is committed. */
  cursor: number;
}

/** Another process owns a partition that we took for ours. */
export class LeaseLost extends AdderError {
  constructor(readonly partitions: readonly number[]) {
    super({
      code: 'LEASE_LOST',
      message: `partitions ${partitions.join(', ')} have another owner by now`,
      fix: 'nothing: the other owner continues from the last commit',
    });
  }
}

/**
 * Which partitions this process owns. All clocks are the database's. An owner that gives no sign of life for `leaseMs` loses
 * its partitions to whoever asks next; one that joins gets its share from those who have more.
 */
export class Leases {
  private readonly held = new Map<number, Held>();

  constructor(
    private readonly database: Database,
    private readonly id: string,
    private readonly leaseMs: number,
  ) {}

  get partitions(): number[] {
    return [...this.held.keys()];
  }

  get(partition: number): Held | undefined {
    return this.held.get(partition);
  }

  /**
   * Gives a sign of life, finds out what was lost, and takes free partitions up to this process' share.
   * Returns what changed, and how many it should give back for others to have their share.
   */
  async beat(): Promise<{ lost: number[]; claimed: Held[]; surplus: number }> {
    const lease = `${this.leaseMs} milliseconds`;
    const { rows } = await this.database.pool.query<{ kept: number[] | null; workers: number }>(
      `with me as (insert into live_workers (id, beat_at) values ($1, now())
         on conflict (id) do update set beat_at = excluded.beat_at returning id),
       kept as (update live_partitions set lease_until = now() + $2::interval where holder = $1 returning partition),
       gone as (delete from live_workers where beat_at < now() - interval '1 hour')
       select (select array_agg(partition) from kept) as kept,
         (select count(*)::int from live_workers where beat_at > now() - $2::interval and id <> $1) + 1 as workers from me`,
      [this.id, lease],
    );
    const kept = new Set(rows[0]?.kept ?? []);
    const lost = this.partitions.filter((partition) => !kept.has(partition));
    this.forget(lost);
    const workers = rows[0]?.workers ?? 1;
    const share = Math.ceil(PARTITIONS / workers);
    const claimed = this.held.size < share ? await this.claim(share - this.held.size, lease) : [];
    return { lost, claimed, surplus: Math.max(0, this.held.size - share) };
  }

  private async claim(count: number, lease: string): Promise<Held[]> {
    const { rows } = await this.database.pool.query<{ partition: number; epoch: bigint; cursor: bigint }>(
      `update live_partitions set holder = $1, epoch = epoch + 1, lease_until = now() + $2::interval
       where partition in (select partition from live_partitions where holder is null or lease_until < now()
                           order by partition limit $3 for update skip locked)
       returning partition, epoch, cursor`,
      [this.id, lease, count],
    );
    const claimed = rows.map(({ partition, epoch, cursor }) => ({ partition, epoch, cursor: Number(cursor) }));
    for (const one of claimed) this.held.set(one.partition, one);
    return claimed;
  }

  /**
   * Part of a commit: moves the cursors of partitions on to the last entries that were worked in, if they are still ours
   * as they were then. Throws `LeaseLost` otherwise, so that nothing of the commit is kept.
   */
  async advance(client: Queryable, cursors: ReadonlyMap<number, Cursor>): Promise<void> {
    const partitions = [...cursors.keys()].sort((a, b) => a - b);
    const { rows } = await client.query<{ partition: number }>({
      name: 'adder_live_cursors',
      text: `update live_partitions p set cursor = greatest(p.cursor, u.cursor), touched_at = clock_timestamp()
       from unnest($2::int[], $3::int8[], $4::int8[]) u (partition, epoch, cursor)
       where p.partition = u.partition and p.holder = $1 and p.epoch = u.epoch returning p.partition`,
      values: [
        this.id,
        partitions,
        partitions.map((partition) => cursors.get(partition)!.epoch),
        partitions.map((partition) => cursors.get(partition)!.seq),
      ],
    });
    const kept = new Set(rows.map(({ partition }) => partition));
    const lost = partitions.filter((partition) => !kept.has(partition));
    if (lost.length > 0) throw new LeaseLost(lost);
  }

  /** After the commit. */
  advanced(cursors: ReadonlyMap<number, Cursor>): void {
    for (const [partition, { seq, epoch }] of cursors) {
      const held = this.held.get(partition);
      if (held?.epoch === epoch) held.cursor = Math.max(held.cursor, seq);
    }
  }

  forget(partitions: readonly number[]): void {
    for (const partition of partitions) this.held.delete(partition);
  }

  /** Gives partitions back, for others to take at once. What was made of their points has been committed. */
  async release(partitions: readonly number[]): Promise<void> {
    this.forget(partitions);
    await this.database.pool.query(
      'update live_partitions set holder = null, lease_until = null where holder = $1 and partition = any($2)',
      [this.id, partitions],
    );
  }

  /** Gives everything back and leaves the list of workers. */
  async leave(): Promise<void> {
    await this.release(this.partitions);
    await this.database.pool.query('delete from live_workers where id = $1', [this.id]);
  }
}
