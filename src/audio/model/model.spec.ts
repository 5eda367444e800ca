import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { onEveryBackend } from '../../../test/conformance/backends.js';
import { Random } from '../../engine/random.js';
import { ParameterLayout } from '../../engine/training/arena.js';
import { changeWithinFrames, expectedFrames } from '../hazard.js';
import { END_AT, EVENT_LOGITS, NO_CALIBRATION, type SpeechConfig, START_AT } from './config.js';
import {
  frameAt,
  loadSpeechModel,
  SpeechListener,
  SpeechModel,
  scanRecording,
  TRACKS,
  trackOf,
  writeSpeechModel,
} from './index.js';
import type { SpeechSession } from './listener.js';
import { speechParameters } from './network.js';
import { capacityFor } from './slotted-streams.js';
import { writeTracks } from './tracks.js';

const config: SpeechConfig = {
  version: 1,
  architecture: 'mamba2-speech',
  inputs: 83,
  dModel: 24,
  layers: 2,
  expand: 2,
  headDim: 16,
  dState: 8,
  convWidth: 4,
  normEps: 1e-6,
};

/** Weights with some life in the heads, which training would bring. */
function weights(seed = 1): Float32Array {
  const layout = new ParameterLayout(speechParameters(config));
  const random = new Random(seed);
  const values = layout.initial(random);
  for (const { name, shape, offset } of layout.places) {
    if (!/^(events|spectrum\.(mean|precision))\.weight$/.test(name)) continue;
    for (let i = 0; i < shape[0] * shape[1]; i++) values[offset + i] = 0.4 * random.normal();
  }
  return values;
}

const parts = { name: 'test', digest: 'abc', config, calibration: NO_CALIBRATION };

/** Bursts of tones and noise: something that changes. */
function sound(seconds: number, seed: number): Float32Array {
  const random = new Random(seed);
  return Float32Array.from({ length: seconds * 16_000 }, (_, i) => {
    const loud = Math.floor(i / 5000 + seed) % 3 === 0 ? 0.3 : 0.01;
    return loud * (Math.sin(i * (0.05 + 0.02 * seed)) + random.uniform(-1, 1));
  });
}

/** Largest difference; a NaN agrees with a NaN only. */
function difference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    if (Number.isNaN(a[i]) && Number.isNaN(b[i])) continue;
    const d = Math.abs(a[i] - b[i]) / Math.max(1, Math.abs(b[i]));
    if (!(d <= most)) most = d;
  }
  return most;
}

async function listen(listener: SpeechListener, session: SpeechSession, samples: Float32Array, cuts: number[]) {
  const out: number[] = [];
  for (let at = 0, i = 0; at < samples.length; i++) {
    const step = cuts[i % cuts.length];
    session.push(samples.subarray(at, at + step));
    at += step;
    if (i % 3 !== 1) await listener.step();
    for (const v of session.take().values) out.push(v);
  }
  await listener.step();
  for (const v of session.take().values) out.push(v);
  return Float32Array.from(out);
}

onEveryBackend('speech model', (backend) => {
  const { name } = backend;
  let model: SpeechModel;
  beforeAll(() => {
    model = new SpeechModel(backend, { ...parts, values: weights() });
  });
  afterAll(() => model.close());

  it('streams what it scans, to 1e-4, at any chunking', async () => {
    const samples = sound(name === 'webgpu' ? 1.2 : 4, 1);
    const { tracks, embeddings } = await scanRecording(model, samples, { embeddingSeconds: 0.5 });
    expect(tracks.count).toBe(Math.floor(samples.length / 160));
    expect(embeddings?.length).toBe(Math.ceil(tracks.count / 50) * config.dModel);
    const speech = trackOf(tracks, 'speech');
    expect(Math.max(...speech) - Math.min(...speech)).toBeGreaterThan(0.02);
    expect(tracks.values.subarray(TRACKS.length).every(Number.isFinite)).toBe(true);
    const listener = new SpeechListener(model);
    for (const cuts of [[160], [1, 7000, 333], [64_000]]) {
      const session = listener.open();
      expect(difference(await listen(listener, session, samples, cuts), tracks.values)).toBeLessThan(1e-4);
      session.close();
    }
    await listener.close();
  });

  it('gives each of many sessions what it would get alone, while others come, go and fall behind', async () => {
    const listener = new SpeechListener(model);
    const count = name === 'webgpu' ? 3 : 6;
    const sounds = Array.from({ length: count }, (_, i) => sound(1, i + 2));
    const alone = await Promise.all(sounds.map(async (s) => (await scanRecording(model, s)).tracks.values));
    const heard = sounds.map(() => [] as number[]);
    const sessions = sounds.map(() => undefined as SpeechSession | undefined);
    const at = sounds.map(() => 0);
    for (let tick = 0; at.some((a, i) => a < sounds[i].length) || listener.size > 0; tick++) {
      // Session i comes at tick i, leaves when it is done; session 1 pushes in long pieces.
      const running: Promise<number>[] = [];
      for (let i = 0; i < count && i <= tick; i++) {
        if (at[i] === 0 && !sessions[i]) sessions[i] = listener.open();
        const session = sessions[i];
        if (!session || (i === 1 && tick % 12 !== 0)) continue;
        const step = i === 1 ? 320 * 12 : 320 + (i % 3);
        session.push(sounds[i].subarray(at[i], at[i] + step));
        at[i] = Math.min(sounds[i].length, at[i] + step);
        if (i === 0) running.push(listener.step());
      }
      running.push(listener.step());
      await Promise.all(running);
      sessions.forEach((session, i) => {
        if (!session) return;
        for (const v of session.take().values) heard[i].push(v);
        if (at[i] < sounds[i].length || session.due > 0) return;
        session.close();
        sessions[i] = undefined;
      });
    }
    heard.forEach((values, i) => {
      expect(difference(Float32Array.from(values), alone[i])).toBeLessThan(1e-4);
    });
    await listener.close();
  });

  it('goes on from a saved state, in another listener and through JSON', async () => {
    const samples = sound(1.5, 5);
    const { tracks } = await scanRecording(model, samples);
    const [first, second] = [new SpeechListener(model), new SpeechListener(model)];
    const session = first.open();
    session.push(samples.subarray(0, 10_001));
    await expect(session.save()).rejects.toMatchObject({ code: 'ROWS_DUE' });
    await first.step();
    const saved = structuredClone(await session.save());
    expect(saved.rows).toBe(62);
    second.open();
    const resumed = second.open(saved);
    resumed.push(samples.subarray(10_001));
    await second.step();
    const rest = resumed.take();
    expect(rest.first).toBe(62);
    expect(difference(rest.values, tracks.values.slice(62 * TRACKS.length))).toBeLessThan(1e-4);
    expect(() => second.open({ ...saved, digest: 'other' })).toThrow(/other weights/);
    session.close();
    expect(() => session.push([0])).toThrow(/closed/);
    await expect(session.save()).rejects.toMatchObject({ code: 'SESSION_CLOSED' });
    await first.close();
    await second.close();
  });
});

