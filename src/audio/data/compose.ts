/**
 * Streams to learn from: clips of one or two voices placed with the gaps, overlaps and back-channels of real calls, in
 * rooms, under noise, through codecs. Labels come from the clean side: from where the clips say there is speech.
 *
 * Stream `index` of a seed is a pure function of both, of the library and of the options: any worker can make any stream.
 */
import { Random } from '../../engine/random.js';
import { activity } from './annotations.js';
import { SPEECH_PACKS } from './catalogue.js';
import { addThroughRoom, narrowBand, opusRoundTrip, type RoomResponse, roomResponse } from './channel.js';
import { HELD_OUT_NOISE, HELD_OUT_ROOM, proceduralNoise, TRAINING_NOISE, unitLevel } from './noise.js';
import { type Clip, clipSamples, type Library, type Pack } from './pack.js';
import type { TurnStatistics } from './turns.js';

/** Root mean square of active speech before the final gain: −26 dBFS, the usual level of clean speech. */
const SPEECH_LEVEL = 10 ** (-26 / 20);
/** Range of playing speeds. */
const SPEEDS = [0.8, 1.25] as const;

export interface ComposeOptions {
  seed: number;
  /** Seconds. Default 20 to 30. */
  seconds?: [number, number];
  /** `training`, or `heldOut`: noise kinds that training never hears. Default training. */
  noise?: 'training' | 'heldOut' | 'none';
  /** Fixed signal-to-noise ratio in dB; drawn from −5 … 35 when absent. */
  snr?: number;
  /** Shares of streams with reverberation and with a codec. Defaults 0.5 and 0.3. */
  reverbShare?: number;
  codecShare?: number;
  /** Gain range in dB. Default −35 … +3. */
  gain?: [number, number];
  /** Also return the clean side (dry speech, no gain), for a teacher. */
  clean?: boolean;
}

export interface Stream {
  /** 16 kHz, full scale ±1, clipped like a converter would. */
  samples: Float32Array;
  /** One 0/1 label a frame of 10 ms: any voice speaks. */
  speech: Uint8Array;
  /** The same for each of the two voices. */
  voices: [Uint8Array, Uint8Array];
  clean?: Float32Array;
  /** What was drawn, for listening and for tables. */
  description: { noise: string; snr: number; gain: number; reverb: number; codec: string; speechShare: number };
}

/** Makes streams; indexes the library once. `loadResampler` must have been awaited. */
export class Composer {
  private readonly voices: { pack: Pack; clips: Clip[] }[] = [];
  /** Sum of the shares of voices 0 … i. */
  private readonly shares: number[] = [];
  private readonly rooms: { pack: Pack; clip: Clip; heldOut: boolean }[] = [];

  constructor(
    library: Library,
    private readonly turns: TurnStatistics,
    private readonly options: ComposeOptions,
  ) {
    for (const pack of library.speech) {
      const bySpeaker = new Map<string, Clip[]>();
      for (const clip of pack.clips) {
        if (clip.segments.length === 0) continue;
        const clips = bySpeaker.get(clip.speaker);
        if (clips) clips.push(clip);
        else bySpeaker.set(clip.speaker, [clip]);
      }
      // Where speakers are unknown the pack is one "voice" of many people: turns may then change voice in mid-talk.
      for (const clips of bySpeaker.values()) {
        this.voices.push({ pack, clips });
        this.shares.push((this.shares.at(-1) ?? 0) + packShare(pack) / bySpeaker.size);
      }
    }
    for (const pack of library.noise) {
      for (const clip of pack.clips) this.rooms.push({ pack, clip, heldOut: HELD_OUT_ROOM.includes(clip.name) });
    }
    if (this.voices.length === 0) throw new RangeError('the library has no clip with speech');
  }

