import { beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import OpusScript from 'opusscript';
import { createMp3Encoder } from 'wasm-media-encoders';
import {
  type Audio,
  decodeAudio,
  decodeStream,
  LiveDecoder,
  loadResampler,
  OpusPacketDecoder,
} from '../../src/audio/decode/index.js';
import { AdderError } from '../../src/platform/errors.js';
import { chunk, cut, encodePcm, flac, oggOpus, tone, wav } from './containers.js';

beforeAll(loadResampler);

async function failure(source: Parameters<typeof decodeAudio>[0]): Promise<string> {
  try {
    await decodeAudio(source);
  } catch (error) {
    if (error instanceof AdderError) return error.code;
    throw error;
  }
  return 'none';
}

function rms(x: Float32Array, from = 0, to = x.length): number {
  let sum = 0;
  for (let i = from; i < to; i++) sum += x[i] * x[i];
  return Math.sqrt(sum / (to - from));
}

/** Root mean square of a − b relative to b, at the best whole-sample shift up to 400 samples. */
function distance(a: Float32Array, b: Float32Array): { shift: number; error: number } {
  let best = { shift: 0, error: Number.POSITIVE_INFINITY };
  for (let shift = 0; shift <= 400; shift++) {
    let sum = 0;
    for (let i = 4000; i < 8000; i++) sum += (a[i + shift] - b[i]) ** 2;
    const error = Math.sqrt(sum / 4000) / rms(b, 4000, 8000);
    if (error < best.error) best = { shift, error };
  }
  return best;
}

const samples = tone(16000, 16000, 700);
const body16 = encodePcm(samples, 16);

describe('WAV', () => {
  const cases: [string, number, number, boolean, number][] = [
    ['8 bits', 1, 8, false, 0.005],
    ['16 bits', 1, 16, false, 2e-5],
    ['24 bits', 1, 24, false, 1e-7],
    ['32 bits', 1, 32, false, 1e-7],
    ['float 32', 3, 32, true, 0],
    ['float 64', 3, 64, true, 1e-7],
  ];
  it.each(cases)('reads %s, plain and extensible', async (_, tag, bits, float, tolerance) => {
    for (const extensible of [false, true]) {
      const body = encodePcm(samples, bits, float);
      const audio = await decodeAudio(wav({ tag, bits, channels: 1, sampleRate: 16000, body, extensible }));
      expect(audio.channels[0]).toHaveLength(samples.length);
      const worst = samples.reduce((m, x, i) => Math.max(m, Math.abs(x - audio.channels[0][i])), 0);
      expect(worst).toBeLessThanOrEqual(tolerance);
      expect(audio.warnings).toEqual([]);
    }
  });

  it('reads the levels of µ-law and A-law that G.711 prints', async () => {
    // ITU-T G.711 table 2a lists the first value of every segment in 14 bits; for A-law its largest and smallest in 13 bits.
    const mulaw = await decodeAudio(
      wav({
        tag: 7,
        bits: 8,
        channels: 1,
        sampleRate: 16000,
        body: Uint8Array.of(0x80, 0x8f, 0x9f, 0xaf, 0xbf, 0xcf, 0xdf, 0xef, 0xff, 0x00),
      }),
    );
    expect(Array.from(mulaw.channels[0], (x) => (x * 32768) / 4)).toEqual([
      8031, 4191, 2079, 1023, 495, 231, 99, 33, 0, -8031,
    ]);
    const alaw = await decodeAudio(
      wav({ tag: 6, bits: 8, channels: 1, sampleRate: 16000, body: Uint8Array.of(0xaa, 0x2a, 0xd5, 0x55) }),
    );
    expect(Array.from(alaw.channels[0], (x) => x * 32768)).toEqual([32256, -32256, 8, -8]);
  });

  it('averages channels or keeps them', async () => {
    const two = Float32Array.from({ length: 200 }, (_, i) => (i % 2 ? -0.25 : 0.5));
    const bytes = wav({ tag: 3, bits: 32, channels: 2, sampleRate: 16000, body: encodePcm(two, 32, true) });
    const mixed = await decodeAudio(bytes);
    expect(new Set(mixed.channels[0])).toEqual(new Set([0.125]));
    const separate = await decodeAudio(bytes, { layout: 'separate' });
    expect(separate.channels.map((c) => c[7])).toEqual([0.5, -0.25]);
  });

  it('skips chunks it does not know, also odd and large ones', async () => {
    const before = Buffer.concat([chunk('JUNK', new Uint8Array(333)), chunk('LIST', new Uint8Array(3_000_001))]);
    const audio = await decodeAudio(wav({ tag: 1, bits: 16, channels: 1, sampleRate: 16000, body: body16, before }));
    expect(audio.channels[0]).toHaveLength(samples.length);
  });

  it('reads to the end when the size is unknown or too large, and says so', async () => {
    for (const dataSize of [0, 0xffffffff]) {
      const bytes = wav({ tag: 1, bits: 16, channels: 1, sampleRate: 16000, body: body16, dataSize });
      expect((await decodeAudio(bytes)).channels[0]).toHaveLength(16000);
    }
    const lie = wav({ tag: 1, bits: 16, channels: 1, sampleRate: 16000, body: body16, dataSize: 40_000 });
    const audio = await decodeAudio(lie);
    expect(audio.channels[0]).toHaveLength(16000);
    expect(audio.warnings[0]).toMatch(/ends 8000 bytes before/);
  });

  it('refuses headers that cannot be', async () => {
    const base = { tag: 1, bits: 16, channels: 1, sampleRate: 16000, body: body16 };
    expect(await failure(wav({ ...base, sampleRate: 0 }))).toBe('BAD_SAMPLE_RATE');
    expect(await failure(wav({ ...base, sampleRate: 768_000 }))).toBe('BAD_SAMPLE_RATE');
    expect(await failure(wav({ ...base, channels: 64 }))).toBe('BAD_CHANNELS');
    expect(await failure(wav({ ...base, channels: 0 }))).toBe('BAD_CHANNELS');
    expect(await failure(wav({ ...base, blockAlign: 7 }))).toBe('BAD_AUDIO');
    expect(await failure(wav({ ...base, tag: 85 }))).toBe('UNSUPPORTED_AUDIO');
    expect(await failure(wav({ ...base, bits: 40 }))).toBe('UNSUPPORTED_AUDIO');
    expect(await failure(wav(base).subarray(0, 30))).toBe('BAD_AUDIO');
    expect(await failure(wav({ ...base, body: new Uint8Array(0), dataSize: 0 }))).toBe('EMPTY_AUDIO');
    expect(await failure(new Uint8Array(0))).toBe('EMPTY_AUDIO');
    expect(await failure(Buffer.from('hello, this is not audio at all'))).toBe('UNKNOWN_AUDIO');
    expect(await failure(Buffer.concat([u32be(24), Buffer.from('ftypM4A '), Buffer.alloc(64)]))).toBe(
      'UNSUPPORTED_AUDIO',
    );
  });

  it('turns NaN and infinities into silence and limits the rest', async () => {
    const bad = Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY, -3e38, 0.25);
    const audio = await decodeAudio(
      wav({ tag: 3, bits: 32, channels: 1, sampleRate: 16000, body: encodePcm(bad, 32, true) }),
    );
    expect(Array.from(audio.channels[0])).toEqual([0, 0, -16, 0.25]);
    expect(audio.warnings.join()).toMatch(/not finite/);
  });
});

