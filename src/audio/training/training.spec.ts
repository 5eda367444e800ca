import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createReferenceBackend } from '../../engine/backends/reference/index.js';
import { Graph } from '../../engine/graph.js';
import { Random } from '../../engine/random.js';
import { ParameterLayout, TrainableParameters } from '../../engine/training/arena.js';
import { readCheckpoint } from '../../engine/training/checkpoint.js';
import { ComposerPool } from '../data/compose-pool.js';
import type { Library } from '../data/pack.js';
import { loadResampler } from '../decode/index.js';
import { FEATURES, MEL_BANDS } from '../features/index.js';
import { IGNORE } from '../metrics/index.js';
import { EVENT_LOGITS, NO_CALIBRATION, SPECTRAL_LEADS, type SpeechConfig } from '../model/config.js';
import { hiddenStates, SpeechModel } from '../model/index.js';
import { SpeechNetwork, speechParameters } from '../model/network.js';
import { loadTurnModel, scanConversation } from '../turns/index.js';
import { readListeningTraining } from './config.js';
import { ExampleWindow } from './example-window.js';
import { OUTLOOK_FIGURES, OutlookBatch } from './outlook-batch.js';
import { LABEL_CODES, labelCodes, labelOf, partOf } from './outlook-labels.js';
import { colourOf } from './outlook-task.js';
import { type EventHead, halves, refitEvents } from './refit.js';
import { runListeningTraining } from './run.js';
import { labelledCall, swappedCode, TURN_CODES, turnLabelOf } from './turn-labels.js';
import { disturb } from './turn-task.js';

const model: SpeechConfig = {
  version: 1,
  architecture: 'mamba2-speech',
  inputs: 83,
  dModel: 8,
  layers: 1,
  expand: 2,
  headDim: 8,
  dState: 4,
  convWidth: 3,
  normEps: 1e-6,
};

/** Two voices of tones, and a hiss. */
function library(): Library {
  const clip = 16_000;
  const samples = new Int16Array(new SharedArrayBuffer(2 * clip * 4));
  for (let c = 0; c < 4; c++) {
    for (let i = 4800; i < 11_200; i++) samples[c * clip + i] = 8000 * Math.sin(i * (0.1 + 0.05 * c));
  }
  const clips = [0, 1, 2, 3].map((c) => {
    const speaker = c < 2 ? 'a' : 'b';
    return { offset: c * clip, length: clip, speaker, segments: [[300, 700]] as const, name: `c${c}` };
  });
  const hiss = Int16Array.from({ length: 8000 }, (_, i) => (i * 7919) % 2000);
  const noise = { offset: 0, length: 8000, speaker: '?', segments: [], name: 'h' };
  return { speech: [{ name: 'tones', samples, clips }], noise: [{ name: 'hiss', samples: hiss, clips: [noise] }] };
}
const turns = { pauses: [300, 500, 800], gaps: [200, -150, 400], backchannelAfter: [300] };

beforeAll(() => loadResampler());

