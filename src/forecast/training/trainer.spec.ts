import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createReferenceBackend } from '../../engine/backends/reference/index.js';
import { Graph } from '../../engine/graph.js';
import { Random } from '../../engine/random.js';
import { ParameterLayout, TrainableParameters } from '../../engine/training/arena.js';
import { readCheckpoint, writeCheckpoint } from '../../engine/training/checkpoint.js';
import { writeModel } from '../model/load.js';
import { ForecasterNetwork, forecasterParameters } from '../model/network.js';
import { allocatePart, BatchFiller, shardsOf } from './batch.js';
import { parseTrainingConfig, partOptions, type TrainingConfig } from './config.js';
import type { Corpus } from './corpus.js';
import { PartInputs } from './loss.js';
import { type Progress, type RunState, Trainer } from './trainer.js';

const part = {
  name: 'long',
  windows: 6,
  length: 64,
  full: 0.5,
  shortest: 12,
  weighting: 'long',
  shortestSeries: 40,
  rollout: 0.3,
  longestRollout: 4,
};
const raw = {
  name: 'tiny',
  seed: 5,
  model: {
    version: 2,
    architecture: 'mamba2-patch-encoder',
    patch: 8,
    dModel: 8,
    layers: 1,
    expand: 2,
    headDim: 8,
    dState: 4,
    convWidth: 4,
    ff: 8,
    hidden: 12,
  },
  batch: { synthetic: 0.3, parts: [part, { ...part, name: 'short', length: 24, windows: 8, weight: 0.5 }] },
  optimiser: { learningRate: 0.01, lossScale: 256 },
  schedule: { steps: 12, warmup: 3, decay: 0.5 },
  precision: 'f32',
  validation: { every: 6, windows: 8 },
};

function configured(change: (json: typeof raw & Record<string, unknown>) => void = () => {}): TrainingConfig {
  const json = structuredClone(raw);
  change(json);
  return parseTrainingConfig(json, 'tiny.json');
}

const corpus: Corpus = {
  datasets: ['waves'],
  values: Float32Array.from({ length: 40 * 150 }, (_, i) => Math.sin(i / 4) + ((i * 7919) % 13) / 20),
  start: Uint32Array.from({ length: 40 }, (_, i) => 150 * i),
  length: new Uint32Array(40).fill(150),
  season: new Uint32Array(40).fill(25),
  frequencyClass: new Uint8Array(40).fill(3),
  dataset: new Uint16Array(40),
  validation: Uint8Array.from({ length: 40 }, (_, i) => (i % 20 === 7 ? 1 : 0)),
};

const alone = { batches: { workers: 0 } };

describe('the loss of the whole network', () => {
  it('has the gradient that finite differences give', async () => {
    const config = configured();
    const backend = createReferenceBackend();
    const layout = new ParameterLayout(forecasterParameters(config.model));
    const model = new TrainableParameters(backend, layout);
    const random = new Random(9);
    const values = Float64Array.from(layout.initial(random), (v) => v + 0.1 * random.normal());
    const network = new ForecasterNetwork(config.model, model.weights);
    const levels = backend.alloc([9]);
    backend.write(levels, config.model.levels);
    const parts = partOptions(config);
    const filler = new BatchFiller(corpus, { seed: 1, parts, validation: false });
    const inputs = parts.map((options, p) => {
      const buffers = allocatePart(options);
      for (let shard = 0; shard < shardsOf(options).shards; shard++) filler.fill(buffers, 0, p, shard);
      const one = new PartInputs(backend, options, config.model);
      one.write(buffers, 1);
      return one;
    });
    const loss = async (x: Float64Array, train: boolean) => {
      model.parameters.write(x);
      const g = new Graph(backend, { train, recompute: false });
      if (train) model.register(g);
      let sum = 0;
      const losses = inputs.map((one) => one.loss(g, network, levels));
      if (train) g.backward();
      for (const one of losses) sum += (await backend.read(one))[0]!;
      return sum;
    };
    await loss(values, true);
    const gradient = await model.gradients.read();
    for (const { name, offset, shape } of layout.places) {
      const size = shape.reduce((a, b) => a * b, 1);
      const i = offset + random.integer(size);
      const h = 1e-5;
      const at = (d: number) =>
        loss(
          Float64Array.from(values, (v, k) => (k === i ? v + d : v)),
          false,
        );
      const numeric = ((await at(h)) - (await at(-h))) / (2 * h);
      const error = Math.abs(gradient[i]! - numeric) / (1e-4 + Math.abs(numeric));
      // Pinball losses have kinks; a step across one shows as a small difference.
      if (error > 2e-2) throw new Error(`${name}[${i - offset}]: ${gradient[i]} instead of ${numeric}`);
    }
    // Where no parameter lies nothing may be moved.
    const real = new Set(
      layout.places.flatMap((p) => Array.from({ length: p.shape.reduce((a, b) => a * b, 1) }, (_, k) => p.offset + k)),
    );
    gradient.forEach((v, i) => {
      if (!real.has(i)) expect(v).toBe(0);
    });
  });
});

