import type { SeriesFields, SeriesStore } from '../store/series.js';
import type { Writer } from './ingest.js';

/** Names that a process remembers, all owners together; about 100 bytes each. */
const REMEMBERED = 1_000_000;

/** Numbers of series by owner and name, remembered between batches. */
export class SeriesNames {
  private owners = new Map<string, Map<string, bigint>>();
  private size = 0;

  constructor(private readonly series: SeriesStore) {}

  /**
   * The numbers of these names; missing series are created. Throws `BAD_NAME`, and `TOO_MANY_SERIES` when that would pass
   * the writer's quota; then none is created.
   */
  async resolve(
    { owner, limits }: Writer,
    names: readonly string[],
    describe?: (series: string) => SeriesFields,
  ): Promise<bigint[]> {
    const known = this.of(owner);
    const unknown = names.filter((name) => !known.has(name));
    if (unknown.length > 0) {
      const wanted = unknown.map((uniqueId) => ({ ...describe?.(uniqueId), uniqueId }));
      const rows = await this.series.ensure(owner, wanted, limits.storedSeries);
      for (const [name, { id }] of rows) this.remember(owner, name, id);
      const now = this.of(owner);
      return names.map((name) => now.get(name) ?? rows.get(name)!.id);
    }
    return names.map((name) => known.get(name)!);
  }

  /** One of them does not exist any more. */
  forget(owner: string): void {
    this.size -= this.owners.get(owner)?.size ?? 0;
    this.owners.delete(owner);
  }

  private of(owner: string): Map<string, bigint> {
    const known = this.owners.get(owner);
    if (known) return known;
    const fresh = new Map<string, bigint>();
    this.owners.set(owner, fresh);
    return fresh;
  }

  private remember(owner: string, name: string, id: bigint): void {
    if (this.size >= REMEMBERED) {
      this.owners = new Map();
      this.size = 0;
    }
    this.of(owner).set(name, id);
    this.size++;
  }
}