describe('the outlook loss', () => {
  const [sequences, frames] = [2, 70];
  const loss = { now: 1, ahead: 0.5, change: 0.7, spectrum: 0.3 };

  it('and its gradients are what the definitions say', async () => {
    const backend = createReferenceBackend();
    const layout = new ParameterLayout(speechParameters(model));
    const random = new Random(4);
    const values = layout.initial(random);
    for (const { name, shape, offset } of layout.places) {
      if (!/^(events|spectrum\.(mean|precision))\.weight$/.test(name)) continue;
      for (let i = 0; i < shape[0] * shape[1]; i++) values[offset + i] = 0.2 * random.normal();
    }
    const features = Float32Array.from({ length: sequences * frames * FEATURES }, () => 0.5 * random.normal());
    const codes = Int32Array.from({ length: sequences * frames }, () => random.integer(LABEL_CODES));
    const batch = new OutlookBatch(backend, sequences, frames, loss, 1);
    backend.write(batch.features, features);
    backend.write(batch.codes, codes);
    const figures = backend.alloc([1, OUTLOOK_FIGURES]);
    const parameters = new TrainableParameters(backend, layout);
    parameters.parameters.write(values);
    const g = new Graph(backend, { train: true });
    parameters.register(g);
    g.release(batch.record(g, new SpeechNetwork(model, parameters.weights), figures, true));
    g.backward();
    const gradients = await parameters.gradients.read();

    /** What the network says with some parameters. */
    const outputs = async (changed: ArrayLike<number>) => {
      parameters.parameters.write(changed);
      const h = new Graph(backend);
      const network = new SpeechNetwork(model, parameters.weights);
      const hidden = network.encode(h, batch.features);
      const { mean, logPrecision } = network.spectrum(h, hidden, batch.features);
      return Promise.all([network.events(h, hidden), mean, logPrecision].map((t) => backend.read(t)));
    };
    const events = (logits: ArrayLike<number>) => {
      const parts = { now: loss.now, ahead: loss.ahead / 5, end: loss.change, start: loss.change };
      let sum = 0;
      for (let t = 0; t < codes.length; t++) {
        for (let c = 0; c < EVENT_LOGITS; c++) {
          const label = labelOf(codes[t], c);
          if (label === undefined) continue;
          const p = 1 / (1 + Math.exp(-logits[t * EVENT_LOGITS + c]));
          sum -= (parts[partOf(c)] * Math.log(label ? p : 1 - p)) / codes.length;
        }
      }
      return sum;
    };
    const weights = [30, 14, 10, 7, 5.5, 4.5];
    const each = (visit: (lead: number, at: number, error: number) => void, mean: ArrayLike<number>) => {
      const level = (t: number, b: number) => features[t * FEATURES + b] + features[t * FEATURES + FEATURES - 1];
      SPECTRAL_LEADS.forEach((ahead, h) => {
        for (let t = 0; t < codes.length; t++) {
          if (t % frames >= frames - 50) continue;
          for (let b = 0; b < MEL_BANDS; b++) {
            const at = (t * SPECTRAL_LEADS.length + h) * MEL_BANDS + b;
            visit(h, at, level(t + ahead, b) - mean[at]);
          }
        }
      });
    };
    const count = sequences * (frames - 50) * MEL_BANDS * SPECTRAL_LEADS.length;
    const squares = (mean: ArrayLike<number>) => {
      let sum = 0;
      each((h, _, e) => {
        sum += (0.5 * weights[h] * e * e * loss.spectrum) / count;
      }, mean);
      return sum;
    };
    const likelihood = (mean: ArrayLike<number>, logPrecision: ArrayLike<number>) => {
      let sum = 0;
      each((_, at, e) => {
        sum += (0.5 * (Math.exp(logPrecision[at]) * e * e - logPrecision[at]) * loss.spectrum) / count;
      }, mean);
      return sum;
    };

    const [logits, mean] = await outputs(values);
    const summary = batch.summary(await backend.read(figures));
    expect(
      summary.now * loss.now + summary.ahead * loss.ahead + (summary.end + summary.start) * loss.change,
    ).toBeCloseTo(events(logits), 6);
    let square = 0;
    each((_, __, e) => {
      square += (e * e) / count;
    }, mean);
    expect(summary.spectrum).toBeCloseTo(square, 6);

    // One number of every parameter against the difference quotient; the mean's errors are constants to the precision.
    for (const { name, shape, offset } of layout.places) {
      const i = offset + random.integer(shape.reduce((a, b) => a * b));
      const step = 1e-4;
      const at = async (delta: number) => {
        const moved = Float64Array.from(values);
        moved[i] += delta;
        const [l, m, p] = await outputs(moved);
        return events(l) + squares(m) + likelihood(mean, p);
      };
      const slope = ((await at(step)) - (await at(-step))) / (2 * step);
      expect(Math.abs(gradients[i] - slope)).toBeLessThan(1e-5 + 1e-3 * Math.abs(slope));
      if (/spectrum|events/.test(name) && /bias/.test(name)) expect(slope).not.toBe(0);
    }
    await backend.dispose();
  });

  it('counts the spectrum against persistence, which an untrained network is', async () => {
    const backend = createReferenceBackend();
    const layout = new ParameterLayout(speechParameters(model));
    const values = layout.initial(new Random(1));
    const { offset, shape } = layout.place('spectrum.mean.weight');
    values.fill(0, offset, offset + shape[0] * shape[1]);
    const batch = new OutlookBatch(backend, sequences, frames, loss, 1);
    const random = new Random(2);
    backend.write(
      batch.features,
      Float32Array.from({ length: sequences * frames * FEATURES }, () => random.normal()),
    );
    backend.write(batch.codes, new Int32Array(sequences * frames));
    const figures = backend.alloc([1, OUTLOOK_FIGURES]);
    const persistence = backend.alloc([1, OUTLOOK_FIGURES - EVENT_LOGITS]);
    const parameters = new TrainableParameters(backend, layout);
    parameters.parameters.write(values);
    const g = new Graph(backend);
    batch.record(g, new SpeechNetwork(model, parameters.weights), figures, false, persistence);
    const sums = (await backend.read(figures)).slice(EVENT_LOGITS);
    const reference = await backend.read(persistence);
    sums.forEach((v, i) => {
      expect(v).toBeCloseTo(reference[i], 6);
    });
    await backend.dispose();
  });
});

