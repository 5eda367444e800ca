import type { WebSocket } from 'ws';

/** Bytes that the network has not taken: beyond the first, numbers are left out; beyond the second, the client is given up. */
const HIGH_WATER = 256 * 1024;
const GIVEN_UP = 1024 * 1024;
/** A client that does not read does not read that it is given up either. */
const PARTING_MS = 2000;

/**
 * What goes out to one client. Events and answers must arrive, or the connection ends; of rows and interim messages a client that
 * reads too slowly misses some, and is told how many.
 */
export class Outbox {
  private skipped = 0;
  /** Rows that were left out since the connection began. */
  droppedRows = 0;

  constructor(private readonly socket: WebSocket) {}

  message(message: object): void {
    const { socket } = this;
    if (socket.readyState !== socket.OPEN) return;
    if (socket.bufferedAmount > GIVEN_UP) {
      socket.close(1008, 'this client does not read what it is sent');
      setTimeout(() => socket.terminate(), PARTING_MS).unref();
      return;
    }
    this.tellSkipped();
    socket.send(JSON.stringify(message));
  }

  /** Left out while much waits. */
  interim(message: object): void {
    if (this.hasRoom) this.message(message);
  }

  /** @param rows in the frames */
  dense(frames: () => Buffer[], rows: number): void {
    const { socket } = this;
    if (socket.readyState !== socket.OPEN) return;
    if (!this.hasRoom) {
      this.skipped += rows;
      this.droppedRows += rows;
      return;
    }
    this.tellSkipped();
    for (const frame of frames()) socket.send(frame);
  }

  private get hasRoom(): boolean {
    return this.socket.bufferedAmount < HIGH_WATER;
  }

  private tellSkipped(): void {
    if (this.skipped === 0 || !this.hasRoom) return;
    this.socket.send(JSON.stringify({ type: 'dropped', rows: this.skipped }));
    this.skipped = 0;
  }
}