describe('Trainer', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'adder-train-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('learns', async () => {
    const config = configured((json) => {
      json.schedule.steps = 120;
      json.validation.every = 60;
    });
    const backend = createReferenceBackend();
    const trainer = new Trainer(backend, corpus, config);
    const losses: Record<string, number>[] = [];
    const before = (await trainer.result()).loss;
    const outcome = await trainer.run({ ...alone, onValidation: (_, loss) => losses.push(loss) });
    expect(outcome).toBe('finished');
    expect(trainer.step).toBe(120);
    expect(Object.keys(before)).toEqual(['long', 'short', 'far']);
    expect(losses.length).toBe(2);
    for (const name of ['long', 'short', 'far']) {
      expect(losses[1]![name]!).toBeLessThan(0.85 * before[name]!);
    }
    expect((await trainer.result()).loss).toEqual(losses[1]);
    trainer.free();
  });

  it('stops and continues bit for bit, through a checkpoint on disk', async () => {
    const config = configured();
    const whole = new Trainer(createReferenceBackend(), corpus, config);
    const reports: Progress[] = [];
    await whole.run({ ...alone, reportSeconds: 0, onProgress: (p) => reports.push(p) });
    expect(reports.at(-1)!.step).toBe(12);
    expect(reports.every((p) => Object.values(p.loss).every(Number.isFinite) && p.gradientNorm > 0)).toBe(true);
    const expected = await whole.checkpoint();

    const first = new Trainer(createReferenceBackend(), corpus, config);
    const at = join(folder, 'step-5');
    const outcome = await first.run({
      ...alone,
      stop: () => first.step === 5,
      onCheckpoint: (content) => writeCheckpoint(at, content, 16_000),
    });
    expect(outcome).toBe('stopped');
    const resumed = new Trainer(createReferenceBackend(), corpus, config, readCheckpoint<RunState>(at));
    expect(resumed.step).toBe(5);
    expect(await resumed.run(alone)).toBe('finished');
    const actual = await resumed.checkpoint();
    expect(Object.keys(actual.arrays)).toEqual(['parameters', 'm', 'v', 'average']);
    expect(actual.arrays).toEqual(expected.arrays);

    const other = configured((json) => {
      json.optimiser.learningRate = 0.02;
    });
    expect(() => new Trainer(createReferenceBackend(), corpus, other, readCheckpoint<RunState>(at))).toThrow(
      expect.objectContaining({ code: 'RESUME_MISMATCH', where: { field: 'optimiser' } }),
    );
  });

  it('starts from the weights of a model of the same shape', async () => {
    const config = configured();
    const values = new ParameterLayout(forecasterParameters(config.model)).initial(new Random(77));
    const dir = join(folder, 'given');
    writeModel(dir, { name: 'given', config: config.model, values });
    const trainer = new Trainer(createReferenceBackend(), corpus, { ...config, initial: dir });
    expect(Float32Array.from((await trainer.result()).values)).toEqual(values);
    trainer.free();
    const other = configured((json) => {
      json.model.ff = 24;
    });
    expect(() => new Trainer(createReferenceBackend(), corpus, { ...other, initial: dir })).toThrow(
      expect.objectContaining({ code: 'BAD_CONFIG', where: { field: 'initial' } }),
    );
  });

  it('fits the number of steps to a budget of time', async () => {
    const config = configured((json) => {
      json.schedule.steps = 1_000_000;
      json.validation.every = 1_000_000;
      json.batch.parts = [{ ...part, length: 16, windows: 1, shortest: 8 }];
    });
    const trainer = new Trainer(createReferenceBackend(), corpus, config);
    const fitted: number[] = [];
    const started = performance.now();
    const outcome = await trainer.run({
      ...alone,
      budgetSeconds: 6,
      onTotal: (total) => fitted.push(total),
    });
    const seconds = (performance.now() - started) / 1000;
    expect(outcome).toBe('finished');
    expect(fitted.length).toBeGreaterThan(0);
    expect(fitted.at(-1)).toBe(trainer.total);
    expect(trainer.total).toBeGreaterThan(150);
    expect(seconds).toBeGreaterThan(2);
    expect(seconds).toBeLessThan(15);
    trainer.free();
  });
});

describe('training configurations', () => {
  it.each([
    [(json: Record<string, unknown>) => delete json.name, 'name'],
    [(json: typeof raw) => (json.batch.parts[0]!.length = 60), 'batch.parts.0.length'],
    [(json: typeof raw) => (json.batch.parts[1]!.name = 'long'), 'batch.parts'],
    [(json: typeof raw) => (json.model.headDim = 7), 'model.headDim'],
    [(json: typeof raw) => ((json.optimiser as Record<string, unknown>).speed = 3), 'optimiser'],
    [(json: typeof raw) => (json.schedule.decay = 2), 'schedule.decay'],
  ])('name the field that is wrong (%#)', (change, field) => {
    const json = structuredClone(raw);
    (change as (j: unknown) => void)(json);
    expect(() => parseTrainingConfig(json, 'x.json')).toThrow(
      expect.objectContaining({ code: 'BAD_CONFIG', where: { file: 'x.json', field } }),
    );
  });
});
