import { FEATURES } from '../features/index.js';
import type { SpeechModel } from './model.js';
import { scanInPasses } from './passes.js';

/** The encoder's states [count, dModel] after each of the feature rows [count, 83], which begin a stream: embeddings. */
export async function hiddenStates(model: SpeechModel, features: Float32Array): Promise<Float32Array> {
  const { dModel } = model.config;
  const out = new Float32Array((features.length / FEATURES) * dModel);
  await scanInPasses(
    model,
    features,
    (_, hidden) => [hidden],
    ([hidden], from, rows) => {
      for (let i = 0; i < rows * dModel; i++) out[from * dModel + i] = hidden[i];
    },
  );
  return out;
}
