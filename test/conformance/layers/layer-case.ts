/** Small instances of every layer, with every weight away from its initial value, on any backend. */
import type { Backend } from '../../../src/engine/backend.js';
import { Graph } from '../../../src/engine/graph.js';
import { WindowAttention, windowAttentionParameters } from '../../../src/engine/layers/attention.js';
import { ResidualBlock, Stack } from '../../../src/engine/layers/block.js';
import {
  freeState,
  newState,
  readState,
  type SequenceLayer,
  type StateValue,
} from '../../../src/engine/layers/layer.js';
import { type Mamba1Config, Mamba1Mixer, mamba1Parameters } from '../../../src/engine/layers/mamba1.js';
import { type Mamba2Config, Mamba2Mixer, mamba2Parameters } from '../../../src/engine/layers/mamba2.js';
import { MinGru, minGruParameters } from '../../../src/engine/layers/min-gru.js';
import { Swiglu, swigluParameters } from '../../../src/engine/layers/mlp.js';
import { constant, type ParameterSpec, prefixed, type Weights, within } from '../../../src/engine/layers/parameters.js';
import { type Parameters, uploadParameters } from '../../../src/engine/models/language-model-weights.js';
import { Random } from '../../../src/engine/random.js';
import type { Tensor } from '../../../src/engine/tensor.js';

export interface LayerCase {
  name: string;
  dModel: number;
  specs: ParameterSpec[];
  make(weights: Weights): SequenceLayer;
}

function mamba1(name: string, config: Partial<Mamba1Config>): LayerCase {
  const full = { dModel: 6, dInner: 10, dState: 4, dtRank: 3, convWidth: 4, ...config };
  return { name, dModel: 6, specs: mamba1Parameters(full), make: (weights) => new Mamba1Mixer(full, weights) };
}

function mamba2(name: string, config: Partial<Mamba2Config>): LayerCase {
  const full = { dModel: 6, dInner: 12, nHeads: 4, dState: 5, nGroups: 1, convWidth: 4, normEps: 1e-5, ...config };
  return { name, dModel: 6, specs: mamba2Parameters(full), make: (weights) => new Mamba2Mixer(full, weights) };
}

export const timeInvariant: Mamba1Config = {
  dModel: 6,
  dInner: 10,
  dState: 4,
  dtRank: 1,
  convWidth: 4,
  timeInvariant: true,
};

const attention = { dModel: 6, nHeads: 4, kvHeads: 2, headDim: 3, window: 7 };
const gru = { dModel: 6, dInner: 10 };
const swiglu = { dModel: 6, dHidden: 5 };

function stack(): LayerCase {
  const parts = [mamba1('', {}), mamba2('', {}), attentionCase(), swigluCase()];
  const block = (part: LayerCase, i: number) =>
    prefixed(`${i}`, [constant('norm.weight', [6], 1), ...prefixed('mixer', part.specs)]);
  return {
    name: 'stack of residual blocks',
    dModel: 6,
    specs: parts.flatMap(block),
    make: (weights) =>
      new Stack(
        parts.map((part, i) => {
          const own = within(weights, `${i}`);
          return new ResidualBlock(part.make(within(own, 'mixer')), own, 1e-5);
        }),
      ),
  };
}

function attentionCase(): LayerCase {
  const specs = windowAttentionParameters(attention);
  return { name: 'window attention', dModel: 6, specs, make: (weights) => new WindowAttention(attention, weights) };
}

function gruCase(): LayerCase {
  return { name: 'minimal GRU', dModel: 6, specs: minGruParameters(gru), make: (weights) => new MinGru(gru, weights) };
}

function swigluCase(): LayerCase {
  return { name: 'swiglu', dModel: 6, specs: swigluParameters(swiglu), make: (weights) => new Swiglu(swiglu, weights) };
}

export const layerCases: LayerCase[] = [
  mamba1('mamba-1', {}),
  mamba1('mamba-1 with biases, zero-order hold', { projectionBias: true, discretisation: 'zoh' }),
  mamba1('mamba-1 without convolution bias, width 1', { convBias: false, convWidth: 1 }),
  mamba1('mamba-1, time-invariant', timeInvariant),
  mamba2('mamba-2', {}),
  mamba2('mamba-2 in groups with biases', { nGroups: 2, projectionBias: true }),
  mamba2('mamba-2 normalised over the whole width, dt limited', {
    nGroups: 2,
    normGroupSize: 12,
    dtLimit: [0.02, 0.3],
  }),
  mamba2('mamba-2, zero-order hold', { discretisation: 'zoh', convBias: false }),
  attentionCase(),
  gruCase(),
  swigluCase(),
  stack(),
];

export interface Instance {
  layer: SequenceLayer;
  parameters: Parameters;
}

/** Initial weights plus noise, so that ones and zeros (D, norms, distance biases) do not hide mistakes. */
export function weightsOf({ specs }: LayerCase, seed = 1): Map<string, Float32Array> {
  const random = new Random(seed);
  return new Map(
    specs.map((spec) => [spec.name, spec.init(random).map((value) => Math.fround(value + 0.2 * random.normal()))]),
  );
}

export function build(
  backend: Backend,
  layerCase: LayerCase,
  weights: ReadonlyMap<string, ArrayLike<number>> = weightsOf(layerCase),
): Instance {
  const parameters = uploadParameters(backend, layerCase.specs, weights);
  return { layer: layerCase.make(parameters.lookup), parameters };
}

/** Sequences as numbers, [batch, length, width]. */
export interface Sequences {
  batch: number;
  length: number;
  width: number;
  data: Float64Array;
}

export function sequences(random: Random, batch: number, length: number, width: number): Sequences {
  const data = Float64Array.from({ length: batch * length * width }, () => Math.fround(random.normal()));
  return { batch, length, width, data };
}

/** Tokens [from, to) of every sequence, or of sequence `only`. */
export function cut({ batch, length, width, data }: Sequences, from: number, to: number, only?: number): Sequences {
  const which = only === undefined ? Array.from({ length: batch }, (_, b) => b) : [only];
  const parts = which.map((b) => data.subarray((b * length + from) * width, (b * length + to) * width));
  return {
    batch: which.length,
    length: to - from,
    width,
    data: Float64Array.from(parts.flatMap((part) => Array.from(part))),
  };
}

export function upload(backend: Backend, { batch, length, width, data }: Sequences): Tensor {
  const tensor = backend.alloc([batch, length, width]);
  backend.write(tensor, data);
  return tensor;
}

export function uploadLengths(backend: Backend, lengths: readonly number[]): Tensor {
  const tensor = backend.alloc([lengths.length], 'i32');
  backend.write(tensor, Int32Array.from(lengths));
  return tensor;
}

export interface Outcome {
  y: ArrayLike<number>;
  state: StateValue;
}

/** One scan from an empty state. */
export async function scan(
  backend: Backend,
  layer: SequenceLayer,
  x: Sequences,
  lengths?: readonly number[],
): Promise<Outcome> {
  const graph = new Graph(backend);
  const state = newState(backend, layer, x.batch);
  const input = upload(backend, x);
  const lengthTensor = lengths && uploadLengths(backend, lengths);
  const out = layer.scan(graph, input, { state, lengths: lengthTensor });
  const outcome = { y: await backend.read(out), state: await readState(backend, state) };
  graph.release(out);
  for (const t of [input, lengthTensor]) if (t) backend.free(t);
  freeState(backend, state);
  return outcome;
}
