/** From the speech track of a channel to the activity that turn models hear. */

/** Hops of 10 ms in a frame of 20 ms. */
const HOPS = 2;

export interface ActivityOptions {
  /** Mean probability of speech in a frame at which a silent side becomes active, and below which an active one falls silent. */
  on: number;
  off: number;
}

export interface ActivityState {
  active: number;
  sum: number;
  hops: number;
}

/** Activity of one channel as it goes on: probabilities of speech every 10 ms in, 0 or 1 every 20 ms out. */
export class Activity {
  private active = 0;
  private sum = 0;
  private hops = 0;

  constructor(private readonly options: ActivityOptions = { on: 0.5, off: 0.35 }) {}

  /** Frames that the next probabilities complete. A probability that is not a number counts as silence. */
  push(speech: ArrayLike<number>): Uint8Array {
    const out = new Uint8Array(Math.floor((this.hops + speech.length) / HOPS));
    let frames = 0;
    for (let i = 0; i < speech.length; i++) {
      this.sum += Number.isNaN(speech[i]) ? 0 : speech[i];
      if (++this.hops < HOPS) continue;
      this.active = this.sum / HOPS >= (this.active ? this.options.off : this.options.on) ? 1 : 0;
      out[frames++] = this.active;
      this.sum = 0;
      this.hops = 0;
    }
    return out;
  }

  snapshot(): ActivityState {
    const { active, sum, hops } = this;
    return { active, sum, hops };
  }

  static restore(state: ActivityState): Activity {
    return Object.assign(new Activity(), state);
  }
}
