/** What a tree can be told of a call so far: for one frame, from the side whose future is asked about. */

/** Columns of a history row. */
export const HISTORY_COLUMNS = 26;

/** Windows of the activity shares, in frames of 20 ms. */
const WINDOWS = [10, 25, 50, 100, 250, 500, 1500];
/** Longest time that is told, in frames: 20 s. */
const CAP = 1000;

/** Running sums over one call, from which rows are read in constant time. All of it is causal. */
export class TurnHistory {
  private readonly sums: Uint32Array[];
  /** Frames since the side's activity last changed, and the lengths of its last talk and of its last silence. */
  private readonly since: Uint16Array[];
  private readonly lastTalk: Uint16Array[];
  private readonly lastSilence: Uint16Array[];

  constructor(private readonly activity: readonly [Uint8Array, Uint8Array]) {
    const frames = activity[0].length;
    this.sums = activity.map((a) => {
      const sum = new Uint32Array(frames + 1);
      for (let t = 0; t < frames; t++) sum[t + 1] = sum[t] + a[t];
      return sum;
    });
    this.since = activity.map(() => new Uint16Array(frames));
    this.lastTalk = activity.map(() => new Uint16Array(frames));
    this.lastSilence = activity.map(() => new Uint16Array(frames));
    activity.forEach((a, s) => {
      let run = CAP;
      let talk = 0;
      let silence = CAP;
      for (let t = 0; t < frames; t++) {
        if (t > 0 && a[t] !== a[t - 1]) {
          if (a[t - 1]) talk = Math.min(CAP, run);
          else silence = Math.min(CAP, run);
          run = 0;
        }
        run++;
        this.since[s][t] = Math.min(CAP, run);
        this.lastTalk[s][t] = talk;
        this.lastSilence[s][t] = silence;
      }
    });
  }

  /** Row for frame t (included) as seen from `side`, into `out` at `offset`. */
  write(t: number, side: 0 | 1, out: Float32Array, offset = 0): void {
    let at = offset;
    for (const s of [side, 1 - side]) {
      out[at++] = this.activity[s][t];
      out[at++] = this.since[s][t];
      out[at++] = this.lastTalk[s][t];
      out[at++] = this.lastSilence[s][t];
      for (const w of WINDOWS) {
        const from = Math.max(0, t + 1 - w);
        out[at++] = (this.sums[s][t + 1] - this.sums[s][from]) / w;
      }
    }
    const silent = (s: number) => (this.activity[s][t] ? 0 : this.since[s][t]);
    out[at++] = Math.min(silent(0), silent(1));
    // Who was heard last: longer silence means the other.
    out[at++] = silent(side) - silent(1 - side);
    const total = this.sums[side][t + 1] + this.sums[1 - side][t + 1];
    out[at++] = total === 0 ? 0.5 : this.sums[side][t + 1] / total;
    out[at] = Math.min(t, 30_000);
  }
}
