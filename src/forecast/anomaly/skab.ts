/** The outlier score of the Skoltech Anomaly Benchmark: point by point, all runs added up (waico/SKAB). */

export interface PointScore {
  /** TP / (TP + (FN + FP)/2). */
  f1: number;
  /** Share of normal points that are reported. */
  falseAlarmRate: number;
  /** Share of anomalous points that are not. */
  missedAlarmRate: number;
}

/** @param runs for each run, what is reported and what is labelled, a value a point */
export function pointScore(
  runs: readonly { reported: ArrayLike<boolean>; labelled: ArrayLike<boolean> }[],
): PointScore {
  const count = { tp: 0, tn: 0, fp: 0, fn: 0 };
  for (const { reported, labelled } of runs) {
    for (let i = 0; i < labelled.length; i++) {
      if (labelled[i]) count[reported[i] ? 'tp' : 'fn']++;
      else count[reported[i] ? 'fp' : 'tn']++;
    }
  }
  const { tp, tn, fp, fn } = count;
  return {
    f1: tp / (tp + (fn + fp) / 2),
    falseAlarmRate: fp / (fp + tn),
    missedAlarmRate: fn / (fn + tp),
  };
}
