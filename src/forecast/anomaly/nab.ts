/**
 * The score of the Numenta Anomaly Benchmark, as its scorer computes it (Lavin & Ahmad 2015; numenta/NAB, nab/sweeper.py):
 * one threshold for the whole corpus, the best one for each profile.
 */

/** One file: a score a row, and the labelled windows as first and last row. */
export interface NabFile {
  scores: Float64Array;
  windows: readonly (readonly [first: number, last: number])[];
}

export interface NabProfile {
  name: string;
  truePositive: number;
  falsePositive: number;
  falseNegative: number;
}

/** The benchmark's three profiles. */
export const NAB_PROFILES: readonly NabProfile[] = [
  { name: 'standard', truePositive: 1, falsePositive: 0.11, falseNegative: 1 },
  { name: 'reward low FP', truePositive: 1, falsePositive: 0.22, falseNegative: 1 },
  { name: 'reward low FN', truePositive: 1, falsePositive: 0.11, falseNegative: 2 },
];

/** Rows at the start of a file that do not count: 15 %, 750 at most. */
export function probation(rows: number): number {
  return Math.min(Math.floor(0.15 * rows), 750);
}

/** 2σ(−5x) − 1, and −1 from x = 3: worth of a detection at position x, −1 the left edge of its window and 0 the right one. */
function worth(position: number): number {
  return position >= 3 ? -1 : 2 / (1 + Math.exp(5 * position)) - 1;
}

interface Point {
  score: number;
  /** What it adds if it is reported. */
  value: number;
  /** Number of its window, or −1. */
  window: number;
}

/**
 * @returns the normalised score (100: perfect, 0: no detection at all) at the best threshold, and that threshold: rows
 *   with at least that score are detections
 */
export function nabScore(files: readonly NabFile[], profile: NabProfile): { score: number; threshold: number } {
  let windows = 0;
  const points: Point[] = [];
  for (const file of files) windows += addPoints(points, file, windows, profile);
  points.sort((a, b) => b.score - a.score);
  // A window that ends within the probation has no point and counts for nothing.
  const counted = new Set(points.map(({ window }) => window).filter((window) => window >= 0));
  const best = new Float64Array(windows).fill(-profile.falseNegative);
  const nothing = -profile.falseNegative * counted.size;
  const perfect = profile.truePositive * counted.size;
  let total = nothing;
  let top = { total, threshold: Number.POSITIVE_INFINITY };
  points.forEach(({ score, value, window }, i) => {
    if (window < 0) total += value;
    else if (value > best[window]!) {
      total += value - best[window]!;
      best[window] = value;
    }
    const isLast = i + 1 === points.length || points[i + 1]!.score !== score;
    if (isLast && total > top.total) top = { total, threshold: score };
  });
  return { score: (100 * (top.total - nothing)) / (perfect - nothing), threshold: top.threshold };
}

/** Adds the points of a file whose windows are numbered from `from`; returns how many windows it has. */
function addPoints(points: Point[], { scores, windows }: NabFile, from: number, profile: NabProfile): number {
  const start = probation(scores.length);
  const first = worth(-1);
  let next = 0;
  for (let i = 0; i < scores.length; i++) {
    while (next < windows.length && windows[next]![1] < i) next++;
    const window = windows[next];
    const inside = window !== undefined && i >= window[0];
    if (i < start) continue;
    if (inside) {
      const width = window[1] - window[0] + 1;
      const value = (worth(-(window[1] - i + 1) / width) * profile.truePositive) / first;
      points.push({ score: scores[i]!, value, window: from + next });
    } else {
      const before = windows[next - 1];
      const position = before ? (i - before[1]) / (before[1] - before[0]) : 3;
      points.push({ score: scores[i]!, value: worth(position) * profile.falsePositive, window: -1 });
    }
  }
  return windows.length;
}