describe('labels of streams', () => {
  it('survive as one number a frame', async () => {
    const pool = new ComposerPool(library(), turns, { seed: 3, seconds: [4, 5] }, { threads: 0 });
    for (let n = 0; n < 3; n++) {
      const example = await pool.next();
      const codes = labelCodes(example);
      for (let t = 0; t < example.frames; t++) {
        for (let h = 0; h < 6; h++) expect(labelOf(codes[t], h) ?? IGNORE).toBe(example.speech[t * 6 + h]);
        const speaking = example.speech[t * 6] === 1;
        for (let k = 0; k < 20; k++) {
          const [asked, other] = speaking ? [6 + k, 26 + k] : [26 + k, 6 + k];
          expect(labelOf(codes[t], other)).toBeUndefined();
          const [bin, changed] = [example.changeBin[t], example.changed[t]];
          expect(labelOf(codes[t], asked)).toBe(k < bin ? 0 : k === bin && changed ? 1 : undefined);
        }
      }
    }
  });
});

describe('the window of streams', () => {
  it('moves as its pace says and starts anywhere with the same streams', async () => {
    const pace = { from: 0, count: 3, perStep: 0.5 };
    const options = { seed: 3, seconds: [2, 3] as [number, number] };
    const open = (first: number) =>
      new ExampleWindow(new ComposerPool(library(), turns, options, { threads: 0, first }), 4, pace);
    const whole = open(0);
    for (let step = 0; step <= 9; step++) await whole.moveTo(step, 100);
    const { first, end } = ExampleWindow.range(pace, 4, 9);
    expect([first, end]).toEqual([3, 7]);
    const late = open(first);
    await late.moveTo(9, 100);
    for (let seed = 0; seed < 20; seed++) {
      expect(late.crop(new Random(seed), 150)).toEqual(whole.crop(new Random(seed), 150));
    }
    await expect(late.moveTo(20, 1000)).rejects.toThrow(/too short/);
  });

  it('colours rows as an equaliser colours the spectrum', () => {
    const colour = new Float32Array(FEATURES);
    colourOf(new Random(7), { equaliser: 8, gain: 6 }, colour);
    // Absolute log-mel moves by a smooth curve; differences to the mean level add up to nothing.
    const sum = colour.subarray(0, MEL_BANDS).reduce((s, v) => s + v, 0);
    expect(Math.abs(sum)).toBeLessThan(1e-4);
    expect(Math.max(...colour.map(Math.abs))).toBeGreaterThan(0.01);
    expect([colour[80], colour[81]]).toEqual([0, 0]);
    for (let b = 1; b < MEL_BANDS; b++) expect(Math.abs(colour[b] - colour[b - 1])).toBeLessThan(0.1);
  });
});

