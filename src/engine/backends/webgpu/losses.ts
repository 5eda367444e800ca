/** Losses with their gradients, the forecaster's head, and AdamW. */
import type { AdamWArgs, CrossEntropyArgs, MseArgs, PinballArgs, QuantileMixtureArgs } from '../../kernels.js';
import { columnsOf, rowsOf, sizeOf, type Tensor } from '../../tensor.js';
import type { Recorder } from './recorder.js';
import { sum } from './reduce.js';

/** Gives `make` a place for `count` shares of a loss and adds them into `loss`. */
function reduced(recorder: Recorder, loss: Tensor, count: number, make: (partial: Tensor) => void): void {
  const partial = recorder.alloc([count]);
  make(partial);
  sum(recorder, loss, partial);
  recorder.free(partial);
}

export function crossEntropy(recorder: Recorder, args: CrossEntropyArgs): void {
  const { loss, dLogits, logits, targets, weights } = args;
  const [rows, columns] = [rowsOf(logits), columnsOf(logits)];
  reduced(recorder, loss, rows, (partial) =>
    recorder.dispatch({
      kernel: 'cross-entropy',
      constants: { THREADS: columns <= 256 ? 64 : 256, GRADIENT: dLogits !== undefined },
      bindings: { partial, dLogits, logits, targets, weights },
      params: { rows, columns },
      workgroups: rows,
    }),
  );
}

function regression(
  recorder: Recorder,
  { loss, dPrediction, prediction, target, weights, levels }: MseArgs & { levels?: Tensor },
): void {
  const size = sizeOf(prediction.shape);
  const workgroups = Math.ceil(size / 256);
  // A pinball target is a vector, one number a row.
  const targetsStride = levels ? 1 : target.stride;
  reduced(recorder, loss, workgroups, (partial) =>
    recorder.dispatch({
      kernel: 'regression-loss',
      label: levels ? 'pinball' : 'mse',
      constants: { THREADS: 256, PINBALL: levels !== undefined, GRADIENT: dPrediction !== undefined },
      bindings: { partial, dPrediction, prediction, targets: target, weights, levels },
      params: { size, columns: Math.max(1, columnsOf(prediction)), targetsStride },
      workgroups,
    }),
  );
}

export function mse(recorder: Recorder, args: MseArgs): void {
  regression(recorder, args);
}

export function pinball(recorder: Recorder, args: PinballArgs): void {
  regression(recorder, args);
}

export function quantileMixture(recorder: Recorder, args: QuantileMixtureArgs): void {
  const { raw, candidates, levels, patch, nCandidates, quantiles, target, weights, loss, dRaw } = args;
  const rows = rowsOf(raw);
  const withTarget = target !== undefined && weights !== undefined;
  const launch = (partial: Tensor | undefined) =>
    recorder.dispatch({
      kernel: 'quantile-mixture',
      constants: {
        THREADS: 64,
        COUNT: sizeOf(levels.shape),
        CANDIDATES: nCandidates,
        HAS_QUANTILES: quantiles !== undefined,
        HAS_LOSS: withTarget,
        GRADIENT: dRaw !== undefined && withTarget,
      },
      bindings: { partial, quantiles, dRaw, raw, candidates, levels, goal: target, weights },
      params: { rows, patchSize: patch },
      workgroups: rows,
    });
  if (!withTarget) launch(undefined);
  else if (loss) reduced(recorder, loss, rows, launch);
  else {
    const partial = recorder.alloc([rows]);
    launch(partial);
    recorder.free(partial);
  }
}

export function adamW(recorder: Recorder, args: AdamWArgs): void {
  const { parameters, gradients, m, v, decayEnd, hyper, gradScale, sumSquares, average, averageRate } = args;
  const size = sizeOf(parameters.shape);
  recorder.dispatch({
    kernel: 'adamw',
    constants: { AVERAGE: average !== undefined && averageRate !== undefined },
    bindings: { parameters, m, v, average, gradients, hyper, gradScale, sumSquares, averageRate },
    params: { size, decayEnd },
    workgroups: Math.ceil(size / 256),
  });
}
