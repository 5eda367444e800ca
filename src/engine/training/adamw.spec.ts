import { describe, expect, it } from '@jest/globals';
import { createReferenceBackend } from '../backends/reference/index.js';
import { constant, normal, type ParameterSpec } from '../layers/parameters.js';
import { Random } from '../random.js';
import { AdamW, type AdamWOptions, Scalars } from './adamw.js';
import { ParameterLayout, TrainableParameters } from './arena.js';
import { averagingRate, checkSchedule, warmupStableDecay } from './schedule.js';

const specs: ParameterSpec[] = [
  constant('norm', [3], 1),
  normal('matrix', [2, 5], 0.5),
  constant('bias', [1], 0.25),
  normal('other', [70], 0.5),
];

describe('ParameterLayout', () => {
  const layout = new ParameterLayout(specs);

  it('puts decayed parameters first, aligned, and counts what is real', () => {
    expect(layout.places.map(({ name, offset }) => [name, offset])).toEqual([
      ['matrix', 0],
      ['other', 64],
      ['norm', 192],
      ['bias', 256],
    ]);
    expect([layout.decayEnd, layout.size, layout.count]).toEqual([192, 320, 84]);
  });

  it('initialises every parameter by its spec and leaves gaps at zero', () => {
    const initial = layout.initial(new Random(1));
    const random = new Random(1);
    const expected = new Float32Array(320);
    for (const spec of specs) expected.set(spec.init(random), layout.place(spec.name).offset);
    expect(initial).toEqual(expected);
    expect(initial.filter((v) => v !== 0).length).toBe(84);
  });

  it('splits and joins by name, and refuses other shapes and names', () => {
    const initial = layout.initial(new Random(2));
    const parts = layout.split(initial);
    const shapes = new Map(specs.map((s) => [s.name, s.shape]));
    const read = (name: string) => ({ shape: shapes.get(name)!, data: parts.get(name)! });
    expect(layout.join(read)).toEqual(initial);
    expect(() => layout.join((name) => ({ ...read(name), shape: [1, 2] }))).toThrow(
      /matrix is \[1,2\], the configuration wants \[2,5\]/,
    );
    expect(() => layout.place('nothing')).toThrow(expect.objectContaining({ code: 'PARAMETER_MISSING' }));
    expect(() => new ParameterLayout([...specs, constant('bias', [2], 0)])).toThrow(/two parameters are called bias/);
  });
});

/** AdamW as in Loshchilov & Hutter 2019, algorithm 2, one scalar at a time in float64. */
class Scalar {
  m = 0;
  v = 0;
  average: number;
  constructor(
    public value: number,
    private readonly decay: number,
  ) {
    this.average = value;
  }

  update(gradient: number, t: number, lr: number, o: AdamWOptions, rate: number): void {
    const previous = this.value;
    this.m = o.beta1 * this.m + (1 - o.beta1) * gradient;
    this.v = o.beta2 * this.v + (1 - o.beta2) * gradient ** 2;
    const step = this.m / (1 - o.beta1 ** t) / (Math.sqrt(this.v / (1 - o.beta2 ** t)) + o.epsilon);
    this.value = previous - lr * step - lr * this.decay * previous;
    this.average = (1 - rate) * this.average + rate * this.value;
  }
}

