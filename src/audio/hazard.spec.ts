import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  changeLabels,
  changeWithinFrames,
  expectedFrames,
  HAZARD_BINS,
  HAZARD_EDGES,
  HAZARD_FRAMES,
} from './hazard.js';

describe('hazard of the next change', () => {
  it('has 20 bins that grow, from one frame to 2 s', () => {
    expect(HAZARD_EDGES).toHaveLength(HAZARD_BINS + 1);
    expect(HAZARD_EDGES[0]).toBe(0);
    expect(HAZARD_EDGES[HAZARD_BINS]).toBe(HAZARD_FRAMES);
    const widths = HAZARD_EDGES.slice(1).map((e, k) => e - HAZARD_EDGES[k]);
    expect(Math.min(...widths)).toBe(1);
    for (let k = 1; k < widths.length; k++) expect(widths[k]).toBeGreaterThanOrEqual(widths[k - 1] - 1);
  });

  it('labels by hand', () => {
    const { bin, changed } = changeLabels(Uint8Array.from([0, 0, 1, 1, 1]));
    // Frame 0: change 2 ahead; frame 1: 1 ahead; frames 2, 3, 4: 2, 1, 0 frames of silence about the future.
    expect([...changed]).toEqual([1, 1, 0, 0, 0]);
    expect([...bin]).toEqual([1, 0, 2, 1, 0]);
  });

  it('agrees with a search ahead on any track', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(1), fc.integer({ min: 1, max: 260 })), { minLength: 1, maxLength: 12 }),
        (runs) => {
          const track = Uint8Array.from(runs.flatMap(([v, n]) => new Array<number>(n).fill(v)));
          const { bin, changed } = changeLabels(track);
          for (let t = 0; t < track.length; t++) {
            let d = 1;
            while (t + d < track.length && track[t + d] === track[t] && d <= HAZARD_FRAMES) d++;
            const seen = t + d < track.length && d <= HAZARD_FRAMES;
            expect(changed[t]).toBe(seen ? 1 : 0);
            if (seen) {
              expect(HAZARD_EDGES[bin[t]]).toBeLessThan(d);
              expect(HAZARD_EDGES[bin[t] + 1]).toBeGreaterThanOrEqual(d);
            } else expect(HAZARD_EDGES[bin[t]]).toBeLessThanOrEqual(Math.min(HAZARD_FRAMES, track.length - 1 - t));
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  it('adds hazards up to probabilities', () => {
    const hazards = new Float64Array(HAZARD_BINS);
    expect(changeWithinFrames(hazards, 200)).toBe(0);
    expect(expectedFrames(hazards)).toBe(HAZARD_FRAMES);
    hazards[0] = 0.5;
    hazards[1] = 0.5;
    expect(changeWithinFrames(hazards, 1)).toBeCloseTo(0.5, 12);
    expect(changeWithinFrames(hazards, 2)).toBeCloseTo(0.75, 12);
    expect(changeWithinFrames(hazards, 200)).toBeCloseTo(0.75, 12);
    hazards.fill(0);
    hazards[HAZARD_BINS - 1] = 0.75;
    // Half of the last bin: survival falls to √(1/4).
    const middle = (HAZARD_EDGES[HAZARD_BINS - 1] + HAZARD_FRAMES) / 2;
    expect(changeWithinFrames(hazards, middle)).toBeCloseTo(0.5, 12);
  });
});
