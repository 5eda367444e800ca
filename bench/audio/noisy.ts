/** The same recordings under noise that training never hears: one kind a recording, in turn, at one signal-to-noise ratio. */
import { HELD_OUT_NOISE, HELD_OUT_ROOM, proceduralNoise } from '../../src/audio/data/noise.js';
import { clipSamples, type Library } from '../../src/audio/data/pack.js';
import { Random } from '../../src/engine/random.js';
import { FRAME, type Recording } from './protocol.js';

/** @param snr dB between the speech frames' power and the noise's */
export function underNoise(recordings: readonly Recording[], noise: Library['noise'], snr: number): Recording[] {
  const rooms = noise.flatMap((pack) =>
    pack.clips.filter((clip) => HELD_OUT_ROOM.includes(clip.name)).map((clip) => clipSamples(pack, clip)),
  );
  const kinds = [...rooms, ...HELD_OUT_NOISE];
  return recordings.map(({ name, samples, labels }, i) => {
    const kind = kinds[i % kinds.length];
    const random = new Random(100 + i);
    const { length } = samples;
    const added =
      typeof kind === 'string'
        ? proceduralNoise(kind, length, random)
        : Float32Array.from({ length }, (_, n) => kind[n % kind.length]);
    let speech = 0;
    let frames = 0;
    labels.forEach((label, t) => {
      if (!label) return;
      speech += power(samples.subarray(t * FRAME, (t + 1) * FRAME));
      frames++;
    });
    const gain = Math.sqrt(speech / frames / power(added) / 10 ** (snr / 10));
    // Below full scale, as a recorder with automatic gain would keep it.
    let peak = 1;
    const mixed = samples.map((v, n) => {
      const sum = v + gain * added[n];
      peak = Math.max(peak, Math.abs(sum));
      return sum;
    });
    return { name, labels, samples: mixed.map((v) => v / peak) };
  });
}

function power(x: Float32Array): number {
  return x.reduce((sum, v) => sum + v * v, 0) / x.length;
}