describe('AdamW', () => {
  it.each([
    { clipNorm: 0, lossScale: 1 },
    { clipNorm: 0.7, lossScale: 1024 },
  ])('equals an independent implementation over 40 steps, a skipped one among them (%o)', async (variant) => {
    const options: AdamWOptions = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, ...variant };
    const backend = createReferenceBackend();
    const layout = new ParameterLayout(specs);
    const model = new TrainableParameters(backend, layout);
    const optimiser = new AdamW(backend, model, options);
    const scalars = new Scalars(backend, 2);
    const initial = layout.initial(new Random(3));
    optimiser.start(initial);
    const plan = backend.record(() => optimiser.record(scalars.at(1)));
    const expected = Array.from(initial, (v, i) => new Scalar(v, i < layout.decayEnd ? options.weightDecay : 0));
    const random = new Random(4);
    for (let step = 0; step < 40; step++) {
      const gradient = Float64Array.from(initial, (v) => (v === 0 ? 0 : random.normal() * (step % 3)));
      const skipped = step === 17;
      backend.write(
        model.gradients.tensor,
        gradient.map((g, i) => (skipped && i === 5 ? Number.POSITIVE_INFINITY : g * options.lossScale)),
      );
      const lr = 0.01 * (1 + (step % 5));
      const rate = averagingRate(step, 10, 8);
      optimiser.prepare(step, lr, rate);
      plan.run();
      const squares = (await scalars.read())[1]!;
      expect(Number.isFinite(squares)).toBe(!skipped);
      if (skipped) continue;
      const norm = Math.hypot(...gradient);
      expect(squares).toBeCloseTo((norm * options.lossScale) ** 2, 3);
      const clip = options.clipNorm > 0 && norm > options.clipNorm ? options.clipNorm / norm : 1;
      expected.forEach((scalar, i) => {
        scalar.update(gradient[i]! * clip, step + 1, lr, options, rate);
      });
      const { parameters, average } = await optimiser.snapshot();
      expected.forEach((scalar, i) => {
        expect(parameters[i]).toBeCloseTo(scalar.value, 9);
        expect(average[i]).toBeCloseTo(scalar.average, 9);
      });
    }
    await backend.dispose();
  });

  it('continues exactly from a snapshot and refuses one of another size', async () => {
    const backend = createReferenceBackend();
    const layout = new ParameterLayout(specs);
    const model = new TrainableParameters(backend, layout);
    const options = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clipNorm: 1, lossScale: 1 };
    const optimiser = new AdamW(backend, model, options);
    const scalars = new Scalars(backend, 1);
    optimiser.start(layout.initial(new Random(3)));
    const run = (from: number, to: number) => {
      for (let step = from; step < to; step++) {
        const random = new Random(step);
        backend.write(
          model.gradients.tensor,
          Float64Array.from({ length: layout.size }, () => random.normal()),
        );
        optimiser.prepare(step, 0.01, 0.1);
        optimiser.record(scalars.at(0));
      }
    };
    run(0, 5);
    const middle = await optimiser.snapshot();
    run(5, 9);
    const end = await optimiser.snapshot();
    optimiser.restore(middle);
    run(5, 9);
    expect(await optimiser.snapshot()).toEqual(end);
    expect(() => optimiser.restore({ ...middle, v: new Float64Array(3) })).toThrow(/v has 3 numbers, the model 320/);
  });
});

describe('schedules', () => {
  const schedule = { peak: 2, warmup: 4, total: 20, decay: 10, floor: 0.1 };

  it('rises, stays and falls as documented', () => {
    const rates = Array.from({ length: 22 }, (_, step) => warmupStableDecay(schedule, step));
    expect(rates.slice(0, 4)).toEqual([0.5, 1, 1.5, 2]);
    expect(rates.slice(4, 10)).toEqual([2, 2, 2, 2, 2, 2]);
    for (let step = 10; step < 20; step++) {
      expect(rates[step]).toBeCloseTo(2 * (0.1 + 0.9 * ((19 - step) / 10)), 12);
    }
    expect(rates[19]).toBeCloseTo(0.2, 12);
    expect(rates[21]).toBeCloseTo(0.2, 12);
    const flat = { peak: 1, warmup: 0, total: 3, decay: 0, floor: 0 };
    expect([0, 1, 2].map((step) => warmupStableDecay(flat, step))).toEqual([1, 1, 1]);
  });

  it('refuses schedules that make no sense', () => {
    expect(() => checkSchedule(schedule)).not.toThrow();
    for (const change of [
      { peak: 0 },
      { peak: Number.NaN },
      { total: 0 },
      { total: 10 },
      { warmup: -1 },
      { decay: 2.5 },
      { floor: 2 },
    ]) {
      expect(() => checkSchedule({ ...schedule, ...change })).toThrow(expect.objectContaining({ code: 'SCHEDULE' }));
    }
  });

  it('averages all steps from the first on, then forgets exponentially', () => {
    let average = 100;
    const values = [3, 5, 10, 4];
    values.forEach((value, i) => {
      average += averagingRate(5 + i, 5, 100) * (value - average);
    });
    expect(average).toBeCloseTo(22 / 4, 12);
    expect(averagingRate(4, 5, 100)).toBe(1);
    expect(averagingRate(900, 5, 100)).toBe(0.01);
  });
});
