import { AdderError } from '../../platform/errors.js';

/** Each distinct id costs a string and a map entry, about 150 bytes. */
const MAX_SERIES = 2_000_000;

/**
 * Rows as growing typed columns: series index, time, value and source line, 20 bytes a row.
 * Strings are kept once per distinct id.
 */
export class ColumnStore {
  length = 0;
  readonly ids: string[] = [];
  series = new Uint32Array(1024);
  time = new Float64Array(1024);
  value = new Float64Array(1024);
  line = new Uint32Array(1024);
  private readonly index = new Map<string, number>();
  private lastId: string | undefined;
  private lastIndex = 0;

  push(id: string, time: number, value: number, line: number): void {
    const i = this.length;
    if (i === this.series.length) this.grow();
    // Files usually hold one series after another, so the last id is the likely one.
    if (id !== this.lastId) {
      this.lastIndex = this.indexOf(id);
      this.lastId = id;
    }
    this.series[i] = this.lastIndex;
    this.time[i] = time;
    this.value[i] = value;
    this.line[i] = line;
    this.length = i + 1;
  }

  private indexOf(id: string): number {
    const known = this.index.get(id);
    if (known !== undefined) return known;
    if (this.ids.length >= MAX_SERIES) {
      throw new AdderError({
        code: 'TOO_MANY_SERIES',
        message: `the file holds more than ${MAX_SERIES.toLocaleString('en')} series`,
        fix: 'split it by unique_id',
      });
    }
    const index = this.ids.length;
    this.index.set(id, index);
    this.ids.push(id);
    return index;
  }

  private grow(): void {
    const size = Math.ceil(this.length * 1.6);
    const copy = <T extends Float64Array | Uint32Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.series = copy(this.series, new Uint32Array(size));
    this.time = copy(this.time, new Float64Array(size));
    this.value = copy(this.value, new Float64Array(size));
    this.line = copy(this.line, new Uint32Array(size));
  }

  /** Row numbers grouped by series in order of first appearance; rows of one series keep the file's order. */
  groups(): Uint32Array[] {
    const counts = new Uint32Array(this.ids.length);
    for (let i = 0; i < this.length; i++) counts[this.series[i]!]!++;
    const starts = new Uint32Array(this.ids.length + 1);
    for (let s = 0; s < counts.length; s++) starts[s + 1] = starts[s]! + counts[s]!;
    const next = starts.slice();
    const rows = new Uint32Array(this.length);
    for (let i = 0; i < this.length; i++) rows[next[this.series[i]!]!++] = i;
    return this.ids.map((_, s) => rows.subarray(starts[s], starts[s + 1]));
  }
}
