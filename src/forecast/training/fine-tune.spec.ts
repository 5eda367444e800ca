import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Backend } from '../../engine/backend.js';
import { createReferenceBackend } from '../../engine/backends/reference/index.js';
import { Graph } from '../../engine/graph.js';
import { Random } from '../../engine/random.js';
import { ParameterLayout, TrainableParameters } from '../../engine/training/arena.js';
import { type ForecasterConfig, forecasterConfigSchema } from '../model/config.js';
import { loadForecaster, readModel, writeModel } from '../model/load.js';
import { ForecasterNetwork, forecasterParameters } from '../model/network.js';
import { allocatePart, BatchFiller, shardsOf } from './batch.js';
import { type FineTuneOptions, type FineTuneProgress, type FineTuneReport, fineTune } from './fine-tune.js';
import { fineTuneData } from './fine-tune-data.js';
import { HEAD_PARAMETERS, type HeadValues, headLoss } from './head-gradient.js';
import { PartInputs } from './loss.js';

const config: ForecasterConfig = forecasterConfigSchema.parse({
  version: 2,
  architecture: 'mamba2-patch-encoder',
  patch: 8,
  dModel: 16,
  layers: 1,
  expand: 2,
  headDim: 16,
  dState: 8,
  convWidth: 4,
  ff: 16,
  hidden: 24,
});

/** A sawtooth of 12 steps: a shape that an untrained head does not know. */
const saw = (n: number, shift: number) =>
  Float64Array.from({ length: n }, (_, i) => 50 + 3 * ((i + shift) % 12) + 0.2 * (((i + shift) * 7919) % 11));
const series = [0, 3, 7].map((shift) => ({ values: saw(150 + 10 * shift, shift), season: 12, frequency: 'M' }));

let folder: string;
let base: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'adder-fine-tune-'));
  base = join(folder, 'base');
  const layout = new ParameterLayout(forecasterParameters(config));
  writeModel(base, { name: 'tiny', config, values: layout.initial(new Random(4)) });
  writeFileSync(join(base, 'stack.json'), '{"version":1}');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the gradient of the head on the host', () => {
  it('is the gradient of the tape', async () => {
    const backend = createReferenceBackend();
    const layout = new ParameterLayout(forecasterParameters(config));
    const random = new Random(11);
    const values = Float64Array.from(layout.initial(random), (v) => v + 0.05 * random.normal());
    const { part, corpus } = fineTuneData(series, config, 200);
    const buffers = allocatePart(part);
    const filler = new BatchFiller(corpus, { seed: 3, parts: [part], validation: false });
    for (let shard = 0; shard < shardsOf(part).shards; shard++) filler.fill(buffers, 0, 0, shard);

    const model = new TrainableParameters(backend, layout);
    model.parameters.write(values);
    const network = new ForecasterNetwork(config, model.weights);
    const inputs = new PartInputs(backend, part, config);
    inputs.write(buffers, 1);
    const levels = backend.alloc([9]);
    backend.write(levels, config.levels);
    const g = new Graph(backend, { train: true });
    model.register(g);
    const loss = inputs.loss(g, network, levels);
    const expected = (await backend.read(loss))[0]!;
    g.backward();
    const gradients = layout.split(await model.gradients.read());

    const hidden = await backend.read(network.encode(new Graph(backend), inputs, { lengths: inputs.lengths }));
    const parts = layout.split(values);
    const head = Object.fromEntries(HEAD_PARAMETERS.map((name) => [name, parts.get(name)!])) as HeadValues;
    const ours = await headLoss(backend, config, head, { ...buffers, hidden }, true);
    // The tape's loss is scaled by float32 numbers on its way.
    expect(Math.abs(ours.loss / expected - 1)).toBeLessThan(1e-6);
    for (const name of HEAD_PARAMETERS) {
      const theirs = gradients.get(name)!;
      const size = Math.max(...Array.from(theirs, Math.abs));
      expect(size).toBeGreaterThan(0);
      const worst = Math.max(...Array.from(theirs, (v, i) => Math.abs(v - ours.gradients![name][i]!)));
      expect([name, worst / size < 1e-6]).toEqual([name, true]);
    }
  });
});

