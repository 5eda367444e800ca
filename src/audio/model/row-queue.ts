/** Rows on their way through a live stream: those that wait for a step, and those that came out of it. */

/** Rows of one width that wait, first in, first out. */
export class RowQueue {
  private rows: Float32Array;
  private head = 0;
  private tail = 0;

  constructor(private readonly width: number) {
    this.rows = new Float32Array(8 * width);
  }

  /** Rows that wait. */
  get length(): number {
    return this.tail - this.head;
  }

  /** @param rows [count, width] */
  push(rows: Float32Array, count: number): void {
    const { width } = this;
    if ((this.tail + count) * width > this.rows.length) this.makeRoom(count);
    this.rows.set(rows, this.tail * width);
    this.tail += count;
  }

  /** Takes up to `most` rows away, to `out` from the offset `at`; returns how many. */
  shift(most: number, out: Float32Array, at: number): number {
    const { width, head } = this;
    const count = Math.min(most, this.length);
    out.set(this.rows.subarray(head * width, (head + count) * width), at);
    this.head += count;
    return count;
  }

  private makeRoom(count: number): void {
    const { width, length } = this;
    const waiting = this.rows.subarray(this.head * width, this.tail * width);
    const room = 2 * (length + count) * width;
    if (room > this.rows.length) {
      const rows = new Float32Array(room);
      rows.set(waiting);
      this.rows = rows;
    } else this.rows.copyWithin(0, this.head * width, this.tail * width);
    this.tail = length;
    this.head = 0;
  }
}

/** Rows of tracks that a stream has made and nobody has taken. */
export class TrackRows {
  private parts: Float32Array[] = [];
  private taken: number;

  /** @param rows made so far, all of them taken */
  constructor(
    private readonly width: number,
    public rows = 0,
  ) {
    this.taken = rows;
  }

  /** @param values [count, width] */
  add(values: Float32Array, count: number): void {
    this.parts.push(values);
    this.rows += count;
  }

  take(): { first: number; count: number; values: Float32Array } {
    const first = this.taken;
    const count = this.rows - first;
    const { parts } = this;
    this.parts = [];
    this.taken = this.rows;
    if (parts.length === 1) return { first, count, values: parts[0] };
    const values = new Float32Array(count * this.width);
    let at = 0;
    for (const part of parts) {
      values.set(part, at);
      at += part.length;
    }
    return { first, count, values };
  }
}
