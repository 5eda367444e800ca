import { describe, expect, test } from '@jest/globals';
import { createReferenceBackend } from './backends/reference/index.js';
import { Graph } from './graph.js';
import { ResidualBlock, Stack } from './layers/block.js';
import { newState, type SequenceLayer, step } from './layers/layer.js';
import { Mamba1Mixer, mamba1Parameters } from './layers/mamba1.js';
import { Mamba2Mixer, mamba2Parameters } from './layers/mamba2.js';
import { Swiglu, swigluParameters } from './layers/mlp.js';
import { constant, type ParameterSpec, prefixed, within } from './layers/parameters.js';
import { Random } from './random.js';
import { rows, sizeOf, type Tensor } from './tensor.js';

const mamba2 = { dModel: 6, dInner: 8, nHeads: 2, dState: 3, nGroups: 1, convWidth: 4, normEps: 1e-5 };
const mamba1 = { dModel: 6, dInner: 8, dState: 3, dtRank: 2, convWidth: 3 };

/** A three-block model on a fresh backend, its parameters and a random input. */
function model() {
  const backend = createReferenceBackend();
  const random = new Random(5);
  const specs: ParameterSpec[] = ['a', 'b', 'c'].flatMap((name, i) =>
    prefixed(name, [
      constant('norm.weight', [6], 1),
      ...prefixed(
        'mixer',
        [mamba2Parameters(mamba2), swigluParameters({ dModel: 6, dHidden: 5 }), mamba1Parameters(mamba1)][i],
      ),
    ]),
  );
  const weights = new Map<string, Tensor>();
  for (const spec of specs) {
    const t = backend.alloc(spec.shape);
    backend.write(t, spec.init(random));
    weights.set(spec.name, t);
  }
  const get = (name: string) => weights.get(name) as Tensor;
  const layers: SequenceLayer[] = [
    new Mamba2Mixer(mamba2, within(get, 'a.mixer')),
    new Swiglu({ dModel: 6, dHidden: 5 }, within(get, 'b.mixer')),
    new Mamba1Mixer(mamba1, within(get, 'c.mixer')),
  ];
  const stack = new Stack(layers.map((layer, i) => new ResidualBlock(layer, within(get, 'abc'[i]), 1e-5)));
  const x = backend.alloc([2, 7, 6]);
  backend.write(
    x,
    Float64Array.from({ length: 84 }, () => random.normal()),
  );
  return { backend, weights, stack, x, random };
}

/** Gradients of Σ upstream·stack(x) with respect to every weight and x. */
async function gradients(m: ReturnType<typeof model>, upstream: Tensor, recompute: boolean) {
  const g = new Graph(m.backend, { train: true, recompute });
  const targets = new Map<string, Tensor>();
  for (const [name, t] of [...m.weights, ['x', m.x] as const]) {
    targets.set(name, m.backend.alloc(t.shape));
    g.trainable(t, targets.get(name) as Tensor);
  }
  const before = m.backend.memory.bytes;
  m.backend.memory.resetPeak();
  const y = m.stack.scan(g, m.x);
  g.seed(y, upstream);
  g.backward();
  g.release(y);
  const result = new Map<string, Float64Array>();
  for (const [name, t] of targets) result.set(name, (await m.backend.read(t)) as Float64Array);
  return { result, leaked: m.backend.memory.bytes - before, peak: m.backend.memory.peak - before };
}

describe('graph', () => {
  test('gradients through a stack equal finite differences, and nothing is left behind', async () => {
    const m = model();
    const upstream = m.backend.alloc([2, 7, 6]);
    m.backend.write(
      upstream,
      Float64Array.from({ length: 84 }, () => m.random.normal()),
    );
    const u = await m.backend.read(upstream);
    const { result, leaked } = await gradients(m, upstream, false);
    expect(leaked).toBe(0);
    const objective = async () => {
      const g = new Graph(m.backend);
      const y = m.stack.scan(g, m.x);
      const values = await m.backend.read(y);
      g.release(y);
      return Array.from(values).reduce((s, v, i) => s + v * u[i], 0);
    };
    for (const [name, t] of [...m.weights, ['x', m.x] as const]) {
      const values = Float64Array.from(await m.backend.read(t));
      for (let trial = 0; trial < 3; trial++) {
        const i = m.random.integer(sizeOf(t.shape));
        const kept = values[i];
        const sides = [];
        for (const shift of [1e-5, -1e-5]) {
          values[i] = kept + shift;
          m.backend.write(t, values);
          sides.push(await objective());
        }
        values[i] = kept;
        m.backend.write(t, values);
        const numeric = (sides[0] - sides[1]) / 2e-5;
        const analytic = (result.get(name) as Float64Array)[i];
        const error = Math.abs(analytic - numeric) / (1 + Math.abs(numeric));
        expect({ name, i, fits: error < 1e-6 || error }).toEqual({ name, i, fits: true });
      }
    }
  });

  test('recomputed gradients equal kept ones and need less memory', async () => {
    const m = model();
    const upstream = m.backend.alloc([2, 7, 6]);
    m.backend.write(
      upstream,
      Float64Array.from({ length: 84 }, () => m.random.normal()),
    );
    const kept = await gradients(m, upstream, false);
    const again = await gradients(m, upstream, true);
    for (const [name, values] of kept.result) expect(again.result.get(name)).toEqual(values);
    expect(again.leaked).toBe(0);
    expect(again.peak).toBeLessThan(kept.peak);
  });

  test('scan equals step, token by token', async () => {
    const m = model();
    const g = new Graph(m.backend);
    const whole = await m.backend.read(m.stack.scan(g, m.x));
    const state = newState(m.backend, m.stack, 2);
    const input = await m.backend.read(m.x);
    const token = m.backend.alloc([2, 6]);
    for (let t = 0; t < 7; t++) {
      m.backend.write(token, [...input.slice(t * 6, t * 6 + 6), ...input.slice((7 + t) * 6, (7 + t) * 6 + 6)]);
      const y = await m.backend.read(step(m.stack, g, token, state));
      for (let j = 0; j < 6; j++) {
        expect(y[j]).toBeCloseTo(whole[t * 6 + j], 12);
        expect(y[6 + j]).toBeCloseTo(whole[(7 + t) * 6 + j], 12);
      }
    }
  });

  test('a recorded plan sees new data at every run', async () => {
    const m = model();
    const plan = m.backend.record(() => m.stack.scan(new Graph(m.backend), m.x));
    plan.run();
    const first = await m.backend.read(plan.result);
    const input = await m.backend.read(m.x);
    m.backend.write(
      m.x,
      input.map((v) => -v),
    );
    plan.run();
    const second = await m.backend.read(plan.result);
    const g = new Graph(m.backend);
    expect(second).toEqual(await m.backend.read(m.stack.scan(g, m.x)));
    expect(second).not.toEqual(first);
  });

  test('shapes that do not fit are named', () => {
    const m = model();
    const g = new Graph(m.backend);
    expect(() => g.linear(m.x, rows(m.weights.get('b.mixer.down.weight') as Tensor, 0, 3))).toThrow(
      /x \[2,7,6\] with weight \[3,5\]/,
    );
    expect(() => g.split(m.x, [2, 3])).toThrow(/6 columns/);
    expect(() => g.backward()).toThrow(/inference/);
  });
});
