/**
 * One recorded run of the network over `batch` sequences of up to `length` rows, state carried on in place. A step of all
 * live sessions and a piece of a long recording are the same thing in other shapes.
 */
import type { NumericArray, Plan } from '../../engine/backend.js';
import { Graph } from '../../engine/graph.js';
import type { State } from '../../engine/layers/layer.js';
import type { Tensor } from '../../engine/tensor.js';
import { FEATURES } from '../features/index.js';
import type { SpeechModel } from './model.js';

export interface PassOutput {
  /** [batch, length, EVENT_LOGITS] */
  logits: NumericArray;
  /** [batch, length, 80] forecast of the next hop's log-mel, and its logarithmic precision. */
  mean: NumericArray;
  logPrecision: NumericArray;
  /** [batch, length, dModel], if asked for. */
  hidden?: NumericArray;
}

export class Pass {
  /** Fill before `run`; rows beyond a sequence's length are ignored. */
  readonly features: Float32Array;
  readonly lengths: Int32Array;
  private readonly inputs: { features: Tensor; lengths: Tensor };
  private readonly plan: Plan<readonly Tensor[]>;

  /** @param state of `batch` sequences, read and overwritten by every run */
  constructor(
    private readonly model: SpeechModel,
    readonly batch: number,
    readonly length: number,
    state: State,
  ) {
    const { backend, network } = model;
    this.features = new Float32Array(batch * length * FEATURES);
    this.lengths = new Int32Array(batch);
    const inputs = { features: backend.alloc([batch, length, FEATURES]), lengths: backend.alloc([batch], 'i32') };
    this.inputs = inputs;
    this.plan = backend.record(() => {
      const g = new Graph(backend);
      return g.scope(() => {
        const hidden = network.encode(g, inputs.features, { state, lengths: inputs.lengths });
        const logits = network.events(g, hidden);
        const { mean, logPrecision } = network.spectrum(g, hidden, inputs.features, 1);
        return [logits, mean, logPrecision, hidden];
      });
    });
  }

  async run(withHidden = false): Promise<PassOutput> {
    const { backend } = this.model;
    backend.write(this.inputs.features, this.features);
    backend.write(this.inputs.lengths, this.lengths);
    this.plan.run();
    // All asked for at once: a pass that is freed meanwhile does not take the numbers with it.
    const [logits, mean, logPrecision, hidden] = await Promise.all(
      this.plan.result.slice(0, withHidden ? 4 : 3).map((t) => backend.read(t)),
    );
    return { logits, mean, logPrecision, ...(withHidden ? { hidden } : {}) };
  }

  free(): void {
    this.plan.dispose();
    for (const t of Object.values(this.inputs)) this.model.backend.free(t);
  }
}
