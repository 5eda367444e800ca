/** Whether the speech model's probabilities come true: expected calibration errors, on recordings and on composed streams. */
import { Composer } from '../../src/audio/data/compose.js';
import type { Library } from '../../src/audio/data/pack.js';
import type { TurnStatistics } from '../../src/audio/data/turns.js';
import { calibration, changeWithin, labelAhead } from '../../src/audio/metrics/index.js';
import { type SpeechModel, scanRecording, type TrackName, trackOf } from '../../src/audio/model/index.js';

/** Seed of the streams: neither training's nor calibration's. */
const SEED = 31_000;

export interface Heard {
  samples: Float32Array;
  /** One label a 10 ms frame. */
  labels: Uint8Array;
}

/** Composed streams of speakers and noises held out. */
export function heldOutStreams(library: Library, turns: TurnStatistics, count: number): Heard[] {
  const composer = new Composer(library, turns, { seed: SEED, noise: 'heldOut' });
  return Array.from({ length: count }, (_, i) => {
    const { samples, speech } = composer.compose(i);
    return { samples, labels: speech };
  });
}

/** Expected calibration error (15 bins) of every probability track; ends are asked while speaking, starts in silence. */
export async function calibrationErrors(model: SpeechModel, heard: readonly Heard[]): Promise<Record<string, number>> {
  const said = new Map<string, number[]>();
  const came = new Map<string, number[]>();
  for (const { samples, labels } of heard) {
    const { tracks } = await scanRecording(model, samples);
    const add = (name: TrackName, truth: Uint8Array) => {
      const values = trackOf(tracks, name);
      if (!said.has(name)) {
        said.set(name, []);
        came.set(name, []);
      }
      for (let t = 0; t < Math.min(values.length, truth.length); t++) {
        said.get(name)!.push(values[t]);
        came.get(name)!.push(truth[t]);
      }
    };
    add('speech', labels);
    for (const ms of [50, 100, 200, 500, 1000] as const) add(`speech_${ms}`, labelAhead(labels, ms / 10));
    for (const ms of [100, 200, 500] as const) {
      add(`end_${ms}`, changeWithin(labels, 1, ms / 10));
      add(`start_${ms}`, changeWithin(labels, 0, ms / 10));
    }
  }
  return Object.fromEntries([...said].map(([name, p]) => [name, calibration(p, came.get(name)!).error]));
}
