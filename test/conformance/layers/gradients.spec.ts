/**
 * Gradients of every layer through the graph: the oracle's against finite differences in float64, every training backend's
 * against the oracle's; recomputed sections and recorded plans change nothing.
 */
import { expect, it } from '@jest/globals';
import type { Backend } from '../../../src/engine/backend.js';
import { createReferenceBackend } from '../../../src/engine/backends/reference/index.js';
import { Graph } from '../../../src/engine/graph.js';
import { Random } from '../../../src/engine/random.js';
import type { Tensor } from '../../../src/engine/tensor.js';
import { onEveryBackend } from '../backends.js';
import { expectClose, expectSame } from '../compare.js';
import {
  build,
  type LayerCase,
  layerCases,
  type Sequences,
  sequences,
  upload,
  uploadLengths,
  weightsOf,
} from './layer-case.js';

const oracle = createReferenceBackend();
const LENGTHS = [6, 0, 3];
const INPUT = 'input';

interface Inputs {
  x: Sequences;
  /** Gradient of the loss with respect to the outputs; 0 on padding, whose outputs mean nothing. */
  upstream: Float64Array;
  lengths: readonly number[];
}

function inputsOf(layerCase: LayerCase, seed: number): Inputs {
  const random = new Random(seed);
  const x = sequences(random, LENGTHS.length, Math.max(...LENGTHS), layerCase.dModel);
  const upstream = sequences(random, x.batch, x.length, x.width).data;
  for (const [b, length] of LENGTHS.entries()) {
    upstream.fill(0, (b * x.length + length) * x.width, (b + 1) * x.length * x.width);
  }
  return { x, upstream, lengths: LENGTHS };
}

type Gradients = Map<string, ArrayLike<number>>;

/** Gradients of Σ upstream·y with respect to the input and every parameter. */
async function gradients(
  backend: Backend,
  layerCase: LayerCase,
  { x, upstream, lengths }: Inputs,
  { recompute = true, plan = false } = {},
): Promise<Gradients> {
  const before = backend.memory.bytes;
  const { layer, parameters } = build(backend, layerCase);
  const input = upload(backend, x);
  const upstreamTensor = upload(backend, { ...x, data: upstream });
  const lengthTensor = uploadLengths(backend, lengths);
  const targets = new Map<string, Tensor>([[INPUT, backend.alloc(input.shape)]]);
  for (const { name, shape } of layerCase.specs) targets.set(name, backend.alloc(shape));
  const run = () => {
    const graph = new Graph(backend, { train: true, recompute });
    for (const [name, target] of targets) graph.trainable(name === INPUT ? input : parameters.lookup(name), target);
    const y = layer.scan(graph, input, { lengths: lengthTensor });
    graph.seed(y, upstreamTensor);
    graph.backward();
    graph.release(y);
  };
  if (plan) {
    const recorded = backend.record(run);
    recorded.run();
    // A second run must overwrite the first one's gradients, not add to them.
    recorded.run();
    await backend.sync();
    recorded.dispose();
  } else {
    run();
  }
  const result: Gradients = new Map();
  for (const [name, target] of targets) result.set(name, await backend.read(target));
  for (const t of [input, upstreamTensor, lengthTensor, ...targets.values()]) backend.free(t);
  parameters.free();
  expect(backend.memory.bytes).toBe(before);
  return result;
}

/** Σ upstream·y on the oracle. */
async function loss(
  layerCase: LayerCase,
  weights: ReadonlyMap<string, ArrayLike<number>>,
  inputs: Inputs,
): Promise<number> {
  const { layer, parameters } = build(oracle, layerCase, weights);
  const graph = new Graph(oracle);
  const y = await oracle.read(
    layer.scan(graph, upload(oracle, inputs.x), { lengths: uploadLengths(oracle, inputs.lengths) }),
  );
  parameters.free();
  return Array.from(y).reduce((sum, value, i) => sum + value * inputs.upstream[i], 0);
}

/** Up to `count` indices spread over an array. */
const spread = (length: number, count: number) =>
  [...new Set(Array.from({ length: count }, (_, i) => Math.floor((i * length) / count)))].filter((i) => i < length);

onEveryBackend('gradients of layer', (backend) => {
  if (!backend.trains) {
    it('is refused where the backend does not train', () => {
      expect(() => new Graph(backend, { train: true })).toThrow(expect.objectContaining({ code: 'NO_TRAINING' }));
    });
    return;
  }
  for (const layerCase of layerCases) {
    it(layerCase.name, async () => {
      const inputs = inputsOf(layerCase, 3);
      const expected = await gradients(oracle, layerCase, inputs, { recompute: false });
      const tolerance = backend.name === 'reference' ? 1e-12 : 2e-5;
      const eager = await gradients(backend, layerCase, inputs, { recompute: false });
      for (const [name, values] of expected) expectClose(eager.get(name) ?? [], values, tolerance, name);
      const recomputed = await gradients(backend, layerCase, inputs);
      const planned = await gradients(backend, layerCase, inputs, { plan: true });
      for (const [name, values] of eager) {
        expectClose(recomputed.get(name) ?? [], values, tolerance, `${name}, recomputed`);
        expectSame(planned.get(name) ?? [], recomputed.get(name) ?? [], `${name}, from a plan`);
      }
    }, 600_000);
  }
});

onEveryBackend('finite differences of layer', () => {
  for (const layerCase of layerCases) {
    it(layerCase.name, async () => {
      const inputs = inputsOf(layerCase, 5);
      const ours = await gradients(oracle, layerCase, inputs);
      const weights = weightsOf(layerCase);
      const STEP = 1e-3;
      for (const [name, gradient] of ours) {
        const at = async (i: number, shift: number) => {
          const source = name === INPUT ? inputs.x.data : (weights.get(name) as Float32Array);
          const moved = Float64Array.from(source);
          moved[i] += shift;
          if (name === INPUT) return loss(layerCase, weights, { ...inputs, x: { ...inputs.x, data: moved } });
          return loss(layerCase, new Map<string, ArrayLike<number>>([...weights, [name, moved]]), inputs);
        };
        const indices = spread(gradient.length, 12);
        const numeric: number[] = [];
        for (const i of indices) {
          const [a, b, c, d] = [await at(i, -2 * STEP), await at(i, -STEP), await at(i, STEP), await at(i, 2 * STEP)];
          numeric.push((a - 8 * b + 8 * c - d) / (12 * STEP));
        }
        expect(numeric.some((value) => value !== 0)).toBe(true);
        expectClose(
          indices.map((i) => gradient[i]),
          numeric,
          1e-7,
          name,
        );
      }
    });
  }
}, ['reference']);
