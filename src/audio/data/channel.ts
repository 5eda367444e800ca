/** What lies between a mouth and the wire: rooms and codecs. All keep the signal's timing. */
import OpusScript from 'opusscript';
import type { Random } from '../../engine/random.js';
import { decodeTable, encodeSample, type Law } from '../decode/g711.js';
import { Resampler } from '../decode/resample.js';

const RATE = 16_000;

export interface RoomResponse {
  /** Delays in samples, ascending; the first is the direct path at 0 with gain 1. */
  delays: Int32Array;
  gains: Float32Array;
}

/**
 * A synthetic room: the direct path and a tail of sparse ±1 pulses under an exponential decay ("velvet noise",
 * Karjalainen & Järveläinen 2007). It sounds like Gaussian reverberation and convolves at a tenth of the cost.
 *
 * @param decay seconds until the tail has fallen by 60 dB
 * @param tailLevel energy of the tail relative to the direct path, in dB
 */
export function roomResponse(decay: number, tailLevel: number, random: Random): RoomResponse {
  const spacing = 32;
  const count = Math.max(1, Math.floor((decay * RATE) / spacing));
  const delays = new Int32Array(count + 1);
  const gains = new Float32Array(count + 1);
  gains[0] = 1;
  let energy = 0;
  for (let k = 0; k < count; k++) {
    // Early reflections keep 2 ms of distance from the direct sound.
    const delay = 32 + k * spacing + random.integer(spacing);
    delays[k + 1] = delay;
    gains[k + 1] = (random.integer(2) === 0 ? -1 : 1) * 10 ** ((-3 * delay) / (decay * RATE));
    energy += gains[k + 1] ** 2;
  }
  const scale = Math.sqrt(10 ** (tailLevel / 10) / energy);
  for (let k = 1; k <= count; k++) gains[k] *= scale;
  return { delays, gains };
}

/** Adds `samples` through the room into `out` from position `at`; what falls outside is lost. */
export function addThroughRoom(
  out: Float32Array,
  at: number,
  samples: Float32Array,
  gain: number,
  room?: RoomResponse,
): void {
  const delays = room?.delays ?? DIRECT.delays;
  const gains = room?.gains ?? DIRECT.gains;
  for (let k = 0; k < delays.length; k++) {
    const from = at + delays[k];
    const g = gain * gains[k];
    const first = Math.max(0, -from);
    const end = Math.min(samples.length, out.length - from);
    for (let i = first; i < end; i++) out[from + i] += g * samples[i];
  }
}

const DIRECT: RoomResponse = { delays: Int32Array.of(0), gains: Float32Array.of(1) };

/** Odd-length linear-phase low-pass (windowed sinc, Blackman) for telephone bands: −6 dB at 3.5 kHz. */
const TELEPHONE = (() => {
  const half = 48;
  const cut = 3500 / RATE;
  const taps = Float64Array.from({ length: 2 * half + 1 }, (_, i) => {
    const t = i - half;
    const sinc = t === 0 ? 2 * cut : Math.sin(2 * Math.PI * cut * t) / (Math.PI * t);
    const phase = (Math.PI * (i + 1)) / (half + 1);
    return sinc * (0.42 - 0.5 * Math.cos(phase) + 0.08 * Math.cos(2 * phase));
  });
  const sum = taps.reduce((s, v) => s + v, 0);
  return taps.map((v) => v / sum);
})();

/** Down to 8 kHz through the telephone low-pass and back, optionally coded in G.711 between. `loadResampler` first. */
export function narrowBand(samples: Float32Array, law?: Law): Float32Array {
  const half = (TELEPHONE.length - 1) / 2;
  const low = new Float32Array(Math.ceil(samples.length / 2));
  const table = law ? decodeTable(law) : undefined;
  for (let j = 0; j < low.length; j++) {
    let sum = 0;
    const from = 2 * j - half;
    const first = Math.max(0, -from);
    const end = Math.min(TELEPHONE.length, samples.length - from);
    for (let k = first; k < end; k++) sum += TELEPHONE[k] * samples[from + k];
    low[j] = table ? table[encodeSample(law!, sum)] : sum;
  }
  const resampler = new Resampler(8000);
  const out = new Float32Array(samples.length);
  const first = resampler.push(low);
  out.set(first.subarray(0, out.length));
  const rest = resampler.finish();
  if (first.length < out.length) out.set(rest.subarray(0, out.length - first.length), first.length);
  return out;
}

/** Samples that libopus at 16 kHz is late by in its VOIP mode: 6.5 ms of look-ahead and 2.2 ms of its own resampling. */
const OPUS_DELAY = 139;
const OPUS_SET_COMPLEXITY = 4010;

/** Through Opus at `bitrate` bits a second in frames of 20 ms, the codec's delay taken out. */
export function opusRoundTrip(samples: Float32Array, bitrate: number): Float32Array {
  const codec = new OpusScript(RATE, 1, OpusScript.Application.VOIP);
  try {
    codec.setBitrate(bitrate);
    codec.encoderCTL(OPUS_SET_COMPLEXITY, 2);
    const frame = 320;
    const frames = Math.ceil((samples.length + OPUS_DELAY) / frame);
    const out = new Float32Array(samples.length);
    const pcm = new Int16Array(frame);
    for (let f = 0; f < frames; f++) {
      for (let i = 0; i < frame; i++) {
        const x = samples[f * frame + i] ?? 0;
        pcm[i] = Math.max(-32768, Math.min(32767, Math.round(x * 32767)));
      }
      const decoded = codec.decode(codec.encode(Buffer.from(pcm.buffer), frame));
      for (let i = 0; i < frame; i++) {
        const at = f * frame + i - OPUS_DELAY;
        if (at >= 0 && at < out.length) out[at] = decoded.readInt16LE(2 * i) / 32768;
      }
    }
    return out;
  } finally {
    codec.delete();
  }
}
