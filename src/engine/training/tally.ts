/** Means over the steps since the last report; skipped steps have none. */
export class Tally {
  private sums: Record<string, number> = {};
  private norm = 0;
  private counted = 0;
  /** Steps since the last report, skipped ones included, and what they held. */
  steps = 0;
  items = 0;

  /** @param loss undefined for a skipped step */
  add(items: number, loss: Record<string, number> | undefined, norm: number): void {
    this.steps++;
    this.items += items;
    if (!loss) return;
    this.counted++;
    this.norm += norm;
    for (const [name, value] of Object.entries(loss)) this.sums[name] = (this.sums[name] ?? 0) + value;
  }

  /** The means, and a new beginning. */
  take(): { loss: Record<string, number>; gradientNorm: number } {
    const mean = (sum: number) => sum / this.counted;
    const loss = Object.fromEntries(Object.entries(this.sums).map(([name, sum]) => [name, mean(sum)]));
    const gradientNorm = mean(this.norm);
    this.sums = {};
    this.norm = 0;
    this.counted = 0;
    this.steps = 0;
    this.items = 0;
    return { loss, gradientNorm };
  }
}
