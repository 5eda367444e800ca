import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { Random } from '../../engine/random.js';
import { AdderError } from '../../platform/errors.js';
import { loadResampler } from '../decode/index.js';
import { FEATURES } from '../features/index.js';
import { activity, parseRttm, parseScv } from './annotations.js';
import { narrowBand, opusRoundTrip, roomResponse } from './channel.js';
import { type ComposeOptions, Composer } from './compose.js';
import { HORIZONS, toExample } from './example.js';
import { HELD_OUT_NOISE, proceduralNoise, TRAINING_NOISE } from './noise.js';
import { type Library, loadPack, parseClips } from './pack.js';
import { callActivity, parseCalls, turnStatistics } from './turns.js';
import { backchannelLabels, silenceEvents, vapLabels } from './vap.js';

beforeAll(loadResampler);

function rms(x: Float32Array, from = 0, to = x.length): number {
  let sum = 0;
  for (let i = from; i < to; i++) sum += x[i] * x[i];
  return Math.sqrt(sum / (to - from));
}

describe('annotations', () => {
  it('reads RTTM and SCV', () => {
    const rttm = 'SPEAKER trn01 1 2.977 0.391 <NA> <NA> FEO066 <NA> <NA>\n;; comment\n';
    expect(parseRttm(rttm)).toEqual([{ from: 2977, to: 3368, speaker: 'FEO066' }]);
    expect(parseScv('x,0.000,1.500,0,1.500,2.000,1,2.000,3.000,0\n')).toEqual([{ from: 1500, to: 2000 }]);
    expect(() => parseScv('x,0,1,7')).toThrow(AdderError);
  });

  it('labels a frame by its middle', () => {
    expect([...activity([{ from: 14, to: 36 }], 5)]).toEqual([0, 1, 1, 1, 0]);
    expect([...activity([{ from: 15.1, to: 35 }], 5)]).toEqual([0, 0, 1, 0, 0]);
    expect([...activity([{ from: -50, to: 900 }], 3)]).toEqual([1, 1, 1]);
  });
});

describe('packs', () => {
  it('checks every line', () => {
    expect(parseClips('{"off":5,"n":9,"seg":[[1,2]],"spk":"a","utt":"u"}\n\n', 'f')).toHaveLength(1);
    for (const line of ['{', '{"off":-1,"n":2}', '{"off":0,"n":2,"seg":[[5,1]]}', '{"off":0.5,"n":2}']) {
      expect(() => parseClips(`{"off":0,"n":1}\n${line}`, 'f.jsonl')).toThrow(
        expect.objectContaining({ code: 'BAD_PACK', where: { file: 'f.jsonl', line: 2 } }),
      );
    }
  });

  const root = process.env.ADDER_SPEECH_DATA;
  const real = root && existsSync(join(root, 'dev', 'fsdd.opus')) ? it : it.skip;
  if (!root) console.warn('ADDER_SPEECH_DATA is not set: the test on a real speech pack is skipped');
  real('cuts real clips sample-exactly: silence between them, speech in the labelled segments', async () => {
    const pack = await loadPack(join(root!, 'dev'), 'fsdd');
    const level = (from: number, to: number) => {
      let sum = 0;
      for (let i = from; i < to; i++) sum += (pack.samples[i] / 32768) ** 2;
      return Math.sqrt(sum / (to - from));
    };
    let speech = 0;
    let gap = 0;
    for (let i = 0; i + 1 < pack.clips.length; i++) {
      const { offset, length, segments } = pack.clips[i];
      for (const [from, to] of segments)
        speech += level(offset + from * 16, Math.min(offset + length, offset + to * 16));
      const end = offset + length;
      expect(pack.clips[i + 1].offset - end).toBe(1600);
      gap += level(end + 400, end + 1200);
    }
    expect(gap / speech).toBeLessThan(0.001);
  });
});

const call = parseCalls(
  JSON.stringify({
    id: 'x',
    durMs: 20000,
    A: [
      [1000, 3000, 5, 0],
      [3500, 5000, 4, 0],
      [9000, 11000, 6, 0],
    ],
    B: [
      [4000, 4400, 1, 1],
      [5400, 8600, 9, 0],
      [13000, 13400, 1, 1],
    ],
  }),
)[0];

