/** Procedural noise, 16 kHz, root mean square 1 unless silent. Every kind is a function of its random stream alone. */
import type { Random } from '../../engine/random.js';

export type NoiseKind = 'white' | 'pink' | 'hum' | 'fan' | 'clicks';
/** Kinds that training never uses, so that evaluation hears something new. */
export type HeldOutKind = 'rain' | 'engine' | 'typing' | 'ringback' | 'wind';

export const TRAINING_NOISE: readonly NoiseKind[] = ['white', 'pink', 'hum', 'fan', 'clicks'];
export const HELD_OUT_NOISE: readonly HeldOutKind[] = ['rain', 'engine', 'typing', 'ringback', 'wind'];
/** Clips of the room pack that training never uses. */
export const HELD_OUT_ROOM: readonly string[] = ['doing_the_dishes'];

const RATE = 16_000;

export function proceduralNoise(kind: NoiseKind | HeldOutKind, length: number, random: Random): Float32Array {
  const out = new Float32Array(length);
  MAKERS[kind](out, random);
  return unitLevel(out);
}

/** Scaled to root mean square 1; silence stays silence. */
export function unitLevel(x: Float32Array): Float32Array {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] * x[i];
  const level = Math.sqrt(sum / x.length);
  if (level > 0) for (let i = 0; i < x.length; i++) x[i] /= level;
  return x;
}

function white(out: Float32Array, random: Random): void {
  for (let i = 0; i < out.length; i++) out[i] = random.uniform(-1, 1);
}

/** A sum of first-order low-passes an octave and a half apart falls by 3 dB an octave. */
function pink(out: Float32Array, random: Random): void {
  const poles = [0.9982, 0.995, 0.986, 0.96, 0.89, 0.7, 0.3];
  const state = new Float64Array(poles.length);
  for (let i = 0; i < out.length; i++) {
    const w = random.uniform(-1, 1);
    let sum = 0.1 * w;
    for (let k = 0; k < poles.length; k++) {
      state[k] = poles[k] * state[k] + Math.sqrt(1 - poles[k] * poles[k]) * w;
      sum += state[k];
    }
    out[i] = sum;
  }
}

/** Mains hum: 50 or 60 Hz with harmonics of falling strength. */
function hum(out: Float32Array, random: Random): void {
  const base = (random.integer(2) === 0 ? 50 : 60) * random.uniform(0.995, 1.005);
  addHarmonics(out, random, () => base, 12, 0.8);
}

function addHarmonics(
  out: Float32Array,
  random: Random,
  frequency: (i: number) => number,
  count: number,
  fall: number,
): void {
  const parts = Array.from({ length: count }, (_, h) => ({
    gain: fall ** h * random.uniform(0.3, 1),
    phase: random.uniform(0, 2 * Math.PI),
    multiple: h + 1,
  }));
  let angle = 0;
  for (let i = 0; i < out.length; i++) {
    angle += (2 * Math.PI * frequency(i)) / RATE;
    let sum = 0;
    for (const p of parts) sum += p.gain * Math.sin(p.multiple * angle + p.phase);
    out[i] += sum;
  }
}

/** Broad noise under a low-pass, breathing with the blades. */
function fan(out: Float32Array, random: Random): void {
  const pole = random.uniform(0.85, 0.98);
  const blade = (2 * Math.PI * random.uniform(4, 30)) / RATE;
  const depth = random.uniform(0, 0.4);
  let state = 0;
  for (let i = 0; i < out.length; i++) {
    state = pole * state + (1 - pole) * random.uniform(-1, 1);
    out[i] = state * (1 + depth * Math.sin(blade * i));
  }
}

/** Decaying resonances at random times. */
function clicks(out: Float32Array, random: Random): void {
  const rate = random.uniform(0.5, 6);
  bursts(out, random, rate, 0.002, 0.03, 300, 5000);
}

function bursts(
  out: Float32Array,
  random: Random,
  perSecond: number,
  shortest: number,
  longest: number,
  low: number,
  high: number,
): void {
  for (let at = 0; ; ) {
    at += Math.max(1, Math.round((-Math.log(1 - random.uniform()) / perSecond) * RATE));
    if (at >= out.length) return;
    const decay = Math.exp(-1 / (random.uniform(shortest, longest) * RATE));
    const omega = (2 * Math.PI * low * (high / low) ** random.uniform()) / RATE;
    const toneShare = random.uniform(0, 0.8);
    let gain = random.uniform(0.2, 1);
    for (let i = at; i < out.length && gain > 1e-3; i++, gain *= decay) {
      out[i] += gain * (toneShare * Math.sin(omega * (i - at)) + (1 - toneShare) * random.uniform(-1, 1));
    }
  }
}

function rain(out: Float32Array, random: Random): void {
  white(out, random);
  for (let i = 0; i < out.length; i++) out[i] *= 0.15;
  bursts(out, random, 250, 0.0005, 0.004, 1500, 7000);
}

/** A motor whose speed wanders. */
function engine(out: Float32Array, random: Random): void {
  let speed = random.uniform(40, 120);
  const home = speed;
  addHarmonics(
    out,
    random,
    () => {
      speed += random.uniform(-0.02, 0.02) + (home - speed) * 1e-5;
      return speed;
    },
    24,
    0.9,
  );
}

/** Keys in words: fast bursts with rests. */
function typing(out: Float32Array, random: Random): void {
  for (let at = 0; at < out.length; ) {
    const end = Math.min(out.length, at + Math.round(random.uniform(0.5, 3) * RATE));
    bursts(out.subarray(at, end), random, 8, 0.003, 0.012, 1200, 6000);
    at = end + Math.round(random.uniform(0.1, 1.5) * RATE);
  }
}

/** The tone of a line that rings: two sines, on and off. */
function ringback(out: Float32Array, random: Random): void {
  const [a, b] = random.integer(2) === 0 ? [440, 480] : [425, 425];
  const on = random.uniform(0.8, 2) * RATE;
  const period = on + random.uniform(1, 3) * RATE;
  const start = random.uniform(0, period);
  for (let i = 0; i < out.length; i++) {
    if ((i + start) % period >= on) continue;
    out[i] = Math.sin((2 * Math.PI * a * i) / RATE) + Math.sin((2 * Math.PI * b * i) / RATE);
  }
}

/** Low noise whose strength follows slow gusts. */
function wind(out: Float32Array, random: Random): void {
  let low = 0;
  let gust = 0;
  let target = random.uniform(0, 1);
  for (let i = 0; i < out.length; i++) {
    if (i % 4000 === 0) target = random.uniform(0, 1) ** 2;
    gust += (target - gust) * 2e-4;
    low = 0.985 * low + 0.015 * random.uniform(-1, 1);
    out[i] = low * gust;
  }
}

const MAKERS: Record<NoiseKind | HeldOutKind, (out: Float32Array, random: Random) => void> = {
  white,
  pink,
  hum,
  fan,
  clicks,
  rain,
  engine,
  typing,
  ringback,
  wind,
};
