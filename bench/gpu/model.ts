/**
 * Whole-model benchmarks on any backend: a Mamba-2 block forward and in training, decoding, cost against length and
 * position, memory with and without recomputation. Inputs and weights are random: zeros hide work.
 */
import type { Backend } from '../../src/engine/backend.js';
import { Graph } from '../../src/engine/graph.js';
import type { Precision } from '../../src/engine/kernels.js';
import { ResidualBlock, Stack } from '../../src/engine/layers/block.js';
import { freeState, newState, type SequenceLayer, step } from '../../src/engine/layers/layer.js';
import { type Mamba2Config, Mamba2Mixer, mamba2Parameters } from '../../src/engine/layers/mamba2.js';
import { constant, type ParameterSpec, prefixed, type Weights, within } from '../../src/engine/layers/parameters.js';
import { Random } from '../../src/engine/random.js';
import { sizeOf, type Tensor } from '../../src/engine/tensor.js';
import { type Row, timeCalls, timeInTurn } from '../measure.js';

const d512: Mamba2Config = {
  dModel: 512,
  dInner: 1024,
  nHeads: 16,
  dState: 128,
  nGroups: 1,
  convWidth: 4,
  normEps: 1e-5,
};
/** Half the width, so that 262,144 tokens stay within the 2 GiB a buffer may bind. */
const d256: Mamba2Config = { ...d512, dModel: 256, dInner: 512, nHeads: 8 };
const d768: Mamba2Config = { ...d512, dModel: 768, dInner: 1536, nHeads: 24 };
const vocabulary = 50288;

/** Parameters on a backend, by name. */
class Model {
  readonly tensors = new Map<string, Tensor>();
  readonly weights: Weights;
  constructor(
    readonly backend: Backend,
    specs: readonly ParameterSpec[],
    random: Random,
  ) {
    for (const spec of specs) {
      const t = backend.alloc(spec.shape);
      backend.write(t, spec.init(random));
      this.tensors.set(spec.name, t);
    }
    this.weights = (name) => this.tensors.get(name) as Tensor;
  }

  dispose(): void {
    for (const t of this.tensors.values()) this.backend.free(t);
  }
}

function randomTensor(backend: Backend, shape: readonly number[], random: Random, scale = 1): Tensor {
  const t = backend.alloc(shape);
  backend.write(
    t,
    Float32Array.from({ length: sizeOf(shape) }, () => scale * random.normal()),
  );
  return t;
}

function residualStack(config: Mamba2Config, layers: number): { specs: ParameterSpec[]; build(w: Weights): Stack } {
  const names = Array.from({ length: layers }, (_, i) => `layers.${i}`);
  const specs = names.flatMap((name) =>
    prefixed(name, [constant('norm.weight', [config.dModel], 1), ...prefixed('mixer', mamba2Parameters(config))]),
  );
  const build = (w: Weights) =>
    new Stack(
      names.map(
        (name) => new ResidualBlock(new Mamba2Mixer(config, within(w, `${name}.mixer`)), within(w, name), 1e-5),
      ),
    );
  return { specs, build };
}

/** Forward + backward of one layer as a recorded plan: gradients of every parameter and of the input. */
function trainingPlan(
  backend: Backend,
  model: Model,
  layer: SequenceLayer,
  x: Tensor,
  upstream: Tensor,
  precision: Precision,
  recompute: boolean,
) {
  return backend.record(() => {
    const g = new Graph(backend, { train: true, precision, recompute });
    for (const t of [...model.tensors.values(), x]) g.trainable(t, backend.alloc(t.shape));
    const y = layer.scan(g, x);
    g.seed(y, upstream);
    g.backward();
    g.release(y);
    return y;
  });
}

