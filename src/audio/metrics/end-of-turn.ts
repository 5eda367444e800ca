/**
 * The policy sweep of eot-bench (LiveKit 2026): how long must one wait after speech stops, to cut off few people who
 * only paused?
 *
 * Spans are silences of at least 100 ms after a speaker stopped: `eot` if the turn was over, `hold` if the same speaker
 * went on (kept when 0.2 to 5 s long). Every 0.1 s of a span has a score. A policy fires at the first time t where the
 * score has reached `threshold` and t ≥ `delay`, at the latest at `timeout`. A hold span that lasts beyond the firing time
 * is cut; latency is the mean firing time over eot spans.
 */
export interface Span {
  kind: 'eot' | 'hold';
  /** Seconds of silence before someone spoke. */
  seconds: number;
  /** Probability that the turn is over at 0.1, 0.2, … s; missing ones count as the last. */
  scores: ArrayLike<number>;
}

export interface Policy {
  threshold: number;
  /** Seconds. */
  delay: number;
  timeout: number;
}

export interface PolicyResult extends Policy {
  /** Share of hold spans that are cut. */
  cut: number;
  /** Mean firing time over eot spans, seconds. */
  latency: number;
}

export const STEP = 0.1;
const DELAYS = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
const TIMEOUTS = [1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.8, 2, 2.25, 2.5, 3, 3.5];

/** Silences that count, by eot-bench's rules. */
export function countsAsSpan(span: { kind: 'eot' | 'hold'; seconds: number }): boolean {
  return span.kind === 'eot' ? span.seconds >= 0.1 : span.seconds >= 0.2 && span.seconds <= 5;
}

/** When the policy fires in an endless silence with these scores, seconds. */
export function firingTime(scores: ArrayLike<number>, policy: Policy): number {
  const { threshold, delay, timeout } = policy;
  // Whole steps, so that 0.1 · 3 compares equal to 0.3.
  for (let k = Math.ceil(delay / STEP - 1e-9); k * STEP < timeout - 1e-9; k++) {
    if (k < 1 || scores.length === 0) continue;
    if (scores[Math.min(k, scores.length) - 1] >= threshold) return k * STEP;
  }
  return timeout;
}

export function evaluate(spans: readonly Span[], policy: Policy): PolicyResult {
  let holds = 0;
  let cuts = 0;
  let turns = 0;
  let waited = 0;
  for (const span of spans) {
    if (!countsAsSpan(span)) continue;
    const time = firingTime(span.scores, policy);
    if (span.kind === 'hold') {
      holds++;
      if (time < span.seconds - 1e-9) cuts++;
    } else {
      turns++;
      waited += time;
    }
  }
  return { ...policy, cut: cuts / holds, latency: waited / turns };
}

/** Every policy of the grid; thresholds are quantiles of the scores, so the sweep does not depend on their scale. */
export function sweep(spans: readonly Span[], thresholdCount = 40): PolicyResult[] {
  const scores = spans.flatMap((s) => Array.from(s.scores)).sort((a, b) => a - b);
  const thresholds = new Set<number>([Number.POSITIVE_INFINITY]);
  for (let i = 0; i < thresholdCount && scores.length > 0; i++) {
    thresholds.add(scores[Math.floor((i * (scores.length - 1)) / Math.max(1, thresholdCount - 1))]);
  }
  const out: PolicyResult[] = [];
  for (const threshold of thresholds) {
    for (const delay of DELAYS) {
      for (const timeout of TIMEOUTS) {
        if (delay <= timeout) out.push(evaluate(spans, { threshold, delay, timeout }));
      }
    }
  }
  return out;
}

/** Smallest share of cut pauses among policies whose mean latency is at most `seconds`. NaN if there is none. */
export function cutAtLatency(results: readonly PolicyResult[], seconds: number): number {
  const allowed = results.filter((r) => r.latency <= seconds + 1e-9);
  return allowed.length === 0 ? Number.NaN : Math.min(...allowed.map((r) => r.cut));
}

/** Smallest mean latency among policies that cut at most `share` of the pauses, seconds. NaN if there is none. */
export function latencyAtCut(results: readonly PolicyResult[], share: number): number {
  const allowed = results.filter((r) => r.cut <= share + 1e-9);
  return allowed.length === 0 ? Number.NaN : Math.min(...allowed.map((r) => r.latency));
}