describe('turns', () => {
  it('draws pauses, gaps and back-channels from calls', () => {
    const { pauses, gaps, backchannelAfter } = turnStatistics([call]);
    expect(pauses).toEqual([500]);
    expect(gaps).toEqual([400, 400, 2000]);
    expect(backchannelAfter).toEqual([500]);
  });

  it('refuses what is no call', () => {
    for (const text of ['{', '{"durMs":5}', '{"durMs":5,"A":[[3,1]],"B":[]}', '{"durMs":0,"A":[],"B":[]}']) {
      expect(() => parseCalls(text)).toThrow(AdderError);
    }
  });

  it('labels projection bins by half of their frames', () => {
    const a = new Uint8Array(140);
    a.fill(1, 10, 15);
    const labels = vapLabels([a, new Uint8Array(140)]);
    const at = (t: number) => [...labels.subarray(t * 8, t * 8 + 4)];
    // From frame 4, bin 0–10 covers frames 5 … 14: five of ten.
    expect(at(4)).toEqual([1, 0, 0, 0]);
    expect(at(3)).toEqual([0, 0, 0, 0]);
    expect(at(10)[0]).toBe(0);
    expect(at(129)[0]).toBe(0);
    expect(at(130)[0]).toBe(255);
    expect(at(39)[3]).toBe(0);
    expect(at(40)[3]).toBe(255);
  });

  it('finds shifts and holds with one side alone around them', () => {
    const events = silenceEvents(callActivity(call));
    // 3.0–3.5 s: only A in the second before, both sides in the second after → out. 8.6–9.0 s: B then A → shift.
    // 11–13 s: A then B → shift.
    expect(events).toEqual([
      { start: 430, end: 450, before: 1, kind: 'shift' },
      { start: 550, end: 650, before: 0, kind: 'shift' },
    ]);
    const hold = parseCalls('{"durMs":9000,"A":[[1000,3000,5,0],[3500,6000,4,0]],"B":[]}')[0];
    expect(silenceEvents(callActivity(hold))).toEqual([{ start: 150, end: 175, before: 0, kind: 'hold' }]);
  });

  it('labels coming back-channels that stand alone', () => {
    const labels = backchannelLabels(call, 1000);
    const starts = [...labels].flatMap((v, i) => (v ? [[i >> 1, i & 1]] : []));
    expect(starts).toHaveLength(50);
    expect(starts[0]).toEqual([175, 1]);
    expect(starts[24]).toEqual([199, 1]);
    expect(starts[49]).toEqual([649, 1]);
  });
});

describe('channel', () => {
  const sine = (hz: number) =>
    Float32Array.from({ length: 16000 }, (_, i) => 0.3 * Math.sin((2 * Math.PI * hz * i) / 16000));

  it('a room keeps the direct sound and gives the tail its energy and decay', () => {
    const room = roomResponse(0.3, -6, new Random(1));
    expect([room.delays[0], room.gains[0]]).toEqual([0, 1]);
    const tail = room.gains.subarray(1);
    expect(10 * Math.log10(tail.reduce((s, g) => s + g * g, 0))).toBeCloseTo(-6, 3);
    const half = tail.length >> 1;
    expect(20 * Math.log10(Math.abs(tail[half] / tail[0]))).toBeCloseTo(-30, -1);
  });

  it('the telephone band passes 1 kHz in place and stops 5 kHz', () => {
    // Not a divisor of the rate, so that the quantiser sees many values.
    const x = sine(1013.7);
    const plain = narrowBand(x);
    for (let i = 2000; i < 14000; i++) expect(Math.abs(plain[i] - x[i])).toBeLessThan(2e-3);
    expect(rms(narrowBand(sine(5000)), 2000, 14000)).toBeLessThan(1e-3);
    const coded = narrowBand(x, 'mulaw');
    const noise = coded.map((v, i) => v - plain[i]);
    const snr = 20 * Math.log10(rms(plain, 2000, 14000) / rms(noise, 2000, 14000));
    // G.711 gives about 38 dB over its upper range.
    expect(snr).toBeGreaterThan(34);
    expect(snr).toBeLessThan(42);
  });

  it('Opus comes back in place', () => {
    const x = Float32Array.from({ length: 16000 }, (_, i) => 0.3 * Math.sin(i * 0.17) * Math.sin(i * 0.0021));
    const y = opusRoundTrip(x, 24000);
    const at = (shift: number) => {
      let sum = 0;
      for (let i = 4000; i < 12000; i++) sum += (y[i + shift] - x[i]) ** 2;
      return sum;
    };
    const shifts = Array.from({ length: 41 }, (_, i) => i - 20);
    const best = shifts.reduce((m, s) => (at(s) < at(m) ? s : m));
    expect(Math.abs(best)).toBeLessThanOrEqual(2);
    expect(Math.sqrt(at(best) / 8000) / rms(x)).toBeLessThan(0.15);
  });

  it('makes every noise at level 1, a function of its seed', () => {
    for (const kind of [...TRAINING_NOISE, ...HELD_OUT_NOISE]) {
      const a = proceduralNoise(kind, 48000, new Random(3));
      expect(rms(a)).toBeCloseTo(1, 4);
      expect(a.every(Number.isFinite)).toBe(true);
      expect(proceduralNoise(kind, 48000, new Random(3))).toEqual(a);
      expect(proceduralNoise(kind, 48000, new Random(4))).not.toEqual(a);
    }
  });
});

