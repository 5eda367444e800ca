import { VAP_BINS, vapLabels } from '../data/vap.js';
import { IGNORE } from '../metrics/transitions.js';

/**
 * The floor of turn forecasting: P(a side talks in a bin) from who talks now, and nothing else. The joint state has four
 * values (nobody, A, B, both); what follows it is counted on training calls, the two sides counted alike.
 */
export class MarkovTurns {
  /** [state, side, bin] probabilities. */
  readonly table: Float64Array;

  private constructor(table: Float64Array) {
    this.table = table;
  }

  static fit(calls: Iterable<readonly [Uint8Array, Uint8Array]>): MarkovTurns {
    const bins = VAP_BINS.length;
    const hits = new Float64Array(4 * 2 * bins).fill(0.5);
    const seen = new Float64Array(4 * 2 * bins).fill(1);
    for (const [a, b] of calls) {
      // Mirrored, because the names of the sides mean nothing.
      for (const sides of [[a, b] as const, [b, a] as const]) {
        const labels = vapLabels(sides);
        for (let t = 0; t < a.length; t++) {
          const state = sides[0][t] + 2 * sides[1][t];
          for (let k = 0; k < 2 * bins; k++) {
            const label = labels[t * 2 * bins + k];
            if (label === IGNORE) continue;
            hits[state * 2 * bins + k] += label;
            seen[state * 2 * bins + k]++;
          }
        }
      }
    }
    return new MarkovTurns(hits.map((h, i) => h / seen[i]));
  }

  /** Probability that `side` talks in `bin`, given who talks now (0/1 each). */
  probability(a: number, b: number, side: 0 | 1, bin: number): number {
    return this.table[((a + 2 * b) * 2 + side) * VAP_BINS.length + bin];
  }
}