describe('fineTune', () => {
  const options = (change: Partial<FineTuneOptions> = {}): FineTuneOptions => ({
    base,
    series,
    steps: 40,
    scope: 'head',
    learningRate: 0.01,
    backend: 'wasm',
    directory: join(folder, `out-${Math.random()}`),
    ...change,
  });

  it('learns the head on WebAssembly, keeps the encoder, and reports both losses', async () => {
    const seen: FineTuneProgress[] = [];
    const { directory, report } = await fineTune(options({ progress: (p) => seen.push(p) }));
    expect(report.kept).toBe(true);
    expect(report.tailLoss.tuned).toBeLessThan(0.8 * report.tailLoss.base);
    expect(seen.at(-1)!.best).toBe(report.tailLoss.tuned);
    const [before, after] = [readModel(base), readModel(directory!)];
    expect(after.name).toBe(report.name);
    expect(after.name).not.toBe(before.name);
    const layout = new ParameterLayout(forecasterParameters(config));
    const old = layout.split(before.values);
    for (const [name, values] of layout.split(after.values)) {
      const changed = values.some((v, i) => v !== old.get(name)![i]);
      expect([name, changed]).toEqual([name, (HEAD_PARAMETERS as readonly string[]).includes(name)]);
    }
    expect(readFileSync(join(directory!, 'stack.json'), 'utf8')).toBe('{"version":1}');
    const forecaster = await loadForecaster({ model: directory!, backend: 'wasm' });
    const request = { history: series[0]!.values, horizon: 12, season: 12, frequency: 'M', quantiles: [0.1, 0.5, 0.9] };
    const [forecast] = await forecaster.forecast([request]);
    expect(forecast!.quantiles.every((q) => q.every(Number.isFinite))).toBe(true);
    await forecaster.close();
  });

  it('gives the same weights again, and follows the tape on a backend that trains', async () => {
    const one = await fineTune(options({ steps: 5 }));
    const two = await fineTune(options({ steps: 5 }));
    expect(readModel(two.directory!).digest).toBe(readModel(one.directory!).digest);
    const reference = createReferenceBackend();
    const curves: FineTuneReport['curve'][] = [];
    for (const backend of [reference, inferring(reference)]) {
      curves.push((await fineTune(options({ steps: 5, backend }))).report.curve);
    }
    curves[0]!.forEach(({ tail, loss }, i) => {
      expect(curves[1]![i]!.tail).toBeCloseTo(tail, 6);
      expect(curves[1]![i]!.loss).toBeCloseTo(loss, 6);
    });
  });

  it('trains all weights where the backend can, and says so where it cannot', async () => {
    const { report, directory } = await fineTune(
      options({ scope: 'all', backend: 'reference', steps: 12, learningRate: 0.003 }),
    );
    expect(report.tailLoss.tuned).toBeLessThan(report.tailLoss.base);
    const layout = new ParameterLayout(forecasterParameters(config));
    const old = layout.split(readModel(base).values);
    const changed = [...layout.split(readModel(directory!).values)].filter(([name, v]) =>
      v.some((x, i) => x !== old.get(name)![i]),
    );
    expect(changed.length).toBe(layout.places.length);
    await expect(fineTune(options({ scope: 'all' }))).rejects.toMatchObject({ code: 'NO_TRAINING' });
  });

  it('writes nothing when the tails get no better, or when it is stopped', async () => {
    const before = readdirSync(folder).length;
    const worse = options({ learningRate: 1, steps: 8 });
    const { directory, report } = await fineTune(worse);
    expect([directory, report.kept, report.bestStep]).toEqual([undefined, false, 0]);
    const stop = new AbortController();
    const stopped = options({ signal: stop.signal, progress: () => stop.abort(new Error('enough')) });
    await expect(fineTune(stopped)).rejects.toThrow('enough');
    expect(existsSync(worse.directory!) || existsSync(stopped.directory!)).toBe(false);
    expect(readdirSync(folder).length).toBe(before);
  });

  it.each([
    ['steps', { steps: 0 }],
    ['series', { series: [] }],
    ['series', { series: [{ values: [1, 2, 3], season: 1 }] }],
    ['series[0]', { series: [{ values: [Number.NaN], season: 1 }] }],
    ['series[0]', { series: [{ values: [1, Number.POSITIVE_INFINITY], season: 1 }] }],
    ['learningRate', { learningRate: 0 }],
  ])('refuses bad %s', async (field, change) => {
    await expect(fineTune(options(change))).rejects.toMatchObject({ where: { field } });
  });
});

/** The reference backend as one that only infers. */
function inferring(reference: Backend): Backend {
  return new Proxy(reference, { get: (target, key) => (key === 'trains' ? false : Reflect.get(target, key)) });
}
