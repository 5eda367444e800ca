/**
 * The next change of speech as a survival problem: 20 log-spaced bins reach from the next frame to 2 s ahead, and the
 * hazard of a bin is the probability that the change falls into it, given that it has not come before.
 */

/** Bins of the hazard. */
export const HAZARD_BINS = 20;
/** Frames of 10 ms that the bins reach ahead. */
export const HAZARD_FRAMES = 200;

/**
 * Edges in frames: a change d frames ahead (d ≥ 1) lies in bin k with HAZARD_EDGES[k] < d ≤ HAZARD_EDGES[k+1].
 * Log-spaced, where frames are fine enough for it; one frame a bin before.
 */
export const HAZARD_EDGES: readonly number[] = edges();

function edges(): number[] {
  const out = [0];
  for (let k = 1; k <= HAZARD_BINS; k++) {
    // What is left is spread evenly on the log scale from the edge before.
    const before = out[k - 1];
    const ratio = before === 0 ? 1 : (HAZARD_FRAMES / before) ** (1 / (HAZARD_BINS - k + 1));
    out.push(Math.max(before + 1, Math.round(before * ratio)));
  }
  out[HAZARD_BINS] = HAZARD_FRAMES;
  return out;
}

export interface ChangeLabels {
  /** Bin of the next change; where `changed` is 0, the number of bins known to have passed without one. */
  bin: Uint8Array;
  /** 1 if the change was seen within 2 s. */
  changed: Uint8Array;
}

/** Labels of the hazard for a 0/1 track. The loss of a frame is Σ_{k<bin} −ln(1−h_k) − changed·ln h_bin. */
export function changeLabels(speech: Uint8Array): ChangeLabels {
  const frames = speech.length;
  const bin = new Uint8Array(frames);
  const changed = new Uint8Array(frames);
  const binOf = new Uint8Array(HAZARD_FRAMES + 1);
  for (let d = 1, k = 0; d <= HAZARD_FRAMES; d++) {
    if (d > HAZARD_EDGES[k + 1]) k++;
    binOf[d] = k;
  }
  let next = Number.POSITIVE_INFINITY;
  for (let t = frames - 1; t >= 0; t--) {
    if (t + 1 < frames && speech[t + 1] !== speech[t]) next = t + 1;
    const ahead = next - t;
    if (ahead <= HAZARD_FRAMES) {
      bin[t] = binOf[ahead];
      changed[t] = 1;
    } else {
      // Bins that lie wholly before the end of what is known have passed.
      const known = Math.min(HAZARD_FRAMES, frames - 1 - t);
      let passed = 0;
      while (passed < HAZARD_BINS && HAZARD_EDGES[passed + 1] <= known) passed++;
      bin[t] = passed;
    }
  }
  return { bin, changed };
}

/** P(change within `frames`) from the hazards of one frame: survival falls geometrically inside a bin. */
export function changeWithinFrames(hazards: ArrayLike<number>, frames: number, from = 0): number {
  let survival = 1;
  for (let k = 0; k < HAZARD_BINS && HAZARD_EDGES[k] < frames; k++) {
    const share = Math.min(1, (frames - HAZARD_EDGES[k]) / (HAZARD_EDGES[k + 1] - HAZARD_EDGES[k]));
    survival *= (1 - hazards[from + k]) ** share;
  }
  return 1 - survival;
}

/** Expected frames until the change, counting what lies beyond 2 s as 2 s. */
export function expectedFrames(hazards: ArrayLike<number>, from = 0): number {
  let survival = 1;
  let sum = 0;
  for (let k = 0; k < HAZARD_BINS; k++) {
    const width = HAZARD_EDGES[k + 1] - HAZARD_EDGES[k];
    const after = survival * (1 - hazards[from + k]);
    sum += (width * (survival + after)) / 2;
    survival = after;
  }
  return sum;
}