describe('labels of calls', () => {
  const call = {
    id: 'x',
    durationMs: 20_000,
    sides: [
      [
        { from: 0, to: 3000, words: 9, backchannelWords: 0 },
        { from: 7000, to: 9000, words: 5, backchannelWords: 0 },
      ],
      [
        { from: 4000, to: 6000, words: 6, backchannelWords: 0 },
        { from: 8000, to: 8400, words: 1, backchannelWords: 1 },
      ],
    ] as never,
  };

  it('say who comes next in a silence, and change places with the sides', () => {
    const { activity, codes } = labelledCall(call);
    expect(activity[0].length).toBe(1000);
    // Silence from 3 to 4 s: B is next. Silence from 6 to 7 s: A is.
    expect(turnLabelOf(codes[152], 10)).toBeUndefined();
    expect([turnLabelOf(codes[160], 10), turnLabelOf(codes[320], 10)]).toEqual([1, 0]);
    expect(turnLabelOf(codes[398], 9)).toBe(1);
    const swapped = labelledCall({ ...call, sides: [call.sides[1], call.sides[0]] }).codes;
    codes.forEach((code, t) => {
      expect(swappedCode(code)).toBe(swapped[t]);
    });
  });

  it('swap back', () => {
    fc.assert(
      fc.property(fc.nat(TURN_CODES - 1), (code) => {
        expect(swappedCode(swappedCode(code))).toBe(code);
      }),
    );
  });

  it('stay near the truth when disturbed', () => {
    const clean = Uint8Array.from({ length: 4000 }, (_, t) => (t % 150 < 70 ? 1 : 0));
    let changed = 0;
    for (let seed = 0; seed < 40; seed++) {
      const side = clean.slice();
      disturb(side, new Random(seed));
      const wrong = side.filter((v, t) => v !== clean[t]).length;
      expect(wrong / side.length).toBeLessThan(0.15);
      changed += wrong;
    }
    expect(changed).toBeGreaterThan(0);
  });
});

describe('a run of the turn model', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'adder-listening-'));
    mkdirSync(join(folder, 'data', 'swb_turns'), { recursive: true });
    const calls = Array.from({ length: 10 }, (_, c) => {
      const side = (offset: number) =>
        Array.from({ length: 6 }, (_, i) => [i * 2000 + offset, i * 2000 + offset + 700 + 10 * c, 3, 0]);
      return JSON.stringify({ id: `c${c}`, durMs: 12_000, A: side(0), B: side(1000) });
    });
    writeFileSync(join(folder, 'data', 'swb_turns', 'train.jsonl.gz'), gzipSync(calls.join('\n')));
    const config = {
      task: 'turn-outlook',
      name: 'tiny',
      seed: 3,
      model: {
        version: 1,
        architecture: 'mamba2-turns',
        inputs: 14,
        dModel: 8,
        layers: 1,
        expand: 2,
        headDim: 8,
        dState: 4,
        convWidth: 3,
      },
      batch: { sequences: 4, frames: 120 },
      loss: {},
      optimiser: { learningRate: 0.02, lossScale: 8 },
      schedule: { steps: 12, warmup: 2, decay: 0.5 },
      precision: 'f32',
      validation: { every: 6, sequences: 3 },
    };
    writeFileSync(join(folder, 'tiny.json'), JSON.stringify(config));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  async function train(out: string, extra: { stopAfter?: number; resume?: string } = {}): Promise<string[]> {
    const config = readListeningTraining(join(folder, 'tiny.json'))!;
    const said: string[] = [];
    let asked = 0;
    const stop = () => asked++ >= (extra.stopAfter ?? Number.POSITIVE_INFINITY);
    const options = { data: join(folder, 'data'), out: join(folder, out), backend: 'reference', resume: extra.resume };
    await runListeningTraining(config, { ...options, stop, say: (line) => said.push(line) });
    return said;
  }

  it('learns, stops, resumes bit for bit, and writes a model that runs', async () => {
    const said = await train('whole');
    const held = said
      .filter((line) => /^step \d+ held out/.test(line))
      .map((line) => Number(/bin1 ([\d.]+)/.exec(line)![1]));
    expect(held).toHaveLength(2);
    expect(held[1]).toBeLessThan(held[0]);
    await train('parts', { stopAfter: 5 });
    await train('parts', { resume: join(folder, 'parts') });
    const arrays = (out: string) => readCheckpoint(join(folder, out, 'checkpoints', 'step-12')).arrays;
    expect(arrays('parts')).toEqual(arrays('whole'));
    const file = JSON.parse(readFileSync(join(folder, 'whole', 'model', 'config.json'), 'utf8'));
    expect(file.training).toMatchObject({ finished: true, steps: 12, skipped: 0 });
    const turnModel = await loadTurnModel(join(folder, 'whole', 'model'), 'reference');
    const tracks = await scanConversation(turnModel, [new Uint8Array(50), new Uint8Array(50).fill(1)]);
    expect(tracks.count).toBe(50);
    await turnModel.close();
  });

  it('refuses another configuration on resuming, and says what is wrong with a file', async () => {
    const file = join(folder, 'tiny.json');
    const config = JSON.parse(readFileSync(file, 'utf8'));
    await train('first', { stopAfter: 2 });
    writeFileSync(file, JSON.stringify({ ...config, seed: 4 }));
    await expect(train('first', { resume: join(folder, 'first') })).rejects.toMatchObject({
      code: 'RESUME_MISMATCH',
      where: { field: 'seed' },
    });
    writeFileSync(file, JSON.stringify({ ...config, batch: { sequences: 0, frames: 120 } }));
    expect(() => readListeningTraining(file)).toThrow(
      expect.objectContaining({ code: 'BAD_CONFIG', where: { file, field: 'batch.sequences' } }),
    );
    writeFileSync(file, JSON.stringify(config));
  });
});

