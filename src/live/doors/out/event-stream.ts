import { Readable } from 'node:stream';
import { DropOldest } from './drop-oldest.js';

/** Events that wait for a slow client; beyond it the oldest is dropped. */
const EVENTS = 256;
/** A proxy that sees nothing for this long may close the stream. */
const HEARTBEAT_MS = 15_000;

/** Server-sent events. A slow client loses the oldest, and is told how many by an event `dropped`. */
export class EventStream extends Readable {
  private readonly events = new DropOldest<{ type: string }>(EVENTS);
  private readonly heart: NodeJS.Timeout;
  private wanted = false;

  constructor() {
    super({ highWaterMark: 65_536, encoding: 'utf8' });
    // Headers travel with the first bytes, and a client counts as connected when it has them.
    this.push(': connected\n\n');
    this.heart = setInterval(() => {
      if (this.wanted) this.wanted = this.push(': still here\n\n');
    }, HEARTBEAT_MS);
    this.heart.unref();
  }

  send(event: { type: string }): void {
    this.events.push(event);
    this.flush();
  }

  override _read(): void {
    this.wanted = true;
    this.flush();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearInterval(this.heart);
    done(error);
  }

  private flush(): void {
    while (this.wanted && !this.destroyed) {
      const lost = this.events.takeLost();
      const event = lost > 0 ? { type: 'dropped', count: lost } : this.events.shift();
      if (!event) return;
      const { type, ...data } = event;
      this.wanted = this.push(`event: ${type}\ndata: ${JSON.stringify(data)}\n\n`);
    }
  }
}
