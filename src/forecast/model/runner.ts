/**
 * Runs the network over batches of sequences. Shapes are rounded up to classes, so that few plans are recorded and each
 * is replayed; the head runs only where a forecast is wanted.
 */
import type { Plan } from '../../engine/backend.js';
import { Graph } from '../../engine/graph.js';
import type { Precision } from '../../engine/kernels.js';
import { reshape, type Tensor } from '../../engine/tensor.js';
import { derived } from './config.js';
import type { ForecasterModel } from './model.js';
import { PlanCache } from './plan-cache.js';

/** Numbers of one batch on the host. */
export interface RunnerBuffers {
  /** [sequences, tokens, featureCount] */
  features: Float32Array;
  /** [sequences, tokens] */
  frequency: Int32Array;
  /** [sequences] */
  lengths: Int32Array;
  /** [outputs, patch·candidates] */
  candidates: Float32Array;
  /** [outputs]: which token (row of sequences × tokens) each output is read from. */
  positions: Int32Array;
}

export interface BatchShape {
  sequences: number;
  tokens: number;
  /** Tokens whose forecasts are read, over all sequences. */
  outputs: number;
}

interface Recorded {
  plan: Plan<Tensor>;
  inputs: { [K in keyof RunnerBuffers]: Tensor };
  buffers: RunnerBuffers;
}

/** Recorded plans kept. */
const PLANS = 24;

/** n rounded up to at most two significant binary digits: 1, 2, 3, 4, 6, 8, 12, 16, 24, 32 … */
export function classOf(n: number): number {
  let size = 1;
  while (size < n) size *= 2;
  return size >= 4 && n <= (size / 4) * 3 ? (size / 4) * 3 : size;
}

export class Runner {
  private readonly plans = new PlanCache<BatchShape, Recorded>(
    PLANS,
    (shape) => this.record(shape),
    (recorded) => this.dispose(recorded),
  );

  constructor(
    readonly model: ForecasterModel,
    private readonly precision: Precision = 'f32',
  ) {}

  /** Host buffers of a shape, to be filled before `run`. Contents of an earlier batch are still in them. */
  buffers(shape: BatchShape): RunnerBuffers {
    return this.plans.get(shape).buffers;
  }

  /**
   * Quantiles [outputs, patch · levels] in units of U about each token's last observation.
   * The buffers may be filled again once this resolves.
   */
  async run(shape: BatchShape): Promise<ArrayLike<number>> {
    const { plan, inputs, buffers } = this.plans.get(shape);
    const { backend } = this.model;
    for (const key of Object.keys(inputs) as (keyof RunnerBuffers)[]) backend.write(inputs[key], buffers[key]);
    plan.run();
    return backend.read(plan.result);
  }

  private record(shape: BatchShape): Recorded {
    const { model } = this;
    const { backend, network, config, levels } = model;
    const { sequences, tokens, outputs } = shape;
    const { inputs: width, candidates: nCandidates } = derived(config);
    const C = config.patch * nCandidates;
    const inputs = {
      features: backend.alloc([sequences, tokens, width]),
      frequency: backend.alloc([sequences, tokens], 'i32'),
      lengths: backend.alloc([sequences], 'i32'),
      candidates: backend.alloc([outputs, C]),
      positions: backend.alloc([outputs], 'i32'),
    };
    const plan = backend.record(() => {
      const g = new Graph(backend, { precision: this.precision });
      return g.scope(() => {
        const hidden = network.encode(g, inputs, { lengths: inputs.lengths });
        // Looking rows up by their numbers is what an embedding does.
        const chosen = g.embedding(inputs.positions, reshape(hidden, [sequences * tokens, config.dModel]));
        const raw = network.head(g, chosen);
        const { candidates } = inputs;
        return g.quantileMixture({ raw, candidates, levels, patch: config.patch, nCandidates });
      });
    });
    const buffers = {
      features: new Float32Array(sequences * tokens * width),
      frequency: new Int32Array(sequences * tokens),
      lengths: new Int32Array(sequences),
      candidates: new Float32Array(outputs * C),
      positions: new Int32Array(outputs),
    };
    return { plan, inputs, buffers };
  }

  private dispose({ plan, inputs }: Recorded): void {
    plan.dispose();
    for (const t of Object.values(inputs)) this.model.backend.free(t);
  }

  free(): void {
    this.plans.clear();
  }
}