function u32be(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value);
  return out;
}

const music = Float32Array.from(
  { length: 32000 },
  (_, i) => 0.4 * Math.sin(i * 0.05) * (0.6 + 0.4 * Math.sin(i * 0.0004)),
);
const music16 = Int16Array.from(music, (x) => Math.round(x * 32767));

function opusPackets(): Uint8Array[] {
  const encoder = new OpusScript(16000, 1, OpusScript.Application.VOIP);
  encoder.setBitrate(32000);
  const packets: Uint8Array[] = [];
  for (let at = 0; at + 320 <= music16.length; at += 320) {
    packets.push(Uint8Array.from(encoder.encode(Buffer.from(music16.buffer, at * 2, 640), 320)));
  }
  encoder.delete();
  return packets;
}

async function mp3(sampleRate: 16000 | 44100, channels: 1 | 2): Promise<Uint8Array> {
  const encoder = await createMp3Encoder();
  encoder.configure({ sampleRate, channels, bitrate: sampleRate === 44100 ? 192 : 96 });
  const parts = [Buffer.from(encoder.encode(channels === 1 ? [music] : [music, music]))];
  parts.push(Buffer.from(encoder.finalize()));
  return Buffer.concat(parts);
}

const makers: [string, () => Promise<Uint8Array>][] = [
  ['wav', async () => wav({ tag: 1, bits: 16, channels: 1, sampleRate: 16000, body: encodePcm(music, 16) })],
  ['flac', async () => Buffer.concat([...flac(music16)])],
  ['ogg-opus', async () => oggOpus(opusPackets())],
  ['mp3', () => mp3(16000, 1)],
];

