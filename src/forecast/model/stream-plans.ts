/** Recorded plans that run the network from the states of many series at once, one plan a size class. */
import type { Plan } from '../../engine/backend.js';
import { Graph } from '../../engine/graph.js';
import { newState, type State } from '../../engine/layers/layer.js';
import { sizeOf, type Tensor } from '../../engine/tensor.js';
import { derived } from './config.js';
import type { ForecasterModel } from './model.js';
import { PlanCache } from './plan-cache.js';

export interface StreamShape {
  sequences: number;
  tokens: number;
  /** `advance`: only the states after the tokens are wanted; `forecast`: only the head's quantiles of every token. */
  purpose: 'advance' | 'forecast';
}

/** Numbers of one batch on the host. */
export interface StreamBuffers {
  /** [sequences, tokens, features] */
  features: Float32Array;
  /** [sequences, tokens] */
  frequency: Int32Array;
  /** [sequences]: 0 leaves a state alone. */
  lengths: Int32Array;
  /** [sequences, tokens, patch·candidates]; of `forecast`. */
  candidates: Float32Array;
}

interface Recorded {
  plan: Plan<Tensor | undefined>;
  inputs: { [K in keyof StreamBuffers]: Tensor };
  buffers: StreamBuffers;
  state: State;
  /** Rows of the state on the way to a device with a memory of its own, by name. */
  staged: Map<string, Float32Array | Int32Array>;
}

/** Recorded plans kept. */
const PLANS = 48;

export class StreamPlans {
  private readonly plans = new PlanCache<StreamShape, Recorded>(
    PLANS,
    (shape) => this.record(shape),
    (recorded) => this.dispose(recorded),
  );

  constructor(private readonly model: ForecasterModel) {}

  /** Host buffers of a shape, to be filled before `run`. Contents of an earlier batch are still in them. */
  buffers(shape: StreamShape): StreamBuffers {
    return this.plans.get(shape).buffers;
  }

  /**
   * Runs a batch whose buffers have been filled. Row i starts from `tensors[i]`; rows beyond them start from anything.
   * Returns the quantiles [sequences, tokens, patch · levels] of `forecast`; `advance` overwrites `tensors`.
   */
  async run(shape: StreamShape, tensors: readonly Float32Array[]): Promise<ArrayLike<number> | undefined> {
    const { plan, inputs, buffers, state, staged } = this.plans.get(shape);
    const { backend } = this.model;
    for (const key of Object.keys(inputs) as (keyof StreamBuffers)[]) backend.write(inputs[key], buffers[key]);
    let from = 0;
    for (const [name, t] of Object.entries(state)) {
      const there = backend.view?.(t);
      const rows = there ?? staged.get(name) ?? new Float32Array(sizeOf(t.shape));
      const size = rows.length / shape.sequences;
      tensors.forEach((one, row) => {
        rows.set(one.subarray(from, from + size), row * size);
      });
      if (!there) {
        staged.set(name, rows);
        backend.write(t, rows);
      }
      from += size;
    }
    plan.run();
    if (plan.result) return backend.read(plan.result);
    const after = await Promise.all(Object.values(state).map((t) => backend.view?.(t) ?? backend.read(t)));
    let to = 0;
    for (const numbers of after) {
      const size = numbers.length / shape.sequences;
      tensors.forEach((one, row) => {
        one.set(numbers.subarray(row * size, (row + 1) * size), to);
      });
      to += size;
    }
    return undefined;
  }

  private record({ sequences, tokens, purpose }: StreamShape): Recorded {
    const { backend, network, config, levels } = this.model;
    const { patch } = config;
    const { inputs: width, candidates: nCandidates } = derived(config);
    const count = sequences * tokens;
    const C = purpose === 'forecast' ? patch * nCandidates : 1;
    const buffers = {
      features: new Float32Array(count * width),
      frequency: new Int32Array(count),
      lengths: new Int32Array(sequences),
      candidates: new Float32Array(count * C),
    };
    const inputs = {
      features: backend.alloc([sequences, tokens, width]),
      frequency: backend.alloc([sequences, tokens], 'i32'),
      lengths: backend.alloc([sequences], 'i32'),
      candidates: backend.alloc([sequences, tokens, C]),
    };
    const state = newState(backend, network, sequences);
    const plan = backend.record(() => {
      const g = new Graph(backend);
      return g.scope<Tensor | undefined>(() => {
        const hidden = network.encode(g, inputs, { lengths: inputs.lengths, state });
        if (purpose === 'advance') return undefined;
        const { candidates } = inputs;
        return g.quantileMixture({ raw: network.head(g, hidden), candidates, levels, patch, nCandidates });
      });
    });
    return { plan, inputs, buffers, state, staged: new Map() };
  }

  private dispose({ plan, inputs, state }: Recorded): void {
    plan.dispose();
    for (const t of [...Object.values(inputs), ...Object.values(state)]) this.model.backend.free(t);
  }

  free(): void {
    this.plans.clear();
  }
}
