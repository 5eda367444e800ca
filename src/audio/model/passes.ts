import { Graph } from '../../engine/graph.js';
import { freeState, newState } from '../../engine/layers/layer.js';
import type { Tensor } from '../../engine/tensor.js';
import { FEATURES } from '../features/index.js';
import type { SpeechModel } from './model.js';

/** Rows of a pass. */
const PASS = 500;

/**
 * Scans the feature rows [count, 83], which begin a stream, pass after pass with the state carried on. `outputs` says what
 * is computed from the encoder's hidden values [1, rows, dModel] and the input rows; `take` gets the numbers of the first
 * `rows` rows of each output, `from` being their place in the stream.
 */
export async function scanInPasses(
  { backend, network }: SpeechModel,
  features: Float32Array,
  outputs: (g: Graph, hidden: Tensor, input: Tensor) => Tensor[],
  take: (numbers: ArrayLike<number>[], from: number, rows: number) => void,
): Promise<void> {
  const count = features.length / FEATURES;
  const length = Math.max(1, Math.min(PASS, count));
  const state = newState(backend, network, 1);
  const input = backend.alloc([1, length, FEATURES]);
  const lengths = backend.alloc([1], 'i32');
  const plan = backend.record(() => {
    const g = new Graph(backend);
    return g.scope(() => outputs(g, network.encode(g, input, { state, lengths }), input));
  });
  const rows = new Float32Array(length * FEATURES);
  for (let from = 0; from < count; from += length) {
    const here = Math.min(length, count - from);
    rows.fill(0);
    rows.set(features.subarray(from * FEATURES, (from + here) * FEATURES));
    backend.write(input, rows);
    backend.write(lengths, [here]);
    plan.run();
    take(await Promise.all(plan.result.map((t) => backend.read(t))), from, here);
  }
  plan.dispose();
  freeState(backend, state);
  backend.free(input);
  backend.free(lengths);
}