describe('containers', () => {
  it.each(makers)('decodes %s to what went in', async (name, make) => {
    const audio: Audio = await decodeAudio(await make());
    expect(audio.container).toBe(name);
    expect(audio.channels).toHaveLength(1);
    expect(Math.abs(audio.channels[0].length - music.length)).toBeLessThan(name === 'mp3' ? 3000 : 400);
    const { shift, error } = distance(audio.channels[0], music);
    expect(error).toBeLessThan({ wav: 1e-4, flac: 1e-4, 'ogg-opus': 0.1, mp3: 0.15 }[name]!);
    // Lossless files come back in place; pre-skip and padding of the lossy ones are taken out but for the encoder's own delay.
    if (name === 'wav' || name === 'flac') expect(shift).toBe(0);
  });

  it.each(makers)('gives the same bits of %s however the bytes are cut', async (name, make) => {
    const bytes = await make();
    const whole = (await decodeAudio(bytes)).channels[0];
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 8 }), async (cuts) => {
        const parts = (await decodeAudio(cut(bytes, cuts))).channels[0];
        expect(Buffer.compare(Buffer.from(parts.buffer), Buffer.from(whole.buffer))).toBe(0);
      }),
      { numRuns: name === 'wav' ? 20 : 6, seed: 1 },
    );
    const single = (await decodeAudio(cut(bytes.subarray(0, 9000), [1]))).channels[0];
    const same = (await decodeAudio(bytes.subarray(0, 9000))).channels[0];
    expect(Buffer.compare(Buffer.from(single.buffer), Buffer.from(same.buffer))).toBe(0);
  });

  it('resamples MP3 at 44.1 kHz in stereo', async () => {
    const audio = await decodeAudio(await mp3(44100, 2));
    expect(audio.source).toEqual({ sampleRate: 44100, channels: 2 });
    expect(audio.channels[0].length / 16000).toBeCloseTo(music.length / 44100, 1);
    expect(rms(audio.channels[0])).toBeCloseTo(rms(music), 1);
  });

  it('decodes bare Opus packets and refuses what is none', async () => {
    const decoder = await OpusPacketDecoder.open(1);
    const parts = opusPackets().map((p) => decoder.packet(p).channels[0]);
    expect(parts.every((p) => p.length === 320)).toBe(true);
    const joined = Float32Array.from(parts.flatMap((p) => [...p]));
    expect(distance(joined, music).error).toBeLessThan(0.1);
    expect(() => decoder.packet(Uint8Array.of(0xff, 0xff, 0xff))).toThrow(AdderError);
    decoder.close();
  });

  it('never crashes on damaged or cut files: audio or an AdderError, within seconds', async () => {
    const originals = await Promise.all(makers.map(([, make]) => make()));
    await fc.assert(
      fc.asyncProperty(
        fc.nat(3),
        fc.integer({ min: 1, max: 1500 }),
        fc.array(fc.tuple(fc.nat(999), fc.nat(255)), { maxLength: 30 }),
        fc.boolean(),
        async (which, keep, changes, nearHead) => {
          const whole = originals[which];
          const bytes = Uint8Array.from(whole).slice(0, Math.ceil((whole.length * Math.min(keep, 1000)) / 1000));
          for (const [at, value] of changes) {
            const range = nearHead ? Math.min(bytes.length, 120) : bytes.length;
            if (range > 0) bytes[Math.min(range - 1, Math.floor((at * range) / 1000))] = value;
          }
          try {
            const audio = await decodeAudio(bytes, { limits: { maxSeconds: 600 } });
            for (const c of audio.channels)
              for (let i = 0; i < c.length; i++) if (!Number.isFinite(c[i])) throw new Error('NaN');
          } catch (error) {
            if (!(error instanceof AdderError)) throw error;
          }
        },
      ),
      { numRuns: 250, seed: 2 },
    );
  }, 120_000);

  it('decodes ten hours of zeros in bounded memory', async () => {
    const seconds = 36_000;
    let count = 0;
    let peak = 0;
    const before = process.memoryUsage().arrayBuffers;
    for await (const [piece] of decodeStream(flac({ zeros: seconds * 16000 }), { limits: { maxSeconds: 40_000 } })) {
      count += piece.length;
      peak = Math.max(peak, process.memoryUsage().arrayBuffers - before);
    }
    expect(count).toBe(seconds * 16000);
    expect(peak).toBeLessThan(400e6);
  }, 120_000);

  it('refuses to collect more than the limit', async () => {
    const long = flac({ zeros: 30 * 16000 });
    await expect(decodeAudio(long, { limits: { maxSeconds: 10 } })).rejects.toMatchObject({ code: 'AUDIO_TOO_LONG' });
  });
});

