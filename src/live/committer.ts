import type { Database } from '../store/database.js';
import { StateStore, type StoredState } from '../store/states.js';
import type { LiveOutput, OutputHook } from './feed.js';
import type { Leases } from './leases.js';
import { encodeOutput } from './output-codec.js';
import type { OutputStore } from './output-store.js';
import type { Publisher } from './publish.js';

/** What a round of work came to, to be committed as one. */
export interface Outcome {
  /** Last entry of each partition that was worked in. */
  cursors: Map<number, number>;
  outputs: LiveOutput[];
  /** By owner. */
  snapshots: Map<string, StoredState[]>;
}

export interface Committed {
  outputs: LiveOutput[];
  /** Snapshots that were kept; one that is missing was written by another process, or its series is gone. */
  snapshots: Set<StoredState>;
  deleted: bigint[];
}

/** Writes outcomes, fenced by the lease, and tells those who listen once they are committed. */
export class Committer {
  private readonly states: StateStore;

  constructor(
    private readonly database: Database,
    private readonly outputs: OutputStore,
    private readonly leases: Leases,
    private readonly publisher: Publisher,
    private readonly hooks: readonly OutputHook[],
  ) {
    this.states = new StateStore(database);
  }

  /**
   * Commits an outcome. It is visible at once; a crash of PostgreSQL (not of any process of ours) may undo the last fraction
   * of a second of such commits, whole, and the points behind them are then worked in again.
   *
   * Throws `LeaseLost` when a partition of it has another owner; then nothing of it was kept.
   */
  async commit(outcome: Outcome): Promise<Committed> {
    const encoded = outcome.outputs.map((output) => ({ output, bytes: encodeOutput(output) }));
    const kept = new Set<StoredState>();
    const deleted = await this.database.transaction(
      async (client) => {
        await this.leases.advance(client, outcome.cursors);
        const gone = await this.outputs.write(client, encoded);
        for (const [owner, states] of outcome.snapshots) {
          for (const slot of new Set(states.map(({ modelId }) => modelId))) {
            const some = states.filter(({ modelId }) => modelId === slot);
            const written = await this.states.write(owner, some, client);
            for (const state of some) if (written.has(state.seriesId)) kept.add(state);
          }
        }
        const there = gone.length === 0 ? outcome.outputs : without(outcome.outputs, gone);
        for (const hook of this.hooks) if (there.length > 0) await hook.within(client, there);
        if (there.length > 0) await this.publisher.within(client, encoded);
        return gone;
      },
      { durable: false },
    );
    this.leases.advanced(outcome.cursors);
    this.publisher.after(encoded);
    return { outputs: without(outcome.outputs, deleted), snapshots: kept, deleted };
  }
}

const without = (outputs: readonly LiveOutput[], gone: readonly bigint[]) =>
  gone.length === 0 ? [...outputs] : outputs.filter(({ seriesId }) => !gone.includes(seriesId));

/** What remains of an outcome without some partitions. */
export function withoutPartitions(
  outcome: Outcome,
  lost: ReadonlySet<number>,
  partitionOf: (id: bigint) => number,
): Outcome {
  return {
    cursors: new Map([...outcome.cursors].filter(([partition]) => !lost.has(partition))),
    outputs: outcome.outputs.filter(({ seriesId }) => !lost.has(partitionOf(seriesId))),
    snapshots: new Map(
      [...outcome.snapshots].map(([owner, states]) => [
        owner,
        states.filter(({ seriesId }) => !lost.has(partitionOf(seriesId))),
      ]),
    ),
  };
}

/** An outcome in two, each with some of the series and all cursors; undefined when it is of one series or none. */
export function halvesOf(outcome: Outcome): [Outcome, Outcome] | undefined {
  const ids = seriesOf(outcome);
  if (ids.length < 2) return undefined;
  const first = new Set(ids.slice(0, ids.length >> 1));
  const part = (mine: boolean): Outcome => ({
    cursors: outcome.cursors,
    outputs: outcome.outputs.filter(({ seriesId }) => first.has(seriesId) === mine),
    snapshots: new Map(
      [...outcome.snapshots].map(([owner, states]) => [
        owner,
        states.filter(({ seriesId }) => first.has(seriesId) === mine),
      ]),
    ),
  });
  return [part(true), part(false)];
}

/** Series that have an output or a snapshot in it. */
export function seriesOf({ outputs, snapshots }: Outcome): bigint[] {
  const states = [...snapshots.values()].flat();
  return [...new Set([...outputs, ...states].map(({ seriesId }) => seriesId))];
}

/** Whether what was to be written is at fault, not the database or the way to it. */
export function isOfContent(error: unknown): boolean {
  if (error instanceof RangeError || error instanceof TypeError || error instanceof SyntaxError) return true;
  // SQLSTATE: data exceptions, violated constraints.
  return /^2[23]/.test(String((error as { code?: unknown }).code));
}
