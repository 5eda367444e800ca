import type { StoredState } from '../store/states.js';
import type { LiveOutput } from './feed.js';
import { partitionOf } from './log/partition.js';

/** How far a partition was worked in, under which ownership. */
export interface Cursor {
  /** Last entry of the log. */
  seq: number;
  epoch: bigint;
}

/** What a round of work came to, to be committed as one. */
export interface Outcome {
  /** By partition. */
  cursors: Map<number, Cursor>;
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

/** What remains of an outcome without some partitions. */
export function withoutPartitions(outcome: Outcome, lost: ReadonlySet<number>): Outcome {
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