/** Mamba-2 mixer, d 512, batch 8 × length 2048: forward, and forward + backward. */
export async function blockRows(backend: Backend, precisions: readonly Precision[]): Promise<Row[]> {
  const rows: Row[] = [];
  const random = new Random(1);
  const model = new Model(backend, mamba2Parameters(d512), random);
  const mixer = new Mamba2Mixer(d512, model.weights);
  const x = randomTensor(backend, [8, 2048, 512], random);
  const upstream = randomTensor(backend, [8, 2048, 512], random);
  for (const precision of precisions) {
    const forward = backend.record(() => mixer.scan(new Graph(backend, { precision }), x));
    rows.push({
      name: `Mamba-2 block d 512, 8 × 2048, forward, ${precision}`,
      unit: 'ms',
      ...(await timeCalls(backend, () => forward.run())),
      least: 1.1,
      aim: 0.59,
      note: `${forward.commands} launches`,
    });
    forward.dispose();
    const train = trainingPlan(backend, model, mixer, x, upstream, precision, false);
    rows.push({
      name: `Mamba-2 block d 512, 8 × 2048, train step, ${precision}`,
      unit: 'ms',
      ...(await timeCalls(backend, () => train.run(), { inner: 10 })),
      least: 4.7,
      aim: 2.46,
      note: `${train.commands} launches`,
    });
    train.dispose();
  }
  model.dispose();
  return rows;
}

/** One token through Mamba-2, d 768 × 24 layers and the vocabulary head. */
export async function decodeRows(backend: Backend, batches: readonly number[]): Promise<Row[]> {
  const rows: Row[] = [];
  const random = new Random(2);
  const { specs, build } = residualStack(d768, 24);
  const head: ParameterSpec = {
    name: 'head',
    shape: [vocabulary, 768],
    decay: true,
    init: (r) => Float32Array.from({ length: vocabulary * 768 }, () => 0.02 * r.normal()),
  };
  const model = new Model(backend, [...specs, constant('norm_f', [768], 1), head], random);
  const stack = build(model.weights);
  for (const batch of batches) {
    const state = newState(backend, stack, batch);
    const x = randomTensor(backend, [batch, 768], random);
    const plan = backend.record(() => {
      const g = new Graph(backend);
      return g.scope(() =>
        g.linear(g.rmsNorm(step(stack, g, x, state), model.weights('norm_f'), 1e-5), model.weights('head')),
      );
    });
    const timing = await timeCalls(backend, () => plan.run(), { inner: batch === 1 ? 50 : 20 });
    const bounds = batch === 1 ? { least: 2, aim: 0.71 } : batch === 64 ? { least: 6, aim: 2.2 } : {};
    rows.push({
      name: `decode step, Mamba-2 d 768 × 24 layers, batch ${batch}`,
      unit: 'ms',
      ...timing,
      ...bounds,
      note: `${plan.commands} launches`,
    });
    plan.dispose();
    backend.free(x);
    freeState(backend, state);
  }
  model.dispose();
  return rows;
}

/** Time a token of one block's scan at several lengths, batch 1: linear cost means equal figures. */
export async function lengthRows(backend: Backend, lengths: readonly number[], precision: Precision): Promise<Row[]> {
  const random = new Random(3);
  const model = new Model(backend, mamba2Parameters(d256), random);
  const mixer = new Mamba2Mixer(d256, model.weights);
  const inputs = lengths.map((length) => randomTensor(backend, [1, length, 256], random));
  const plans = inputs.map((x) => backend.record(() => mixer.scan(new Graph(backend, { precision }), x)));
  const times = await timeInTurn(
    backend,
    plans.map((plan, i) => ({ run: () => plan.run(), inner: Math.max(2, Math.ceil(65536 / lengths[i])) })),
  );
  for (const plan of plans) plan.dispose();
  for (const x of inputs) backend.free(x);
  const perToken = times.map(({ value }, i) => (value * 1e6) / lengths[i]);
  const rows: Row[] = times.map(({ spread }, i) => ({
    name: `scan of ${lengths[i]} tokens, Mamba-2 block d 256, a token`,
    unit: 'ns',
    value: perToken[i],
    spread: [(spread[0] * 1e6) / lengths[i], (spread[1] * 1e6) / lengths[i]],
  }));
  // Short sequences cannot fill a GPU, so growth is judged against the cheapest shorter length: a cost that grows with length shows, idle units do not.
  let growth = 0;
  for (let i = 1; i < perToken.length; i++)
    growth = Math.max(growth, perToken[i] / Math.min(...perToken.slice(0, i)) - 1);
  rows.push({ name: 'largest growth of a token’s cost with length', unit: '%', value: 100 * growth, least: 10 });
  model.dispose();
  return rows;
}

