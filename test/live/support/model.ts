import { join } from 'node:path';
import { Random } from '../../../src/engine/random.js';
import { ParameterLayout } from '../../../src/engine/training/arena.js';
import { type ForecasterConfig, forecasterConfigSchema } from '../../../src/forecast/model/config.js';
import { writeModel } from '../../../src/forecast/model/load.js';
import { forecasterParameters } from '../../../src/forecast/model/network.js';

/** Small enough that a test's time goes into what it tests. */
export const SMALL: ForecasterConfig = forecasterConfigSchema.parse({
  version: 2,
  architecture: 'mamba2-patch-encoder',
  patch: 16,
  dModel: 32,
  layers: 2,
  expand: 2,
  headDim: 16,
  dState: 8,
  convWidth: 4,
  ff: 32,
  hidden: 32,
});

/** Writes a model with random weights, large enough that every input matters, and returns its folder. */
export function randomModel(parent: string, { config = SMALL, seed = 1 } = {}): string {
  const name = `random-${seed}`;
  const random = new Random(seed);
  const values = new ParameterLayout(forecasterParameters(config))
    .initial(random)
    .map((v) => v + 0.1 * random.normal());
  const folder = join(parent, name);
  writeModel(folder, { name, config, values });
  return folder;
}
