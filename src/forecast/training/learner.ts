/** One optimiser step and one judgement, by the engine's tape where the backend trains, else for the head on the host. */
import type { Backend, NumericArray, Plan } from '../../engine/backend.js';
import { createReferenceBackend } from '../../engine/backends/reference/index.js';
import { EngineError } from '../../engine/errors.js';
import { Graph } from '../../engine/graph.js';
import type { Tensor } from '../../engine/tensor.js';
import { AdamW, type AdamWOptions, Scalars } from '../../engine/training/adamw.js';
import { Arena, ParameterLayout, TrainableParameters } from '../../engine/training/arena.js';
import type { ForecasterConfig } from '../model/config.js';
import { ForecasterNetwork, forecasterParameters } from '../model/network.js';
import type { PartBuffers } from './batch.js';
import type { FineTuneData } from './fine-tune-data.js';
import { HEAD_PARAMETERS, type HeadBatch, type HeadValues, headLoss } from './head-gradient.js';
import { PartInputs } from './loss.js';

export interface Learner {
  /** One optimiser step on a batch; its mean loss before the step. */
  step(batch: PartBuffers, step: number, learningRate: number): Promise<number>;
  /** Mean loss on the tails by the present weights. */
  judge(): Promise<number>;
  /** The present weights, in the layout of the configuration. */
  values(): Promise<Float32Array>;
  free(): void;
}

/** No weight decay: weights that learn nothing must stay what they are. */
const OPTIMISER: AdamWOptions = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, clipNorm: 1, lossScale: 1 };

const isHead = (name: string) => (HEAD_PARAMETERS as readonly string[]).includes(name);

/** @throws EngineError `NO_TRAINING` where all weights are to be trained by a backend that cannot */
export function openLearner(
  backend: Backend,
  config: ForecasterConfig,
  values: Float32Array,
  scope: 'head' | 'all',
  data: FineTuneData,
): Learner {
  if (backend.trains) return new TapeLearner(backend, config, values, scope, data);
  if (scope === 'head') return new HeadLearner(backend, config, values, data);
  throw new EngineError({
    code: 'NO_TRAINING',
    message: `${backend.name} computes no gradients, so not all weights can be fine-tuned`,
    where: { field: 'scope' },
    fix: 'use scope head, or a machine with a GPU',
  });
}

/** Forward, reverse and update as one recorded plan. */
class TapeLearner implements Learner {
  private readonly model: TrainableParameters;
  private readonly optimiser: AdamW;
  private readonly scalars: Scalars;
  private readonly levels: Tensor;
  private readonly batch: PartInputs;
  private readonly tails: PartInputs;
  private readonly training: Plan<undefined>;
  private readonly judging: Plan<undefined>;

  constructor(
    private readonly backend: Backend,
    config: ForecasterConfig,
    values: Float32Array,
    scope: 'head' | 'all',
    data: FineTuneData,
  ) {
    const layout = new ParameterLayout(forecasterParameters(config));
    this.model = new TrainableParameters(backend, layout);
    this.optimiser = new AdamW(backend, this.model, OPTIMISER);
    this.optimiser.start(values);
    this.levels = backend.alloc([config.levels.length]);
    backend.write(this.levels, config.levels);
    this.scalars = new Scalars(backend, 3);
    this.batch = new PartInputs(backend, data.part, config);
    this.tails = new PartInputs(backend, data.tails.part, config);
    this.tails.write(data.tails.buffers, 1);
    const network = new ForecasterNetwork(config, this.model.weights);
    const lossOf = (g: Graph, inputs: PartInputs, at: number) => {
      const loss = inputs.loss(g, network, this.levels);
      backend.kernels.copy(this.scalars.at(at), loss);
      g.release(loss);
    };
    this.training = backend.record(() => {
      const g = new Graph(backend, { train: true, precision: 'f32', recompute: false });
      for (const { name } of layout.places) {
        if (scope === 'all' || isHead(name)) g.trainable(this.model.weights(name), this.model.gradients.weights(name));
      }
      lossOf(g, this.batch, 0);
      g.backward();
      this.optimiser.record(this.scalars.at(1));
      return undefined;
    });
    this.judging = backend.record(() => {
      lossOf(new Graph(backend, { precision: 'f32' }), this.tails, 2);
      return undefined;
    });
  }