/** Cost of a step of one block after few and after many items, measured in turn, and memory before and after. */
export async function positionRows(backend: Backend, early: number, late: number): Promise<Row[]> {
  const random = new Random(4);
  const model = new Model(backend, mamba2Parameters(d512), random);
  const mixer = new Mamba2Mixer(d512, model.weights);
  const x = randomTensor(backend, [1, 512], random);
  const plans = [early, late].map(() => {
    const state = newState(backend, mixer, 1);
    return backend.record(() => step(mixer, new Graph(backend), x, state));
  });
  const advance = async (plan: (typeof plans)[number], steps: number) => {
    for (let i = 0; i < steps; i += 1000) {
      for (let j = 0; j < Math.min(1000, steps - i); j++) plan.run();
      await backend.sync();
    }
  };
  await advance(plans[0], early);
  const bytes = [backend.memory.bytes];
  await advance(plans[1], late);
  bytes.push(backend.memory.bytes);
  const [first, second] = await timeInTurn(
    backend,
    plans.map((plan) => ({ run: () => plan.run(), inner: 200 })),
    41,
  );
  const finite = Array.from(await backend.read(plans[1].result)).every(Number.isFinite);
  for (const plan of plans) plan.dispose();
  model.dispose();
  const row = (name: string, { value, spread }: typeof first): Row => ({
    name,
    unit: 'µs',
    value: value * 1e3,
    spread: [spread[0] * 1e3, spread[1] * 1e3],
  });
  return [
    row(`step of a Mamba-2 block d 512 after ${early} items`, first),
    {
      ...row(`the same after ${late} items, in turn with it`, second),
      note: finite ? 'output finite' : 'output NOT finite',
    },
    { name: 'device memory gained between them', unit: 'bytes', value: bytes[1] - bytes[0], least: 0 },
  ];
}

/** Peak device memory of one training step of a deep model, with and without recomputation. */
export async function recomputeRows(
  backend: Backend,
  layers: number,
  batch: number,
  length: number,
  precision: Precision,
): Promise<Row[]> {
  const random = new Random(6);
  const { specs, build } = residualStack(d512, layers);
  const model = new Model(backend, specs, random);
  const stack = build(model.weights);
  const x = randomTensor(backend, [batch, length, 512], random);
  const upstream = randomTensor(backend, [batch, length, 512], random);
  const measured: { bytes: number; ms: number }[] = [];
  for (const recompute of [false, true]) {
    const plan = trainingPlan(backend, model, stack, x, upstream, precision, recompute);
    const { value } = await timeCalls(backend, () => plan.run(), { inner: 3, samples: 5 });
    measured.push({ bytes: plan.bytes, ms: value });
    plan.dispose();
  }
  model.dispose();
  const [kept, again] = measured;
  const mib = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;
  return [
    {
      name: `memory of a train step, ${layers} Mamba-2 blocks d 512, ${batch} × ${length}: kept ÷ recomputed`,
      unit: '×',
      value: kept.bytes / again.bytes,
      least: 3,
      higher: true,
      note: `${mib(kept.bytes)} in ${kept.ms.toFixed(1)} ms against ${mib(again.bytes)} in ${again.ms.toFixed(1)} ms, gradients included`,
    },
  ];
}