describe('tracks', () => {
  it('say what the hazards say', () => {
    const random = new Random(3);
    const logits = Float32Array.from({ length: EVENT_LOGITS }, () => random.uniform(-4, 1));
    const out = new Float32Array(TRACKS.length);
    writeTracks(out, 0, logits, 0, NO_CALIBRATION, 0.25);
    const frame = frameAt({ first: 0, count: 1, values: out }, 0);
    const hazards = Array.from(logits, (x) => 1 / (1 + Math.exp(-x)));
    expect(frame.speech_50).toBeCloseTo(hazards[1], 6);
    for (const ms of [100, 200, 500] as const) {
      expect(frame[`end_${ms}`]).toBeCloseTo(changeWithinFrames(hazards, ms / 10, END_AT), 6);
      expect(frame[`start_${ms}`]).toBeCloseTo(changeWithinFrames(hazards, ms / 10, START_AT), 6);
    }
    expect(frame.ends_in).toBeCloseTo(10 * expectedFrames(hazards, END_AT), 2);
    expect(frame.surprise).toBe(0.25);
  });

  it('are moved by calibration', () => {
    const logits = new Float32Array(EVENT_LOGITS).fill(1);
    const out = new Float32Array(TRACKS.length);
    const line = { scale: 2, offset: -3 };
    writeTracks(out, 0, logits, 0, { ...NO_CALIBRATION, speech: NO_CALIBRATION.speech.map(() => line), end: line }, 0);
    expect(out[0]).toBeCloseTo(1 / (1 + Math.E), 6);
    expect(out[6]).toBeLessThan(out[9]);
  });
});

describe('capacity', () => {
  it('holds the sessions, wastes less than a half, and never shrinks when one is added', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), (n) => {
        expect(capacityFor(n)).toBeGreaterThanOrEqual(n);
        expect(capacityFor(n)).toBeLessThanOrEqual(1.5 * n + 1);
        expect(capacityFor(n + 1)).toBeGreaterThanOrEqual(capacityFor(n));
      }),
    );
  });
});

describe('models on disk', () => {
  const folder = mkdtempSync(join(tmpdir(), 'adder-speech-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('are read as they were written', async () => {
    const values = weights(7);
    writeSpeechModel(folder, speechParameters(config), values, { name: 'seven', config, calibration: NO_CALIBRATION });
    const model = await loadSpeechModel(folder, 'reference');
    expect(model.name).toBe('seven');
    expect(model.digest).toMatch(/^[0-9a-f]{16}$/);
    const direct = new SpeechModel(model.backend, { ...parts, values });
    const samples = sound(0.3, 1);
    expect((await scanRecording(model, samples)).tracks).toEqual((await scanRecording(direct, samples)).tracks);
    await model.close();
  });

  it('are refused with the reason', async () => {
    await expect(loadSpeechModel(join(folder, 'nowhere'))).rejects.toMatchObject({ code: 'NO_MODEL' });
    const file = join(folder, 'config.json');
    const json = JSON.parse(readFileSync(file, 'utf8'));
    expect(existsSync(join(folder, 'model.safetensors'))).toBe(true);
    writeFileSync(file, JSON.stringify({ ...json, config: { ...json.config, dModel: 32 } }));
    await expect(loadSpeechModel(folder, 'reference')).rejects.toMatchObject({ code: 'BAD_MODEL' });
    writeFileSync(file, JSON.stringify({ ...json, config: { ...json.config, headDim: 7 } }));
    await expect(loadSpeechModel(folder, 'reference')).rejects.toMatchObject({
      code: 'BAD_MODEL',
      where: { file, field: 'config.headDim' },
    });
  });
});

describe('the shipped model', () => {
  it('loads by its name and hears nobody in silence and in steady noise', async () => {
    const model = await loadSpeechModel(undefined, 'wasm');
    expect(model.parameterCount).toBeGreaterThan(350_000);
    const random = new Random(1);
    for (const level of [0, 0.02]) {
      const { tracks } = await scanRecording(
        model,
        Float32Array.from({ length: 48_000 }, () => level * random.uniform(-1, 1)),
      );
      const late = trackOf(tracks, 'speech').subarray(200);
      expect(Math.max(...late)).toBeLessThan(0.5);
    }
    await model.close();
  });
});
