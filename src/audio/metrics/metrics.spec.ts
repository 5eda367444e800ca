import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  accuracy,
  auc,
  averagePrecision,
  balancedAccuracy,
  bestBalancedAccuracy,
  calibration,
  changeWithin,
  confusion,
  coverage,
  cutAtLatency,
  delays,
  evaluate,
  f1,
  firingTime,
  forecastError,
  IGNORE,
  labelAhead,
  latencyAtCut,
  logLoss,
  median,
  persistenceError,
  type Span,
  standardise,
  standardiser,
  sweep,
  thresholdAtFalseAlarms,
} from './index.js';

describe('ranking', () => {
  it('AUC by hand: pairs won, ties one half', () => {
    // Positives .8 .4, negatives .4 .1: pairs (.8>.4) (.8>.1) (.4=.4) (.4>.1) → 3.5 of 4.
    expect(auc([0.8, 0.4, 0.4, 0.1], [1, 1, 0, 0])).toBe(0.875);
    expect(auc([1, 1, 1], [1, 0, 0])).toBe(0.5);
    expect(auc([3, 2, 9], [1, 0, IGNORE])).toBe(1);
    expect(auc([1, 2], [1, 1])).toBeNaN();
  });

  it('AUC equals the count over all pairs', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 6 }), fc.nat(1)), { minLength: 2, maxLength: 40 }),
        (rows) => {
          const positive = rows.filter((r) => r[1] === 1);
          const negative = rows.filter((r) => r[1] === 0);
          fc.pre(positive.length > 0 && negative.length > 0);
          let won = 0;
          for (const [p] of positive) for (const [n] of negative) won += p > n ? 1 : p === n ? 0.5 : 0;
          const got = auc(
            rows.map((r) => r[0]),
            rows.map((r) => r[1]),
          );
          expect(got).toBeCloseTo(won / (positive.length * negative.length), 12);
        },
      ),
    );
  });

  it('average precision by hand', () => {
    // Ranks: 1 hit (1/1), 2 miss, 3 hit (2/3).
    expect(averagePrecision([0.9, 0.8, 0.7, 0.1], [1, 0, 1, 0])).toBeCloseTo((1 + 2 / 3) / 2, 12);
  });

  it('threshold at a false alarm rate lets through exactly what is allowed', () => {
    const scores = [0.1, 0.2, 0.3, 0.4, 0.9];
    const labels = [0, 0, 0, 0, 1];
    const t = thresholdAtFalseAlarms(scores, labels, 0.25);
    expect(scores.filter((s, i) => labels[i] === 0 && s >= t)).toEqual([0.4]);
    expect(thresholdAtFalseAlarms(scores, labels, 0)).toBeGreaterThan(0.4);
    expect(thresholdAtFalseAlarms([-1, -2], [0, 0], 0)).toBeGreaterThan(-1);
  });
});

describe('classification', () => {
  const c = confusion([0.9, 0.6, 0.4, 0.7, 0.2, 0.5], [1, 1, 1, 0, 0, IGNORE], 0.5);
  it('counts and ratios by hand', () => {
    expect(c).toEqual({ truePositives: 2, falsePositives: 1, trueNegatives: 1, falseNegatives: 1 });
    expect(balancedAccuracy(c)).toBeCloseTo((2 / 3 + 1 / 2) / 2, 12);
    expect(f1(c)).toBeCloseTo(4 / 6, 12);
    expect(accuracy(c)).toBeCloseTo(3 / 5, 12);
  });

  it('the best threshold is as good as trying all of them', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(8), fc.nat(1)), { minLength: 2, maxLength: 30 }), (rows) => {
        const scores = rows.map((r) => r[0]);
        const labels = rows.map((r) => r[1]);
        fc.pre(labels.includes(1) && labels.includes(0));
        const all = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((t) => balancedAccuracy(confusion(scores, labels, t)));
        expect(bestBalancedAccuracy(scores, labels).value).toBeCloseTo(Math.max(...all), 12);
      }),
    );
  });
});

describe('probability', () => {
  it('log-loss by hand', () => {
    expect(logLoss([0.8, 0.3], [1, 0])).toBeCloseTo(-(Math.log(0.8) + Math.log(0.7)) / 2, 12);
    expect(logLoss([0], [1])).toBeCloseTo(-Math.log(1e-7), 9);
  });

  it('calibration error by hand', () => {
    // Bin .1: said .1, came 0 of 2; bin .9: said .9, came 1 of 2.
    const { error, bins } = calibration([0.1, 0.1, 0.9, 0.9], [0, 0, 1, 0], 10);
    expect(error).toBeCloseTo(0.5 * 0.1 + 0.5 * 0.4, 12);
    expect(bins[9].came).toBe(0.5);
    expect(calibration([1, 0], [1, 0]).error).toBe(0);
  });
});