describe('refitting the event head', () => {
  it('halves a library without a speaker or a clip in common', () => {
    const whole = library();
    const [one, two] = halves(whole);
    expect(one.speech[0].clips.map((c) => c.speaker)).toEqual(['a', 'a']);
    expect(two.speech[0].clips.map((c) => c.speaker)).toEqual(['b', 'b']);
    const alone = { ...whole, speech: [{ ...whole.speech[0], clips: one.speech[0].clips }] };
    expect(halves(alone).map((l) => l.speech[0].clips.map((c) => c.name))).toEqual([['c0'], ['c1']]);
  });

  it('lowers the loss of the streams it is fitted on, the encoder untouched', async () => {
    const backend = createReferenceBackend();
    const layout = new ParameterLayout(speechParameters(model));
    const values = layout.initial(new Random(5));
    const parts = { name: 'x', digest: 'x', config: model, calibration: NO_CALIBRATION };
    const listener = new SpeechModel(backend, { ...parts, values });
    const pool = new ComposerPool(library(), turns, { seed: 3, seconds: [4, 5] }, { threads: 0 });
    const examples = [await pool.next(), await pool.next()];
    const head = { weight: new Float32Array(EVENT_LOGITS * model.dModel), bias: new Float32Array(EVENT_LOGITS) };
    const fitted = await refitEvents(listener, examples, head);
    const loss = async ({ weight, bias }: EventHead) => {
      let [sum, count] = [0, 0];
      for (const example of examples) {
        const hidden = await hiddenStates(listener, example.features);
        labelCodes(example).forEach((code, t) => {
          for (let c = 0; c < EVENT_LOGITS; c++) {
            const label = labelOf(code, c);
            if (label === undefined) continue;
            let x = bias[c];
            for (let k = 0; k < model.dModel; k++) x += weight[c * model.dModel + k] * hidden[t * model.dModel + k];
            sum += Math.log1p(Math.exp(label ? -x : x));
            count++;
          }
        });
      }
      return sum / count;
    };
    expect(await loss(head)).toBeCloseTo(Math.LN2, 6);
    // Twelve steps: there is one batch of frames.
    expect(await loss(fitted)).toBeLessThan(Math.LN2 - 0.015);
    await backend.dispose();
  });
});