  async step(batch: PartBuffers, step: number, learningRate: number): Promise<number> {
    this.batch.write(batch, 1);
    this.optimiser.prepare(step, learningRate, 1);
    this.training.run();
    return (await this.scalars.read())[0]!;
  }

  async judge(): Promise<number> {
    this.judging.run();
    return (await this.scalars.read())[2]!;
  }

  async values(): Promise<Float32Array> {
    return Float32Array.from(await this.model.parameters.read());
  }

  free(): void {
    this.training.dispose();
    this.judging.dispose();
    this.batch.free();
    this.tails.free();
    this.scalars.free();
    this.optimiser.free();
    this.model.free();
    this.backend.free(this.levels);
  }
}

/** Hidden values by the backend, the head's gradient and its optimiser on the host. */
class HeadLearner implements Learner {
  private readonly arena: Arena;
  private readonly batch: PartInputs;
  private readonly tails: PartInputs;
  private readonly encoding: Plan<Tensor>;
  private readonly head: TrainableParameters;
  private readonly optimiser: AdamW;
  private readonly sumSquares: Tensor;
  private current: HeadValues;
  private tailHidden: NumericArray | undefined;

  constructor(
    private readonly backend: Backend,
    private readonly config: ForecasterConfig,
    private readonly initial: Float32Array,
    private readonly data: FineTuneData,
  ) {
    const specs = forecasterParameters(config);
    this.arena = new Arena(backend, new ParameterLayout(specs));
    this.arena.write(initial);
    this.batch = new PartInputs(backend, data.part, config);
    this.tails = new PartInputs(backend, data.tails.part, config);
    const network = new ForecasterNetwork(config, this.arena.weights);
    const encode = (inputs: PartInputs) => network.encode(new Graph(backend), inputs, { lengths: inputs.lengths });
    this.encoding = backend.record(() => encode(this.batch));
    // The optimiser is the engine's own, in float64.
    const host = createReferenceBackend();
    const layout = new ParameterLayout(specs.filter(({ name }) => isHead(name)));
    this.head = new TrainableParameters(host, layout);
    this.optimiser = new AdamW(host, this.head, OPTIMISER);
    this.sumSquares = host.alloc([1]);
    const parts = this.arena.layout.split(initial);
    this.optimiser.start(layout.join((name) => ({ shape: layout.place(name).shape, data: parts.get(name)! })));
    this.current = headOf(parts);
  }

  async step(buffers: PartBuffers, step: number, learningRate: number): Promise<number> {
    const { backend, config, head } = this;
    this.batch.write(buffers, 1);
    this.encoding.run();
    const hidden = await backend.read(this.encoding.result);
    const { loss, gradients } = await headLoss(backend, config, this.current, { ...buffers, hidden }, true);
    const { layout } = head;
    head.gradients.write(
      layout.join((name) => ({ shape: layout.place(name).shape, data: gradients![name as keyof HeadValues] })),
    );
    this.optimiser.prepare(step, learningRate, 1);
    this.optimiser.record(this.sumSquares);
    this.current = headOf(layout.split(await head.parameters.read()));
    return loss;
  }

  async judge(): Promise<number> {
    const { backend, config, data } = this;
    const { buffers } = data.tails;
    // The encoder does not change, so neither do its values.
    this.tailHidden ??= await this.encodeTails();
    const batch: HeadBatch = { ...buffers, hidden: this.tailHidden };
    return (await headLoss(backend, config, this.current, batch, false)).loss;
  }

  private async encodeTails(): Promise<NumericArray> {
    const { backend, tails } = this;
    tails.write(this.data.tails.buffers, 1);
    const network = new ForecasterNetwork(this.config, this.arena.weights);
    const plan = backend.record(() => network.encode(new Graph(backend), tails, { lengths: tails.lengths }));
    plan.run();
    const hidden = (await backend.read(plan.result)).slice();
    plan.dispose();
    return hidden;
  }

  async values(): Promise<Float32Array> {
    const out = this.initial.slice();
    const { layout } = this.arena;
    for (const name of HEAD_PARAMETERS) out.set(this.current[name], layout.place(name).offset);
    return out;
  }

  free(): void {
    this.encoding.dispose();
    this.batch.free();
    this.tails.free();
    this.arena.free();
    this.optimiser.free();
    this.head.free();
  }
}

function headOf(parts: ReadonlyMap<string, NumericArray>): HeadValues {
  return Object.fromEntries(HEAD_PARAMETERS.map((name) => [name, parts.get(name)!.slice()])) as HeadValues;
}
