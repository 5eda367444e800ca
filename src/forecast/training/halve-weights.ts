/**
 * Stores a trained model in half the space, to be shipped:
 *
 *   node dist/src/forecast/training/halve-weights.js RUN/model models/NAME
 *
 * Evaluate the result before it is shipped: 11 bits a weight are nearly always enough, but that is for a measurement to say.
 */
import { realpathSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readModel, writeModel } from '../model/load.js';

/** Reads the model in `from` and writes it to `to` with f16 weights, under the name of that folder. */
export function halveWeights(from: string, to: string): void {
  const model = readModel(from);
  writeModel(to, { ...model, name: basename(to) }, model.training, 'F16');
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [from, to] = process.argv.slice(2);
  if (!from || !to) throw new Error('usage: halve-weights.js MODEL_DIR OUT_DIR');
  halveWeights(from, to);
}
