/**
 * Energy voice activity, the oldest detector and the floor of the newer ones: how far the level of a hop lies above a
 * running estimate of the noise floor. Causal; no training.
 */
export class EnergyDetector {
  private floor = Number.NaN;

  /** Level of the next 10 ms (natural log of mean power) → decibels above the noise floor. */
  push(level: number): number {
    if (Number.isNaN(this.floor)) this.floor = level;
    // Falls at once to a quieter level, rises by 3 dB a second: speech is shorter than noise.
    this.floor = level < this.floor ? level : this.floor + (3 * Math.LN10) / 10 / 100;
    return ((level - this.floor) * 10) / Math.LN10;
  }
}

/** Natural log of the mean power of samples, at least that of 16-bit rounding. */
export function logPower(samples: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < samples.length; i++) sum += samples[i] * samples[i];
  return Math.log(Math.max(1e-10, sum / samples.length));
}
