/** The newest composed streams, each drawn several times: composing is slower than a GPU learns. */
import type { Random } from '../../engine/random.js';
import type { ComposerPool } from '../data/compose-pool.js';
import { FEATURES } from '../features/index.js';
import { labelCodes } from './outlook-labels.js';

/** A composed stream as training draws from it. */
export interface Learned {
  frames: number;
  /** [frames, 83] */
  features: Float32Array;
  /** [frames], see outlook-labels.ts. */
  codes: Int32Array;
}

/** How the window moves: at step `from` it holds the streams before `count`, and each step brings `perStep` more. */
export interface WindowPace {
  from: number;
  count: number;
  perStep: number;
}

export class ExampleWindow {
  private readonly kept = new Map<number, Learned>();
  private next: number;

  /**
   * @param pool whose position is the first stream that the window needs at the step it starts with
   * @param keep streams that are kept, at most
   */
  constructor(
    private readonly pool: ComposerPool,
    private readonly keep: number,
    public pace: WindowPace,
  ) {
    this.next = pool.position;
  }

  /** First stream that is needed at a step, and the first that is not. */
  static range({ from, count, perStep }: WindowPace, keep: number, step: number): { first: number; end: number } {
    const end = count + Math.floor(perStep * (step - from));
    return { first: Math.max(0, end - keep), end };
  }

  /** Waits for the streams of a step and forgets older ones. */
  async moveTo(step: number, shortest: number): Promise<void> {
    const { first, end } = ExampleWindow.range(this.pace, this.keep, step);
    for (; this.next < end; this.next++) {
      const example = await this.pool.next();
      const { frames, features } = example;
      if (frames < shortest) throw new RangeError(`a stream of ${frames} frames is too short for ${shortest}`);
      this.kept.set(this.next, { frames, features, codes: labelCodes(example) });
    }
    for (const index of this.kept.keys()) {
      if (index >= first) break;
      this.kept.delete(index);
    }
  }

  /** A random crop of `frames` frames; three in ten start where their stream starts. */
  crop(random: Random, frames: number): { features: Float32Array; codes: Int32Array } {
    const indices = this.kept.size;
    const oldest = this.next - indices;
    const { frames: all, features, codes } = this.kept.get(oldest + random.integer(indices))!;
    const from = random.uniform() < 0.3 ? 0 : random.integer(all - frames + 1);
    return {
      features: features.subarray(from * FEATURES, (from + frames) * FEATURES),
      codes: codes.subarray(from, from + frames),
    };
  }
}
