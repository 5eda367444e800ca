import type { Database } from '../store/database.js';
import { StateStore, type StoredState } from '../store/states.js';
import type { LiveOutput, OutputHook } from './feed.js';
import type { Leases } from './leases.js';
import type { Committed, Outcome } from './outcome.js';
import { encodeOutputs } from './output-codec.js';
import type { OutputStore } from './output-store.js';
import type { Publisher } from './publish.js';

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
    const bytes = encodeOutputs(outcome.outputs);
    const encoded = outcome.outputs.map((output, i) => ({ output, bytes: bytes[i]! }));
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
