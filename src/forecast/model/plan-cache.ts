/** Recorded plans by their shape, the least recently used given up first. */
export class PlanCache<Shape extends object, Recorded> {
  private readonly entries = new Map<string, Recorded>();

  /** Keeps `most` plans; `record` makes the one of a shape, `dispose` frees what it holds. */
  constructor(
    private readonly most: number,
    private readonly record: (shape: Shape) => Recorded,
    private readonly dispose: (recorded: Recorded) => void,
  ) {}

  get(shape: Shape): Recorded {
    const key = Object.entries(shape).sort().join(' ');
    let entry = this.entries.get(key);
    if (entry) this.entries.delete(key);
    else entry = this.record(shape);
    this.entries.set(key, entry);
    for (const [oldest, old] of this.entries) {
      if (this.entries.size <= this.most) break;
      this.entries.delete(oldest);
      this.dispose(old);
    }
    return entry;
  }

  clear(): void {
    for (const entry of this.entries.values()) this.dispose(entry);
    this.entries.clear();
  }
}