/** Two voices whose speech is a tone between silent ends, and a hiss. */
function library(): Library {
  const clip = 16000;
  const samples = new Int16Array(new SharedArrayBuffer(2 * clip * 4));
  for (let c = 0; c < 4; c++) {
    for (let i = 4800; i < 11200; i++) samples[c * clip + i] = 8000 * Math.sin(i * (0.1 + 0.05 * c));
  }
  const clips = [0, 1, 2, 3].map((c) => ({
    offset: c * clip,
    length: clip,
    speaker: c < 2 ? 'a' : 'b',
    segments: [[300, 700]] as const,
    name: `c${c}`,
  }));
  const hiss = Int16Array.from({ length: 8000 }, (_, i) => (i * 7919) % 2000);
  return {
    speech: [{ name: 'tones', samples, clips }],
    noise: [
      { name: 'hiss', samples: hiss, clips: [{ offset: 0, length: 8000, speaker: '?', segments: [], name: 'h' }] },
    ],
  };
}

describe('composer', () => {
  const turns = { pauses: [300, 500, 800], gaps: [200, -150, 400], backchannelAfter: [300] };
  const plain: ComposeOptions = { seed: 5, noise: 'none', gain: [0, 0], reverbShare: 0, codecShare: 0, clean: true };

  it('gives the same stream for the same seed and index, others for others', () => {
    const options: ComposeOptions = { seed: 3, seconds: [4, 6] };
    const [a, b] = [new Composer(library(), turns, options), new Composer(library(), turns, options)];
    b.compose(2);
    for (const index of [0, 7]) expect(b.compose(index)).toEqual(a.compose(index));
    expect(a.compose(1).samples).not.toEqual(a.compose(0).samples);
    expect(new Composer(library(), turns, { ...options, seed: 4 }).compose(0).samples).not.toEqual(
      a.compose(0).samples,
    );
  });

  it('labels exactly the frames where the clean side sounds', () => {
    const composer = new Composer(library(), turns, plain);
    let compared = 0;
    for (let index = 0; index < 6; index++) {
      const { samples, clean, speech, voices } = composer.compose(index);
      expect(speech).toHaveLength(samples.length / 160);
      for (let t = 0; t < speech.length; t++) {
        expect(speech[t]).toBe(voices[0][t] | voices[1][t]);
        // Frames at the edge of a tone are half full.
        if (speech[t - 1] !== speech[t] || speech[t + 1] !== speech[t]) continue;
        expect(rms(clean!, t * 160, (t + 1) * 160) > 1e-4 ? 1 : 0).toBe(speech[t]);
        compared++;
      }
      // The noise floor is everywhere: no exact zeros.
      for (let t = 0; t < speech.length; t++) expect(rms(samples, t * 160, (t + 1) * 160)).toBeGreaterThan(1e-6);
    }
    expect(compared).toBeGreaterThan(5000);
  });

  it('keeps the asked signal-to-noise ratio and gain', () => {
    const composer = new Composer(library(), turns, { ...plain, noise: 'heldOut', snr: 10, gain: [-20, -20] });
    const { samples, speech } = composer.compose(1);
    let quiet = 0;
    let count = 0;
    speech.forEach((v, t) => {
      if (v) return;
      quiet += rms(samples, t * 160, (t + 1) * 160) ** 2;
      count++;
    });
    // Speech at −26 dBFS, noise 10 dB under it, 20 dB of attenuation; noise kinds come in bursts, hence the margin.
    expect(Math.abs(10 * Math.log10(quiet / count) + 56)).toBeLessThan(4);
  });

  it('turns into examples whose labels agree with each other', () => {
    const stream = new Composer(library(), turns, { seed: 9, seconds: [5, 5] }).compose(0);
    const example = toExample(stream);
    expect(example.frames).toBe(500);
    expect(example.features).toHaveLength(500 * FEATURES);
    const H = HORIZONS.length;
    for (let t = 0; t < 500; t++) {
      expect(example.speech[t * H]).toBe(stream.speech[t]);
      expect(example.speech[t * H + 2]).toBe(t + 10 < 500 ? stream.speech[t + 10] : 255);
      if (t + 1 < 500 && stream.speech[t + 1] !== stream.speech[t])
        expect([example.changeBin[t], example.changed[t]]).toEqual([0, 1]);
    }
  });
});
