import type { WebSocket } from 'ws';
import { DropOldest } from '../out/drop-oldest.js';

/** Bytes handed to the socket and not yet taken by the network; beyond it messages wait here. */
const HIGH_WATER = 256 * 1024;
/** Events that wait for a slow client; beyond it the oldest is dropped. */
const EVENTS = 256;
/** Answers that wait; a client that asks more than it reads is given up. */
const ANSWERS = 1000;
/** How long a client that was given up may take to read why, milliseconds. */
const FAREWELL_MS = 5000;

/** What goes out to one client. Answers must arrive; of events a slow client loses the oldest, and is told how many. */
export class Outbox {
  private readonly answers: object[] = [];
  private readonly events = new DropOldest<object>(EVENTS);
  private committed: number | undefined;

  constructor(private readonly socket: WebSocket) {}

  /** Everything up to this sequence number is committed; a later one replaces an earlier one that still waits. */
  commit(sequence: number): void {
    this.committed = sequence;
    this.flush();
  }

  answer(message: object): void {
    if (this.answers.length >= ANSWERS) {
      this.giveUp();
      return;
    }
    this.answers.push(message);
    this.flush();
  }

  event(message: object): void {
    this.events.push(message);
    this.flush();
  }

  private giveUp(): void {
    if (this.socket.readyState !== this.socket.OPEN) return;
    this.socket.close(1008, 'more answers wait than this client reads');
    setTimeout(() => this.socket.terminate(), FAREWELL_MS).unref();
  }

  private readonly flush = (): void => {
    const { socket } = this;
    while (socket.readyState === socket.OPEN && socket.bufferedAmount < HIGH_WATER) {
      const message = this.next();
      if (!message) return;
      socket.send(JSON.stringify(message), this.sent);
    }
  };

  private readonly sent = (error?: Error | null): void => {
    if (!error) this.flush();
  };

  private next(): object | undefined {
    if (this.committed !== undefined) {
      const message = { type: 'committed', sequence: this.committed };
      this.committed = undefined;
      return message;
    }
    const answer = this.answers.shift();
    if (answer) return answer;
    const count = this.events.takeLost();
    return count > 0 ? { type: 'dropped', count } : this.events.shift();
  }
}
