/** Causal depthwise convolution in float64. */
import type { ConvArgs, ConvBackwardArgs } from '../../kernels.js';
import { columnsOf } from '../../tensor.js';
import { at, fill, floats, lengthOf, silu, siluDerivative } from './access.js';

export function conv({ out, x, weight, bias, activation, state, lengths }: ConvArgs): void {
  const [batch, length, channels] = x.shape;
  const width = columnsOf(weight);
  const past = width - 1;
  for (let b = 0; b < batch; b++) {
    const real = lengthOf(lengths, b, length);
    // Value of channel c at time t, reaching back into the state for t < 0.
    const value = (t: number, c: number): number => {
      if (t >= 0) return floats(x)[at(x, b * length + t) + c];
      return state ? floats(state)[state.offset + (b * past + past + t) * channels + c] : 0;
    };
    for (let t = 0; t < length; t++) {
      for (let c = 0; c < channels; c++) {
        let sum = bias ? floats(bias)[bias.offset + c] : 0;
        for (let k = 0; k < width; k++) sum += floats(weight)[at(weight, c) + k] * value(t - past + k, c);
        const y = activation === 'silu' ? silu(sum) : sum;
        floats(out)[at(out, b * length + t) + c] = t < real ? y : 0;
      }
    }
    if (state) {
      const last: number[] = [];
      for (let s = 0; s < past; s++) for (let c = 0; c < channels; c++) last.push(value(real - past + s, c));
      floats(state).set(last, state.offset + b * past * channels);
    }
  }
}

export function convBackward({
  dX,
  dWeight,
  dBias,
  dOut,
  x,
  weight,
  bias,
  activation,
  lengths,
}: ConvBackwardArgs): void {
  const [batch, length, channels] = x.shape;
  const width = columnsOf(weight);
  const past = width - 1;
  fill(dX, 0);
  fill(dWeight, 0);
  if (dBias) fill(dBias, 0);
  for (let b = 0; b < batch; b++) {
    const real = lengthOf(lengths, b, length);
    for (let t = 0; t < real; t++) {
      for (let c = 0; c < channels; c++) {
        let sum = bias ? floats(bias)[bias.offset + c] : 0;
        for (let k = 0; k < width; k++) {
          const source = t - past + k;
          if (source >= 0) sum += floats(weight)[at(weight, c) + k] * floats(x)[at(x, b * length + source) + c];
        }
        const d = floats(dOut)[at(dOut, b * length + t) + c] * (activation === 'silu' ? siluDerivative(sum) : 1);
        if (dBias) floats(dBias)[dBias.offset + c] += d;
        for (let k = 0; k < width; k++) {
          const source = t - past + k;
          if (source < 0) continue;
          floats(dWeight)[at(dWeight, c) + k] += d * floats(x)[at(x, b * length + source) + c];
          floats(dX)[at(dX, b * length + source) + c] += d * floats(weight)[at(weight, c) + k];
        }
      }
    }
  }
}
