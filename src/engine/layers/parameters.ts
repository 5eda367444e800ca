/** What a layer's weights are called, shaped and initialised as. */
import type { Random } from '../random.js';
import { sizeOf, type Tensor } from '../tensor.js';

export interface ParameterSpec {
  /** Name inside the layer, as published checkpoints spell it (`in_proj.weight`). */
  name: string;
  shape: readonly number[];
  /** Whether AdamW decays it: matrices yes; A_log, D, dt bias, norms and biases no. */
  decay: boolean;
  init(random: Random): Float32Array;
}

/** Looks a parameter up by its name inside the layer. */
export type Weights = (name: string) => Tensor;

/** The same lookup one level down: `weights('mixer.in_proj.weight')` as `('in_proj.weight')`. */
export function within(weights: Weights, prefix: string): Weights {
  return (name) => weights(`${prefix}.${name}`);
}

/** A layer's parameters under a prefix. */
export function prefixed(prefix: string, specs: readonly ParameterSpec[]): ParameterSpec[] {
  return specs.map((spec) => ({ ...spec, name: `${prefix}.${spec.name}` }));
}

function filled(shape: readonly number[], value: (i: number) => number): Float32Array {
  return Float32Array.from({ length: sizeOf(shape) }, (_, i) => value(i));
}

export function constant(name: string, shape: readonly number[], value: number): ParameterSpec {
  return { name, shape, decay: false, init: () => filled(shape, () => value) };
}

/** N(0, std²). */
export function normal(name: string, shape: readonly number[], std: number): ParameterSpec {
  return { name, shape, decay: true, init: (random) => filled(shape, () => std * random.normal()) };
}

/** U(−1/√fanIn, 1/√fanIn), the default of PyTorch's linear and convolution layers, times `scale`. */
export function fanIn(name: string, shape: readonly number[], scale = 1): ParameterSpec {
  const bound = scale / Math.sqrt(shape[shape.length - 1]);
  return { name, shape, decay: true, init: (random) => filled(shape, () => random.uniform(-bound, bound)) };
}

/** As `fanIn` for a bias of a layer with that many inputs. */
export function bias(name: string, size: number, inputs: number): ParameterSpec {
  const bound = 1 / Math.sqrt(inputs);
  return { name, shape: [size], decay: false, init: (random) => filled([size], () => random.uniform(-bound, bound)) };
}

/**
 * Bias b with softplus(b) = dt, dt log-uniform in [low, high] and at least `floor`: b = dt + log(1 − exp(−dt))
 * (Gu & Dao 2023, section 3.6).
 */
export function dtBias(name: string, size: number, low = 1e-3, high = 1e-1, floor = 1e-4): ParameterSpec {
  return {
    name,
    shape: [size],
    decay: false,
    init: (random) =>
      filled([size], () => {
        const dt = Math.max(Math.exp(random.uniform(Math.log(low), Math.log(high))), floor);
        return dt + Math.log(-Math.expm1(-dt));
      }),
  };
}

/** A_log of Mamba-1: A[c, n] = −(n + 1), the real part of S4D's diagonal (S4D-real, Gu et al. 2022). */
export function s4dReal(name: string, channels: number, dState: number): ParameterSpec {
  const shape = [channels, dState];
  return { name, shape, decay: false, init: () => filled(shape, (i) => Math.log((i % dState) + 1)) };
}

/** A_log of Mamba-2: A = −U(low, high), one a head. */
export function headDecay(name: string, nHeads: number, low = 1, high = 16): ParameterSpec {
  return {
    name,
    shape: [nHeads],
    decay: false,
    init: (random) => filled([nHeads], () => Math.log(random.uniform(low, high))),
  };
}