describe('live samples', () => {
  const encodings = [
    ['pcm_s16', encodePcm(tone(4000, 8000, 440), 16)],
    ['float32', encodePcm(tone(4000, 8000, 440), 32, true)],
    ['mulaw', Uint8Array.from({ length: 4000 }, (_, i) => (i * 37) & 255)],
  ] as const;

  it.each(encodings)('%s at 8 kHz: the same bits at any chunking, also through a snapshot', (encoding, bytes) => {
    const format = { encoding, sampleRate: 8000, channels: 1 };
    const run = (pieces: Iterable<Uint8Array>, snapshotAt = -1) => {
      let decoder = new LiveDecoder(format);
      const out: number[] = [];
      let i = 0;
      for (const piece of pieces) {
        if (i++ === snapshotAt) decoder = LiveDecoder.restore(structuredClone(decoder.snapshot()));
        out.push(...(decoder.push(piece)[0] ?? []));
      }
      out.push(...(decoder.finish()[0] ?? []));
      return Float32Array.from(out);
    };
    const whole = run([bytes]);
    expect(whole).toHaveLength(8000);
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 6 }),
        fc.nat(40),
        (cuts, at) => {
          expect(run(cut(bytes, cuts), at)).toEqual(whole);
        },
      ),
      { numRuns: 25, seed: 3 },
    );
    expect(run(cut(bytes, [1]), 1001)).toEqual(whole);
  });

  it('refuses formats that cannot be', () => {
    for (const [sampleRate, channels] of [
      [0, 1],
      [768_000, 1],
      [16000, 64],
      [16000.5, 1],
      [Number.NaN, 1],
      [-8000, 1],
    ]) {
      expect(() => new LiveDecoder({ encoding: 'pcm_s16', sampleRate, channels })).toThrow(AdderError);
    }
  });
});
