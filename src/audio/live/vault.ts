/** Sessions whose connection was dropped, until somebody goes on with them or they expire. */
import type { Database } from '../../store/database.js';
import { ObjectStore } from '../../store/objects.js';

const KIND = 'speech-session';

/**
 * Kept in the store, so that any process of the service can go on with them; in memory while the store is away. Whoever takes
 * a session has it alone.
 */
export class SessionVault {
  private readonly objects: ObjectStore;
  private readonly memory = new Map<string, { bytes: Uint8Array; timer: NodeJS.Timeout }>();

  constructor(
    private readonly database: Database,
    /** How long a session is kept. */
    readonly keepMs: number,
    private readonly onError: (error: unknown) => void,
  ) {
    this.objects = new ObjectStore(database);
  }

  async keep(owner: string, session: string, bytes: Uint8Array): Promise<void> {
    if (this.keepMs === 0) return;
    try {
      await this.objects.put(owner, { kind: KIND, meta: { session }, keepMs: this.keepMs }, bytes);
    } catch (error) {
      this.onError(error);
      const key = `${owner} ${session}`;
      const timer = setTimeout(() => this.memory.delete(key), this.keepMs);
      timer.unref();
      this.memory.set(key, { bytes, timer });
    }
  }

  /** The state of a session of this owner, which is then no longer kept; undefined where there is none. */
  async take(owner: string, session: string): Promise<Uint8Array | undefined> {
    const key = `${owner} ${session}`;
    const held = this.memory.get(key);
    if (held) {
      clearTimeout(held.timer);
      this.memory.delete(key);
      return held.bytes;
    }
    const { rows } = await this.database.pool.query<{ id: string }>(
      `select id from objects where owner = $1 and kind = $2 and meta->>'session' = $3 and expires_at > now()
       order by id desc limit 1`,
      [owner, KIND, session],
    );
    if (!rows[0]) return undefined;
    const bytes = await this.objects.get(owner, rows[0].id);
    return (await this.objects.remove(owner, rows[0].id)) ? bytes : undefined;
  }

  close(): void {
    for (const { timer } of this.memory.values()) clearTimeout(timer);
    this.memory.clear();
  }
}