  compose(index: number): Stream {
    const { seed, seconds = [20, 30], gain: gainRange = [-35, 3], reverbShare = 0.5, codecShare = 0.3 } = this.options;
    const random = new Random(Math.imul(seed | 0, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b));
    const length = Math.round(random.uniform(...seconds) * 100) * 160;
    const reverb = random.uniform() < reverbShare ? random.uniform(0.05, 0.4) : 0;
    const room = () => (reverb > 0 ? roomResponse(reverb, random.uniform(-14, 0), random) : undefined);
    const rooms: [RoomResponse | undefined, RoomResponse | undefined] = [room(), room()];
    const wet = new Float32Array(length);
    const clean = this.options.clean ? new Float32Array(length) : undefined;
    const segments = this.talk(random, length, (side, samples, at, gain) => {
      addThroughRoom(wet, at, samples, gain, rooms[side]);
      if (clean) addThroughRoom(clean, at, samples, gain);
    });
    const frames = length / 160;
    const voices = segments.map((s) => activity(s, frames)) as [Uint8Array, Uint8Array];
    const speech = voices[0].map((v, i) => v | voices[1][i]);
    const snr = this.options.snr ?? random.uniform(-5, 35);
    const noise = this.addNoise(random, wet, snr);
    const gain = random.uniform(...gainRange);
    const scale = 10 ** (gain / 20);
    for (let i = 0; i < length; i++) wet[i] *= scale;
    const coded = random.uniform() < codecShare ? coding(random, wet) : { samples: wet, name: 'none' };
    addFloor(random, coded.samples);
    const speechShare = speech.reduce((s, v) => s + v, 0) / frames;
    const description = { noise, snr, gain, reverb, codec: coded.name, speechShare };
    return { samples: coded.samples, speech, voices, ...(clean ? { clean } : {}), description };
  }

  /** Places clips; returns the speech of both sides in milliseconds. */
  private talk(
    random: Random,
    length: number,
    place: (side: 0 | 1, samples: Float32Array, at: number, gain: number) => void,
  ): [{ from: number; to: number }[], { from: number; to: number }[]] {
    const segments: [{ from: number; to: number }[], { from: number; to: number }[]] = [[], []];
    // One stream in 30 has no speech at all: rooms without people are common, and easy to forget in training.
    if (random.uniform() < 1 / 30) return segments;
    const { pauses, gaps, backchannelAfter } = this.turns;
    const voice = () => {
      const index = this.drawVoice(random);
      // Few people made the recordings: most voices speak faster and higher, or slower and lower.
      const speed = random.uniform() < 0.8 ? random.uniform(...SPEEDS) : 1;
      return { index, speed, gain: 10 ** (random.uniform(-9, 5) / 20) };
    };
    const pair = [voice(), voice()];
    const changes = random.uniform() < 0.6 ? gaps.length / (gaps.length + pauses.length) : 0;
    const endMs = length / 16;
    const put = (side: 0 | 1, clip: Clip, speechFrom: number, scale: number): number => {
      const { index, speed, gain } = pair[side];
      const start = speechFrom - clip.segments[0][0] / speed;
      const pack = this.voices[index].pack;
      const samples = faded(atSpeed(clipSamples(pack, clip), speed));
      place(side, samples, Math.round(start * 16), (gain * scale * SPEECH_LEVEL) / speechLevel(pack, clip));
      for (const [from, to] of clip.segments)
        segments[side].push({ from: start + from / speed, to: start + to / speed });
      return start + clip.segments[clip.segments.length - 1][1] / speed;
    };
    let side = random.integer(2) as 0 | 1;
    let now = random.uniform() < 0.2 ? random.uniform(1000, 6000) : random.uniform(50, 1500);
    while (now < endMs) {
      const { clips } = this.voices[pair[side].index];
      const start = now;
      now = put(side, partOf(clips[random.integer(clips.length)], random), start, 1);
      if (changes > 0 && now - start > 1500 && random.uniform() < 0.2) {
        const other = this.voices[pair[1 - side].index].clips;
        const short = other[random.integer(other.length)];
        const after = backchannelAfter.length > 0 ? backchannelAfter[random.integer(backchannelAfter.length)] : 800;
        const spoken = short.segments[short.segments.length - 1][1] - short.segments[0][0];
        if (spoken / pair[1 - side].speed <= 900 && after < now - start)
          put((1 - side) as 0 | 1, short, start + after, 0.7);
      }
      if (random.uniform() < changes) {
        side = (1 - side) as 0 | 1;
        // An overlap must not begin before the clip it overlaps.
        now = Math.max(start + 200, now + gaps[random.integer(gaps.length)]);
      } else now += pauses.length > 0 ? pauses[random.integer(pauses.length)] : random.uniform(100, 1500);
    }
    return segments;
  }

