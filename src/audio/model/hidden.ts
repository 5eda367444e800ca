import { Graph } from '../../engine/graph.js';
import { freeState, newState } from '../../engine/layers/layer.js';
import { FEATURES } from '../features/index.js';
import type { SpeechModel } from './model.js';

/** Rows of a pass. */
const PASS = 500;

/** The encoder's states [count, dModel] after each of the feature rows [count, 83], which begin a stream: embeddings. */
export async function hiddenStates(model: SpeechModel, features: Float32Array): Promise<Float32Array> {
  const { backend, network, config } = model;
  const count = features.length / FEATURES;
  const length = Math.max(1, Math.min(PASS, count));
  const state = newState(backend, network, 1);
  const input = backend.alloc([1, length, FEATURES]);
  const lengths = backend.alloc([1], 'i32');
  const plan = backend.record(() => network.encode(new Graph(backend), input, { state, lengths }));
  const out = new Float32Array(count * config.dModel);
  const rows = new Float32Array(length * FEATURES);
  for (let from = 0; from < count; from += length) {
    const here = Math.min(length, count - from);
    rows.fill(0);
    rows.set(features.subarray(from * FEATURES, (from + here) * FEATURES));
    backend.write(input, rows);
    backend.write(lengths, [here]);
    plan.run();
    const hidden = await backend.read(plan.result);
    out.set(hidden.subarray(0, here * config.dModel), from * config.dModel);
  }
  plan.dispose();
  freeState(backend, state);
  backend.free(input);
  backend.free(lengths);
  return out;
}
