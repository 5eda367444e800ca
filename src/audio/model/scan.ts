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

/** All tracks of a recording, 16 kHz and full scale ±1: row i is what a live session gives when hop i ends. */
export async function scanRecording(
  model: SpeechModel,
  samples: ArrayLike<number> & { subarray(from: number, to: number): ArrayLike<number> },
  options: ScanOptions = {},
): Promise<Scan> {
  const { backend, network, config } = model;
  const total = Math.floor(samples.length / HOP);
  const longest = LONGEST[backend.name];
  const length = Math.min(longest, 2 ** Math.ceil(Math.log2(Math.max(16, total))));
  const state = newState(backend, network, 1);
  const pass = new Pass(model, 1, length, state);
  const extractor = new FeatureExtractor();
  const values = new Float32Array(total * TRACKS.length);
  const means = options.embeddingSeconds && new WindowMeans(config.dModel, Math.round(options.embeddingSeconds * 100));
  let pending: Pending | undefined;
  let done = 0;
  try {
    while (done < total && !options.stop?.()) {
      const count = Math.min(length, total - done);
      const { features } = extractor.push(samples.subarray(done * HOP, (done + count) * HOP));
      pass.features.set(features);
      // What is left of the pass before is not read, but must stay finite.
      pass.features.fill(0, count * FEATURES);
      pass.lengths[0] = count;
      const output = await pass.run(means !== undefined);
      const rows = rowsToTracks(model, output, pass.features, { index: 0, length, count }, pending);
      pending = rows.pending;
      values.set(rows.values, done * TRACKS.length);
      if (means && output.hidden) means.add(output.hidden, count);
      done += count;
      options.onProgress?.(done, total);
    }
  } finally {
    pass.free();
    freeState(backend, state);
  }
  const tracks = { first: 0, count: done, values: values.subarray(0, done * TRACKS.length) };
  return { tracks, ...(means ? { embeddings: means.finish() } : {}) };
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

  add(hidden: ArrayLike<number>, count: number): void {
    for (let i = 0; i < count; i++) {
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
