import type { LiveFeed, SeriesFilter, Subscription } from '../../feed.js';

/** How long forecasts go on after they were last asked for. */
const KEEP_MS = 10 * 60_000;
const MAX = 1000;

/** Keeps forecasts coming for whoever asks again and again instead of listening. */
export class StandingSubscriptions {
  private readonly open = new Map<string, { subscription: Promise<Subscription>; timer: NodeJS.Timeout }>();

  constructor(
    private readonly feed: LiveFeed,
    private readonly onError: (error: unknown) => void,
  ) {}

  async renew(owner: string, filter: SeriesFilter, horizon: number): Promise<void> {
    const key = JSON.stringify([owner, filter, horizon]);
    const known = this.open.get(key);
    if (known) known.timer.refresh();
    else {
      if (this.open.size >= MAX) this.end(this.open.keys().next().value!);
      const subscription = this.feed.subscribe(owner, filter, { horizon }, () => {});
      const timer = setTimeout(() => this.end(key), KEEP_MS);
      timer.unref();
      this.open.set(key, { subscription, timer });
      subscription.catch(() => this.end(key));
    }
    await this.open.get(key)?.subscription;
  }

  private end(key: string): void {
    const entry = this.open.get(key);
    if (!entry) return;
    this.open.delete(key);
    clearTimeout(entry.timer);
    entry.subscription.then((open) => open.close()).catch(this.onError);
  }
}