  /** A voice by its share: packs by their weight, voices of a pack alike. */
  private drawVoice(random: Random): number {
    const at = random.uniform() * this.shares[this.shares.length - 1];
    let [low, high] = [0, this.shares.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.shares[middle] > at) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  private addNoise(random: Random, into: Float32Array, snr: number): string {
    const { noise: mode = 'training' } = this.options;
    if (mode === 'none') return 'none';
    const heldOut = mode === 'heldOut';
    const recorded = this.rooms.filter((r) => r.heldOut === heldOut);
    const draw = random.uniform();
    let name: string;
    let noise: Float32Array;
    if (!heldOut && draw < 0.15) return 'none';
    if (recorded.length > 0 && draw < 0.55) {
      const { pack, clip } = recorded[random.integer(recorded.length)];
      name = `${pack.name}/${clip.name}`;
      noise = looped(clipSamples(pack, clip), into.length, random);
    } else if (!heldOut && draw < 0.65) {
      name = 'babble';
      noise = this.babble(random, into.length);
    } else {
      const kinds = heldOut ? HELD_OUT_NOISE : TRAINING_NOISE;
      name = kinds[random.integer(kinds.length)];
      noise = proceduralNoise(name as (typeof kinds)[number], into.length, random);
    }
    // Far voices are nobody's turn: they stay at least 15 dB under the near ones, where they are labelled silence.
    const level = SPEECH_LEVEL * 10 ** (-(name === 'babble' ? Math.max(15, snr) : snr) / 20);
    unitLevel(noise);
    for (let i = 0; i < into.length; i++) into[i] += level * noise[i];
    return name;
  }

  /** Five to eight voices at once, without order. */
  private babble(random: Random, length: number): Float32Array {
    const out = new Float32Array(length);
    const count = 5 + random.integer(4);
    for (let v = 0; v < count; v++) {
      for (let at = -random.integer(16000); at < length; ) {
        const { pack, clips } = this.voices[this.drawVoice(random)];
        const clip = clips[random.integer(clips.length)];
        addThroughRoom(out, at, clipSamples(pack, clip), 1 / speechLevel(pack, clip));
        at += clip.length;
      }
    }
    return out;
  }
}

/**
 * Weight of a pack: the root of its length, so that large ones do not drown small ones, and double for sentences. Packs of
 * single words have a hundred times more speakers, but live talk is not single words.
 */
function packShare({ name, clips }: Pack): number {
  const seconds = clips.reduce((sum, clip) => sum + clip.length, 0) / 16_000;
  return Math.sqrt(seconds) * (SPEECH_PACKS.find((p) => p.name === name)?.sentences ? 2 : 1);
}

/** Half a pause around a part of a clip, at most, in milliseconds. */
const MARGIN = 60;

/**
 * A part of a clip between two of its pauses, or, for every fourth clip, wherever a word may be: what is said in a clip must
 * not tell when it ends.
 */
export function partOf(clip: Clip, random: Random): Clip {
  const { segments, offset, length } = clip;
  const cutting = random.uniform();
  if (cutting < 0.4) return clip;
  const first = random.integer(segments.length);
  const last = first + random.integer(segments.length - first);
  let from =
    first === 0 ? 0 : Math.max(0, segments[first][0] - MARGIN, (segments[first][0] + segments[first - 1][1]) / 2);
  let to = length / 16;
  if (last + 1 < segments.length)
    to = Math.min(segments[last][1] + MARGIN, (segments[last][1] + segments[last + 1][0]) / 2);
  if (cutting > 0.75) {
    const spoken = segments[last][1] - segments[first][0];
    if (spoken > 600) {
      if (random.uniform() < 0.5) from = segments[first][0] + random.uniform(0, 0.5 * spoken);
      if (random.uniform() < 0.7) to = segments[last][1] - random.uniform(0, 0.4 * spoken);
    }
  }
  const inside = segments
    .map(([a, b]) => [Math.max(a, from) - from, Math.min(b, to) - from] as const)
    .filter(([a, b]) => b > a);
  const start = Math.round(from * 16);
  const end = Math.min(length, Math.round(to * 16));
  if (inside.length === 0 || end - start < 1600) return clip;
  return { ...clip, offset: offset + start, length: end - start, segments: inside };
}

/** Played `speed` times as fast, pitch and all: cubic interpolation (Catmull & Rom 1974). */
function atSpeed(samples: Float32Array, speed: number): Float32Array {
  if (speed === 1) return samples;
  const out = new Float32Array(Math.floor(samples.length / speed));
  const last = samples.length - 1;
  for (let i = 0; i < out.length; i++) {
    const x = i * speed;
    const k = Math.floor(x);
    const t = x - k;
    const [a, b, c, d] = [
      samples[k > 0 ? k - 1 : 0],
      samples[k],
      samples[k < last ? k + 1 : last],
      samples[k + 2 < last ? k + 2 : last],
    ];
    out[i] = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
  }
  return out;
}

/** Root mean square of a clip over its speech, at least −60 dBFS, so that no gain explodes. */
function speechLevel(pack: Pack, clip: Clip): number {
  let sum = 0;
  let count = 0;
  for (const [from, to] of clip.segments) {
    const end = Math.min(clip.length, Math.round(to * 16));
    for (let i = Math.round(from * 16); i < end; i += 4) {
      sum += (pack.samples[clip.offset + i] / 32768) ** 2;
      count++;
    }
  }
  return Math.max(1e-3, Math.sqrt(sum / Math.max(1, count)));
}

/** 10 ms ramps at both ends: a paste must not click. */
function faded(samples: Float32Array): Float32Array {
  const ramp = Math.min(160, samples.length >> 1);
  for (let i = 0; i < ramp; i++) {
    samples[i] *= i / ramp;
    samples[samples.length - 1 - i] *= i / ramp;
  }
  return samples;
}

/** A recording from a random place, repeated until it is long enough, with 20 ms cross-fades. */
function looped(samples: Float32Array, length: number, random: Random): Float32Array {
  const out = new Float32Array(length);
  const fade = Math.min(320, samples.length >> 2);
  for (let at = -random.integer(samples.length); at < length; at += samples.length - fade) {
    for (let i = Math.max(0, -at); i < samples.length && at + i < length; i++) {
      const edge = Math.min(1, i / fade, (samples.length - 1 - i) / fade);
      out[at + i] += samples[i] * edge;
    }
  }
  return out;
}

function coding(random: Random, samples: Float32Array): { samples: Float32Array; name: string } {
  const draw = random.uniform();
  if (draw < 0.3) return { samples: narrowBand(samples, 'mulaw'), name: 'G.711 µ-law' };
  if (draw < 0.6) return { samples: narrowBand(samples, 'alaw'), name: 'G.711 A-law' };
  if (draw < 0.8) return { samples: narrowBand(samples), name: '8 kHz' };
  const bitrate = 1000 * (9 + random.integer(20));
  return { samples: opusRoundTrip(samples, bitrate), name: `Opus ${bitrate / 1000} kbit/s` };
}

/** Every stream has a noise floor, −85 … −60 dBFS: digital zero would tell the model where clips were pasted. */
function addFloor(random: Random, samples: Float32Array): void {
  const floor = proceduralNoise(random.integer(2) === 0 ? 'white' : 'pink', samples.length, random);
  const level = 10 ** (random.uniform(-85, -60) / 20);
  for (let i = 0; i < samples.length; i++) {
    const value = samples[i] + level * floor[i];
    samples[i] = value > 1 ? 1 : value < -1 ? -1 : value;
  }
}
