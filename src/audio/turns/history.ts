/**
 * What the turn model is told of a conversation, one row for each frame of 20 ms, from two activity streams. Causal, with a
 * state of a few numbers: a whole call is the same rows as a live one.
 */

/** Columns told of each side; a row has those of A, then those of B. */
const SIDE = 7;
export const TURN_INPUTS: number = 2 * SIDE;

/** Frames of the running shares of activity: 1, 5 and 30 s. */
const MEMORIES = [50, 250, 1500];

interface SideState {
  active: number;
  /** Frames since the activity last changed; lengths of the last talk and of the last silence. */
  since: number;
  talk: number;
  silence: number;
  shares: number[];
}

export interface TurnHistoryState {
  sides: [SideState, SideState];
}

/** Times on a log scale, about 0 … 1 for up to 20 s. */
const LONGEST = 3000;
const LOGARITHMS = Float64Array.from({ length: LONGEST + 1 }, (_, frames) => Math.log1p(frames) / 7);
const compress = (frames: number): number => LOGARITHMS[frames < LONGEST ? frames : LONGEST];

/** Columns of a side: active, time since it changed, length of its last talk and silence, shares over MEMORIES. */
export class TurnInputs {
  private sides: [SideState, SideState] = [fresh(), fresh()];

  /** Takes whether A and B are active in the next frame; writes the row [14] at `at`. */
  push(a: number, b: number, out: Float32Array, at: number): void {
    this.write(this.sides[0], a ? 1 : 0, out, at);
    this.write(this.sides[1], b ? 1 : 0, out, at + SIDE);
  }

  snapshot(): TurnHistoryState {
    return structuredClone({ sides: this.sides });
  }

  static restore(state: TurnHistoryState): TurnInputs {
    const inputs = new TurnInputs();
    inputs.sides = structuredClone(state.sides);
    return inputs;
  }

  private write(side: SideState, active: number, out: Float32Array, at: number): void {
    if (active !== side.active) {
      if (side.active) side.talk = side.since;
      else side.silence = side.since;
      side.active = active;
      side.since = 0;
    }
    side.since++;
    out[at] = active;
    out[at + 1] = compress(side.since);
    out[at + 2] = compress(side.talk);
    out[at + 3] = compress(side.silence);
    for (let m = 0; m < MEMORIES.length; m++) {
      side.shares[m] += (active - side.shares[m]) / MEMORIES[m];
      out[at + 4 + m] = side.shares[m];
    }
  }
}

function fresh(): SideState {
  return { active: 0, since: 0, talk: 0, silence: 0, shares: MEMORIES.map(() => 0) };
}

/** Rows [frames, 14] of two activity streams; `swapped` names B first. */
export function turnRows(activity: readonly [Uint8Array, Uint8Array], swapped = false): Float32Array {
  const [a, b] = swapped ? [activity[1], activity[0]] : activity;
  const inputs = new TurnInputs();
  const out = new Float32Array(a.length * TURN_INPUTS);
  for (let t = 0; t < a.length; t++) inputs.push(a[t], b[t], out, t * TURN_INPUTS);
  return out;
}
