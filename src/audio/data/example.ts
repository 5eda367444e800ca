import { type ExtractorOptions, extractAll } from '../features/index.js';
import { changeLabels } from '../hazard.js';
import { IGNORE, labelAhead } from '../metrics/transitions.js';
import type { Stream } from './compose.js';

/** Horizons of the speech probability in milliseconds; 0 is now. */
export const HORIZONS = [0, 50, 100, 200, 500, 1000] as const;

/** A stream as the encoder sees it, with everything it is trained to say. Frames are 10 ms; all arrays are plain data. */
export interface Example {
  frames: number;
  /** [frames, 83], see features/extractor.ts. */
  features: Float32Array;
  /** [frames, 80] natural log of mel energies: what the spectral outlook forecasts. */
  logMel: Float32Array;
  /** [frames, 6] speech at each of HORIZONS: 0, 1, or 255 where the stream has ended. */
  speech: Uint8Array;
  /** [frames] bin of the next change or bins survived, and whether it was seen; see hazard.ts. */
  changeBin: Uint8Array;
  changed: Uint8Array;
}

/**
 * Features and labels of a stream. Row i's features end with sample 160·(i+1); its label "now" is that of hop i, whose
 * middle lies 5 ms before. The dither seed varies with `index`, so noise is not learnt by position.
 */
export function toExample(
  stream: Pick<Stream, 'samples' | 'speech'>,
  index = 0,
  options: ExtractorOptions = {},
): Example {
  const { count: frames, features, logMel } = extractAll(stream.samples, { ditherSeed: index + 1, ...options });
  const now = stream.speech.subarray(0, frames);
  const speech = new Uint8Array(frames * HORIZONS.length).fill(IGNORE);
  HORIZONS.forEach((ms, h) => {
    const ahead = labelAhead(now, ms / 10);
    for (let t = 0; t < frames; t++) speech[t * HORIZONS.length + h] = ahead[t];
  });
  const { bin, changed } = changeLabels(now);
  return { frames, features, logMel, speech, changeBin: bin, changed };
}
