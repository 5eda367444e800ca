/** Causal depthwise convolution. */
import type { ConvArgs, ConvBackwardArgs } from '../../kernels.js';
import { columns, columnsOf, reshape, rowsOf, type Tensor } from '../../tensor.js';
import type { Recorder } from './recorder.js';
import { columnSum } from './reduce.js';

/** Widest filter whose taps stay in registers. */
const SHORT = 8;
/** Times of one thread. Long enough that reading K − 1 inputs twice does not matter. */
const STEPS = 32;
/** Longest call with state that one thread per channel does alone, state and all. */
const WHOLE = 4;

const flag = (value: unknown): number => (value ? 1 : 0);

export function conv(recorder: Recorder, { out, x, weight, bias, activation, state, lengths }: ConvArgs): void {
  const [batch, length, channels] = x.shape;
  const K = columnsOf(weight);
  const keepsState = state !== undefined && K > 1;
  const whole = keepsState && length <= WHOLE;
  const steps = whole ? Math.max(1, length) : STEPS;
  const blocks = Math.ceil(length / steps);
  const threads = batch * channels * (whole ? 1 : blocks);
  recorder.dispatch({
    kernel: 'conv',
    constants: { K, SHORT: K <= SHORT, WHOLE: whole },
    bindings: { out, x, weight, bias, state: keepsState ? state : undefined, lengths },
    params: {
      batch,
      length,
      channels,
      steps,
      blocks: Math.max(1, blocks),
      hasBias: flag(bias),
      hasState: flag(keepsState),
      hasLengths: flag(lengths),
      silu: flag(activation === 'silu'),
    },
    workgroups: Math.ceil(threads / 64),
  });
  if (!keepsState || whole) return;
  // A launch of its own: the first block may still read what the last would overwrite.
  recorder.dispatch({
    kernel: 'conv-state',
    bindings: { state, x, lengths },
    params: { batch, length, channels, past: K - 1, hasLengths: flag(lengths) },
    workgroups: Math.ceil((batch * channels) / 64),
  });
}

export function convBackward(recorder: Recorder, args: ConvBackwardArgs): void {
  const { dX, dOut, x, weight, bias, activation, lengths } = args;
  const [batch, length, channels] = x.shape;
  const K = columnsOf(weight);
  if (channels === 0) return;
  if (K > SHORT) {
    convBackwardLong(recorder, args);
    return;
  }
  const steps = length >= 1024 ? 2 * STEPS : STEPS;
  const blocks = Math.max(1, Math.ceil(length / steps));
  const partial = recorder.alloc([batch * blocks, channels * (K + 1)]);
  recorder.dispatch({
    kernel: 'conv-backward',
    constants: { K },
    bindings: { dX, partial, dOut, x, weight, bias, lengths },
    params: {
      batch,
      length,
      channels,
      steps,
      blocks,
      hasBias: flag(bias),
      hasLengths: flag(lengths),
      silu: flag(activation === 'silu'),
    },
    workgroups: Math.ceil((batch * channels * blocks) / 64),
  });
  sumWeights(recorder, args, partial, K);
}

/** Adds the blocks' shares [blocks, C·K | C]. */
function sumWeights(recorder: Recorder, { dWeight, dBias, x }: ConvBackwardArgs, partial: Tensor, K: number): void {
  const channels = columnsOf(x);
  columnSum(recorder, reshape(dWeight, [channels * K]), columns(partial, 0, channels * K));
  if (dBias) columnSum(recorder, dBias, columns(partial, channels * K, channels * (K + 1)));
  recorder.free(partial);
}

function convBackwardLong(recorder: Recorder, args: ConvBackwardArgs): void {
  const { dX, dOut, x, weight, bias, activation, lengths } = args;
  const [batch, length, channels] = x.shape;
  const K = columnsOf(weight);
  const rows = rowsOf(x);
  const steps = 256;
  const slopes = recorder.alloc([batch, length, channels]);
  const partial = recorder.alloc([Math.max(1, Math.ceil(rows / steps)), channels * (K + 1)]);
  const launch = (mode: number, out: Tensor, p: Tensor, size: number) =>
    recorder.dispatch({
      kernel: 'conv-backward-long',
      label: `conv-backward-long ${mode}`,
      constants: { MODE: mode },
      bindings: { out, p, x, weight, bias, lengths },
      params: {
        size,
        length,
        channels,
        K,
        rows,
        steps,
        hasBias: flag(bias),
        hasLengths: flag(lengths),
        silu: flag(activation === 'silu'),
      },
      workgroups: Math.ceil(size / 64),
    });
  launch(0, slopes, dOut, rows * channels);
  launch(1, dX, slopes, rows * channels);
  launch(2, partial, slopes, rowsOf(partial) * columnsOf(partial));
  recorder.free(slopes);
  sumWeights(recorder, args, partial, K);
}
