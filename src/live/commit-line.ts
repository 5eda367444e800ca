import type { StoredState } from '../store/states.js';
import type { LiveOutput } from './feed.js';
import type { LiveSeries } from './live-series.js';
import type { LogFollower } from './log/follower.js';
import type { Outcome } from './outcome.js';
import type { OwnedSeries } from './owned-series.js';
import type { PatientCommitter } from './patient-committer.js';
import type { Standing } from './standing.js';

export interface CommitLineParts {
  series: OwnedSeries;
  patient: PatientCommitter;
  follower: LogFollower;
  onError: (error: Error) => void;
}

/**
 * Commits of rounds, one after the other, each beside the computing of the round that follows. A round goes on from the
 * outputs of the one before it although those may be refused yet; what was built on a refused one is left out.
 */
export class CommitLine {
  private running: Promise<void> = Promise.resolve();

  constructor(private readonly parts: CommitLineParts) {}

  /** Resolves when everything that was begun is committed, or given up. */
  settled(): Promise<void> {
    return this.running;
  }

  /**
   * Begins to commit an outcome, once the one before it is done.
   *
   * @param taken whose its snapshots are
   * @param onEnd told how many outputs were left
   */
  async begin(
    outcome: Outcome,
    taken: ReadonlyMap<StoredState, LiveSeries>,
    onEnd: (outputs: number) => void,
  ): Promise<void> {
    const { series } = this.parts;
    const expected = series.expect(outcome.outputs);
    await this.running;
    outcome.outputs = series.stillExpected(expected);
    this.running = this.commit(outcome, expected, taken)
      .catch((error) => {
        // None of it is in the store: what was made of these series is made again.
        for (const { seriesId } of expected.keys()) series.refuse(seriesId, error);
        this.parts.onError(error);
      })
      .then(() => onEnd(outcome.outputs.length));
  }

  private async commit(
    outcome: Outcome,
    expected: ReadonlyMap<LiveOutput, Standing>,
    taken: ReadonlyMap<StoredState, LiveSeries>,
  ): Promise<void> {
    const { series, patient, follower, onError } = this.parts;
    try {
      const committed = await patient.commit(outcome);
      if (committed) series.settle(committed, expected, taken);
    } finally {
      for (const one of taken.values()) one.saving = false;
    }
    // What was not acknowledged is told once more, and passed over by its number.
    await follower.acknowledge(outcome.cursors).catch(onError);
  }
}
