import type { Committer } from './committer.js';
import { LeaseLost } from './leases.js';
import {
  type Committed,
  type Cursor,
  halvesOf,
  isOfContent,
  type Outcome,
  seriesOf,
  withoutPartitions,
} from './outcome.js';

const RETRY_MS = 200;

export interface Trouble {
  onError: (error: Error) => void;
  /** These ownerships have ended. */
  onLost: (lost: ReadonlyMap<number, Cursor>) => void;
  /** What this series was to commit cannot be. */
  onFault: (seriesId: bigint, error: unknown) => void;
  /** Called before each try. */
  onTry: () => void;
}

/** Commits, however long the database is away; what others have taken over, and what cannot be written, is left out. */
export class PatientCommitter {
  private hurried = false;

  constructor(
    private readonly committer: Committer,
    private readonly trouble: Trouble,
  ) {}

  /** From now on nothing waits for the database to come back. */
  hurry(): void {
    this.hurried = true;
  }

  /** What was committed; undefined when all of it was lost to others, or there was no time to wait. */
  async commit(outcome: Outcome): Promise<Committed | undefined> {
    let left = outcome;
    while (left.cursors.size > 0) {
      this.trouble.onTry();
      try {
        return await this.committer.commit(left);
      } catch (error) {
        this.trouble.onError(error as Error);
        if (error instanceof LeaseLost) {
          this.trouble.onLost(new Map(error.partitions.map((partition) => [partition, left.cursors.get(partition)!])));
          left = withoutPartitions(left, new Set(error.partitions));
        } else if (isOfContent(error)) return this.commitApart(left, error);
        else if (this.hurried) return undefined;
        else await new Promise((done) => setTimeout(done, RETRY_MS));
      }
    }
    return undefined;
  }

  /** Commits what can be, when something in it cannot, by halves until the series at fault is alone. */
  private async commitApart(outcome: Outcome, error: unknown): Promise<Committed | undefined> {
    const halves = halvesOf(outcome);
    if (!halves) {
      const [id] = seriesOf(outcome);
      // Cursors alone hold nothing that could be at fault.
      if (id === undefined) throw error;
      this.trouble.onFault(id, error);
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
}
