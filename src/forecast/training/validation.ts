/**
 * Loss on held-out series of the training corpus: fixed windows, no synthesis, no augmentation, fixed masks.
 *
 * Each part of the batch has its own figure; the first (longest) part with every second pair of patches masked, as a
 * horizon of two patches is, and once more as `far` with the last third masked, as a long horizon is.
 */
import type { Backend, Plan } from '../../engine/backend.js';
import { Graph } from '../../engine/graph.js';
import type { Precision } from '../../engine/kernels.js';
import type { Weights } from '../../engine/layers/parameters.js';
import type { Tensor } from '../../engine/tensor.js';
import { Scalars } from '../../engine/training/adamw.js';
import type { ForecasterConfig } from '../model/config.js';
import { ForecasterNetwork } from '../model/network.js';
import { allocatePart, BatchFiller, type PartOptions, shardsOf, tokensOf } from './batch.js';
import type { Corpus } from './corpus.js';
import { PartInputs } from './loss.js';

/** The same windows for every run, whatever its seed. */
const SEED = 20_000;

export interface ValidationPart extends PartOptions {
  name: string;
}

export class Validation {
  readonly names: string[];
  private readonly inputs: PartInputs[];
  private readonly scalars: Scalars;
  private readonly plan: Plan<undefined>;

  constructor(
    backend: Backend,
    corpus: Corpus,
    parts: ValidationPart[],
    options: { config: ForecasterConfig; weights: Weights; levels: Tensor; precision: Precision },
  ) {
    const plain = parts.map((part) => ({ ...part, synthetic: 0, augment: false, rollout: 0, lookAhead: 0 }));
    const first = plain[0]!;
    const far = { ...first, name: 'far', full: 1 };
    const all = tokensOf(first) >= 6 ? [...plain, far] : plain;
    const filler = new BatchFiller(corpus, { seed: SEED, parts: all, validation: true });
    this.names = all.map((part) => part.name);
    this.inputs = all.map((part, p) => {
      const buffers = allocatePart(part);
      const tokens = tokensOf(part);
      const masks = (j: number) =>
        part.name === 'far' ? j >= (2 * tokens) / 3 : p === 0 && j % 4 !== 0 && j % 4 !== 3;
      for (let shard = 0; shard < shardsOf(part).shards; shard++) filler.fill(buffers, 0, p, shard, masks);
      const inputs = new PartInputs(backend, part, options.config);
      inputs.write(buffers, 1);
      return inputs;
    });
    this.scalars = new Scalars(backend, all.length);
    const network = new ForecasterNetwork(options.config, options.weights);
    this.plan = backend.record(() => {
      const g = new Graph(backend, { precision: options.precision });
      this.inputs.forEach((inputs, i) => {
        const loss = inputs.loss(g, network, options.levels);
        backend.kernels.copy(this.scalars.at(i), loss);
        g.release(loss);
      });
      return undefined;
    });
  }

  /** Mean loss of each part by the present weights. */
  async run(): Promise<Record<string, number>> {
    this.plan.run();
    const values = await this.scalars.read();
    return Object.fromEntries(this.names.map((name, i) => [name, values[i]!]));
  }

  free(): void {
    this.plan.dispose();
    this.scalars.free();
    for (const inputs of this.inputs) inputs.free();
  }
}
