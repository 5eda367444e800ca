/** Whole recordings: long passes one after another, the state carried on, in memory that does not grow with the length. */
import { freeState, newState } from '../../engine/layers/layer.js';
import { FEATURES, FeatureExtractor, HOP } from '../features/index.js';
import type { SpeechModel } from './model.js';
import { Pass } from './pass.js';
import { type Pending, rowsToTracks } from './rows.js';
import { type SpeechTracks, TRACKS } from './tracks.js';

/** Rows of the longest pass: what fills a GPU, and what stays in a CPU's cache. */
const LONGEST = { webgpu: 32_768, wasm: 512, reference: 512 } as const;

export interface ScanOptions {
  /** Seconds of one embedding, the mean of the encoder's states over them; none by default. */
  embeddingSeconds?: number;
  /** Told after every pass how many rows are done. */
  onProgress?: (rows: number, total: number) => void;
  /** Asked before every pass; a scan that is stopped returns what it has. */
  stop?: () => boolean;
}

export interface Scan {
  tracks: SpeechTracks;
  /** [windows, dModel], the last window perhaps shorter. */
  embeddings?: Float32Array;
}

type Samples = ArrayLike<number> & { subarray(from: number, to: number): ArrayLike<number> };

/** All tracks of a recording, 16 kHz and full scale ±1: row i is what a live session gives when hop i ends. */
export async function scanRecording(model: SpeechModel, samples: Samples, options: ScanOptions = {}): Promise<Scan> {
  const [scan] = await scanChannels(model, [samples], options);
  return scan;
}

/** The same of several channels of equal lengths, side by side in the same passes; no channel hears another. */
export async function scanChannels(
  model: SpeechModel,
  channels: readonly Samples[],
  options: ScanOptions = {},
): Promise<Scan[]> {
  const { backend, network, config } = model;
  const total = Math.floor(channels[0].length / HOP);
  const longest = LONGEST[backend.name];
  const length = Math.min(longest, 2 ** Math.ceil(Math.log2(Math.max(16, total))));
  const state = newState(backend, network, channels.length);
  const pass = new Pass(model, channels.length, length, state);
  const window = options.embeddingSeconds && Math.round(options.embeddingSeconds * 100);
  const parts = channels.map((samples) => ({
    samples,
    extractor: new FeatureExtractor(),
    values: new Float32Array(total * TRACKS.length),
    means: window ? new WindowMeans(config.dModel, window) : undefined,
    pending: undefined as Pending | undefined,
  }));
  let done = 0;
  try {
    while (done < total && !options.stop?.()) {
      const count = Math.min(length, total - done);
      for (const [c, { samples, extractor }] of parts.entries()) {
        const { features } = extractor.push(samples.subarray(done * HOP, (done + count) * HOP));
        pass.features.set(features, c * length * FEATURES);
        // What is left of the pass before is not read, but must stay finite.
        pass.features.fill(0, (c * length + count) * FEATURES, (c + 1) * length * FEATURES);
      }
      pass.lengths.fill(count);
      const output = await pass.run(window !== undefined);
      for (const [c, part] of parts.entries()) {
        const rows = rowsToTracks(model, output, pass.features, { index: c, length, count }, part.pending);
        part.pending = rows.pending;
        part.values.set(rows.values, done * TRACKS.length);
        if (output.hidden) part.means?.add(output.hidden, c * length, count);
      }
      done += count;
      options.onProgress?.(done, total);
    }
  } finally {
    pass.free();
    freeState(backend, state);
  }
  return parts.map(({ values, means }) => ({
    tracks: { first: 0, count: done, values: values.subarray(0, done * TRACKS.length) },
    ...(means ? { embeddings: means.finish() } : {}),
  }));
}

/** Means of consecutive windows of rows. */
class WindowMeans {
  private readonly out: number[] = [];
  private sum: Float64Array;
  private rows = 0;

  constructor(
    private readonly width: number,
    private readonly window: number,
  ) {
    this.sum = new Float64Array(width);
  }

  /** Takes `count` rows from row `first` on. */
  add(hidden: ArrayLike<number>, first: number, count: number): void {
    for (let i = first; i < first + count; i++) {
      for (let c = 0; c < this.width; c++) this.sum[c] += hidden[i * this.width + c];
      if (++this.rows === this.window) this.flush();
    }
  }

  finish(): Float32Array {
    if (this.rows > 0) this.flush();
    return Float32Array.from(this.out);
  }

  private flush(): void {
    for (const v of this.sum) this.out.push(v / this.rows);
    this.sum = new Float64Array(this.width);
    this.rows = 0;
  }
}