describe('transitions', () => {
  const labels = Uint8Array.from([0, 0, 1, 1, 1, 0, 0, 0]);
  it('labels ahead', () => {
    expect([...labelAhead(labels, 3)]).toEqual([1, 1, 0, 0, 0, 255, 255, 255]);
  });

  it('ends and starts within a horizon', () => {
    expect([...changeWithin(labels, 1, 2)]).toEqual([255, 255, 0, 1, 1, 255, 255, 255]);
    // The last frames of silence do not know what comes: left out.
    expect([...changeWithin(labels, 0, 2)]).toEqual([1, 1, 255, 255, 255, 0, 255, 255]);
  });

  it('delays by hand', () => {
    const scores = [0, 0, 0.1, 0.9, 0.9, 0.8, 0.6, 0.2];
    expect(delays(scores, labels, 0.5, 1)).toEqual({ onset: [1], offset: [2] });
    expect(delays(scores, labels, 0.95, 1)).toEqual({ onset: [Number.POSITIVE_INFINITY], offset: [] });
    // Falls one frame before the label does.
    expect(delays([0, 0, 0.9, 0.9, 0.1, 0, 0, 0], labels, 0.5, 1).offset).toEqual([-1]);
    expect(delays(scores, labels, 0.5, 4)).toEqual({ onset: [], offset: [] });
    expect(median([3, 1, Number.POSITIVE_INFINITY])).toBe(3);
    expect(median([1, 2])).toBe(1.5);
  });
});

describe('end of turn', () => {
  const spans: Span[] = [
    { kind: 'eot', seconds: 2, scores: [0.1, 0.3, 0.8] },
    { kind: 'eot', seconds: 1, scores: [0.1, 0.1, 0.1] },
    { kind: 'hold', seconds: 0.4, scores: [0.1, 0.6, 0.6, 0.6] },
    { kind: 'hold', seconds: 1.2, scores: [0.1, 0.1, 0.1] },
    { kind: 'hold', seconds: 0.15, scores: [1] },
  ];

  it('fires at the threshold, not before the delay, at the latest at the timeout', () => {
    const policy = { threshold: 0.5, delay: 0.2, timeout: 1 };
    expect(spans.slice(0, 4).map((s) => +firingTime(s.scores, policy).toFixed(9))).toEqual([0.3, 1, 0.2, 1]);
    expect(firingTime([], policy)).toBe(1);
    // Third span is cut at .2, fourth at 1.0 of 1.2 s; the short hold does not count.
    expect(evaluate(spans, policy)).toEqual({ ...policy, cut: 1, latency: 0.65 });
    expect(evaluate(spans, { threshold: 0.7, delay: 0.2, timeout: 1.5 })).toMatchObject({ cut: 0, latency: 0.9 });
  });

  it('reads the trade off the sweep', () => {
    const results = sweep(spans);
    // The second turn's scores never rise, so only the timeout ends it, and 1.2 s is the first that spares the long pause.
    expect(latencyAtCut(results, 0)).toBeCloseTo(0.3 / 2 + 1.2 / 2, 9);
    expect(cutAtLatency(results, 0.2)).toBe(1);
    expect(cutAtLatency(results, 0.1)).toBeNaN();
  });
});

describe('spectral', () => {
  it('standardises each band and measures persistence by hand', () => {
    const frames = Float32Array.from([1, 10, 3, 30, 5, 50]);
    const by = standardiser([frames], 2);
    expect([...by.mean]).toEqual([3, 30]);
    const z = standardise(frames, by);
    expect(z[2]).toBe(0);
    expect(z[4]).toBeCloseTo(Math.sqrt(3 / 2), 6);
    expect(persistenceError([frames], 2, 1)).toBe((4 + 400 + 4 + 400) / 4);
    expect(forecastError(frames, Float32Array.from([3, 30, 5, 40, 0, 0]), 2, 1)).toEqual({ sum: 100, count: 4 });
    expect(coverage([1, 2, 3, 4], [0, 0, 0, 0], [1, 1, 5, 5])).toBe(0.75);
  });
});
