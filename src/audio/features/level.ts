/**
 * Causal level normalisation: what a listener knows of the loudness so far, and nothing of what comes.
 *
 * The mean log energy e of a frame is followed by an exponential average of 3 s and by a peak that decays slowly.
 * Gain is then nearly out of the picture, and the model is told how far a frame lies above the average and under the peak.
 */

/** Frames (of 10 ms) of the average's memory: 3 s. */
const MEMORY = 300;
/** Fall of the running maximum a frame, natural log of power: 10 s from a shout down to 20 dB less. */
const DECAY = (20 * Math.LN10) / 10 / 1000;

export class LevelNormaliser {
  private average = 0;
  private maximum = 0;
  private count = 0;

  /**
   * Takes the mean log energy of the next frame.
   *
   * The average starts as a plain mean and becomes exponential once it has seen its memory's worth of frames, so the
   * first frames are not measured against an arbitrary start.
   */
  push(energy: number): void {
    this.count = Math.min(this.count + 1, MEMORY);
    this.average += (energy - this.average) / this.count;
    this.maximum = this.count === 1 ? energy : Math.max(energy, this.maximum - DECAY);
  }

  /** Running average of the mean log energy (natural log of power). */
  get mean(): number {
    return this.average;
  }

  /** Running, slowly decaying maximum of the mean log energy. */
  get peak(): number {
    return this.maximum;
  }

  snapshot(): LevelState {
    return { average: this.average, maximum: this.maximum, count: this.count };
  }

  restore(state: LevelState): void {
    this.average = state.average;
    this.maximum = state.maximum;
    this.count = state.count;
  }
}

export interface LevelState {
  average: number;
  maximum: number;
  count: number;
}
