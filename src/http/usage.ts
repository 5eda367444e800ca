interface Counts {
  minute: number;
  minuteCount: number;
  month: number;
  monthCount: number;
}

/** Accounts remembered; beyond it the counts begin anew. */
const MAX_OWNERS = 100_000;

/** How many requests each account has sent to this process, in the current minute and month. */
export class Usage {
  private readonly counts = new Map<string, Counts>();

  add(owner: string, now = new Date()): void {
    const counts = this.current(owner, now);
    counts.minuteCount++;
    counts.monthCount++;
  }

  of(owner: string, now = new Date()): { minute: number; month: number } {
    const { minuteCount, monthCount } = this.current(owner, now);
    return { minute: minuteCount, month: monthCount };
  }

  private current(owner: string, now: Date): Counts {
    const minute = Math.floor(now.getTime() / 60_000);
    const month = now.getUTCFullYear() * 12 + now.getUTCMonth();
    let counts = this.counts.get(owner);
    if (!counts) {
      if (this.counts.size >= MAX_OWNERS) this.counts.clear();
      counts = { minute, minuteCount: 0, month, monthCount: 0 };
      this.counts.set(owner, counts);
    }
    if (counts.minute !== minute) Object.assign(counts, { minute, minuteCount: 0 });
    if (counts.month !== month) Object.assign(counts, { month, monthCount: 0 });
    return counts;
  }
}
