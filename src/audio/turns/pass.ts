/**
 * One recorded run of the turn network over `conversations` of up to `length` frames, state carried on in place. Each
 * conversation is two sequences: its sides as A, B and as B, A.
 */
import type { NumericArray, Plan } from '../../engine/backend.js';
import { Graph } from '../../engine/graph.js';
import type { State } from '../../engine/layers/layer.js';
import type { Tensor } from '../../engine/tensor.js';
import { TURN_INPUTS } from './history.js';
import type { TurnModel } from './model.js';

export class TurnPass {
  /** [2 · conversations, length, 14] and [2 · conversations]; fill before `run`. */
  readonly rows: Float32Array;
  readonly lengths: Int32Array;
  private readonly inputs: { rows: Tensor; lengths: Tensor };
  private readonly plan: Plan<Tensor>;

  constructor(
    private readonly model: TurnModel,
    conversations: number,
    readonly length: number,
    state: State,
  ) {
    const { backend, network } = model;
    const batch = 2 * conversations;
    this.rows = new Float32Array(batch * length * TURN_INPUTS);
    this.lengths = new Int32Array(batch);
    const inputs = { rows: backend.alloc([batch, length, TURN_INPUTS]), lengths: backend.alloc([batch], 'i32') };
    this.inputs = inputs;
    this.plan = backend.record(() =>
      network.logits(new Graph(backend), inputs.rows, { state, lengths: inputs.lengths }),
    );
  }

  /** Logits [2 · conversations, length, TURN_LOGITS]. */
  run(): Promise<NumericArray> {
    const { backend } = this.model;
    backend.write(this.inputs.rows, this.rows);
    backend.write(this.inputs.lengths, this.lengths);
    this.plan.run();
    return backend.read(this.plan.result);
  }

  free(): void {
    this.plan.dispose();
    for (const t of Object.values(this.inputs)) this.model.backend.free(t);
  }
}
