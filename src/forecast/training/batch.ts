/**
 * Batches: the numbers of one optimiser step in shared memory, filled shard by shard.
 *
 * A batch has parts (long and short windows), a part has shards of `SHARD_TOKENS` tokens or so, and a shard is filled
 * from the random stream (seed, step, part, shard): the same whoever fills it, in whatever order.
 */
import { candidateCount, FeatureState, featureCount, type TokenShape } from '../model/features.js';
import { type Corpus, SeriesSampler } from './corpus.js';
import { Random } from './random.js';
import { Synthesiser } from './synthesis.js';
import { type WindowOptions, WindowSampler } from './windows.js';

/** One part of every batch; `windows` sequences of `length / patch` tokens. */
export interface PartOptions extends WindowOptions, TokenShape {
  patch: number;
  windows: number;
  /** How series are weighted, see SeriesSampler. */
  weighting: 'long' | 'short';
  /** Series with fewer values are left out. */
  shortestSeries: number;
}

const SHARD_TOKENS = 1536;

/** Tensors of one part, all in SharedArrayBuffers; T = windows × tokens. */
export interface PartBuffers {
  /** [T, featureCount] */
  features: Float32Array;
  /** [T, patch·candidates] */
  candidates: Float32Array;
  /** [T, patch]: the next patch in units of the token. */
  target: Float32Array;
  /** [T, patch]: 1 where there is a target to be judged by, else 0. */
  weights: Float32Array;
  /** [windows] */
  lengths: Int32Array;
  /** [T] frequency class of the token's series. */
  frequency: Int32Array;
  /** [shards] targets with weight 1. */
  counts: Int32Array;
}

export function tokensOf(part: PartOptions): number {
  return part.length / part.patch;
}

/** Windows in one shard and shards in a part. */
export function shardsOf(part: PartOptions): { windows: number; shards: number } {
  const windows = Math.max(1, Math.min(part.windows, Math.round(SHARD_TOKENS / tokensOf(part))));
  return { windows, shards: Math.ceil(part.windows / windows) };
}

export function allocatePart(part: PartOptions): PartBuffers {
  const total = part.windows * tokensOf(part);
  const floats = (n: number) => new Float32Array(new SharedArrayBuffer(4 * n));
  const integers = (n: number) => new Int32Array(new SharedArrayBuffer(4 * n));
  return {
    features: floats(total * featureCount(part)),
    candidates: floats(total * part.patch * candidateCount(part)),
    target: floats(total * part.patch),
    weights: floats(total * part.patch),
    lengths: integers(part.windows),
    frequency: integers(total),
    counts: integers(shardsOf(part).shards),
  };
}

export interface BatchOptions {
  seed: number;
  parts: PartOptions[];
  /** Draw from the held-out series instead of the others. */
  validation: boolean;
}

/** Fills shards; keeps what can be kept between them. */
export class BatchFiller {
  private readonly samplers: WindowSampler[];
  private readonly random = new Random(0);
  private readonly state: FeatureState;
  private readonly mask: Uint8Array;
  private readonly fresh: Uint8Array;

  constructor(
    corpus: Corpus,
    private readonly options: BatchOptions,
  ) {
    const longest = Math.max(...options.parts.map((part) => part.length));
    const synthesiser = new Synthesiser(longest);
    this.samplers = options.parts.map((part) => {
      const series = new SeriesSampler(corpus, part.weighting, part.shortestSeries, options.validation);
      return new WindowSampler(corpus, series, synthesiser, part);
    });
    this.state = new FeatureState(options.parts[0]!);
    const tokens = Math.max(...options.parts.map(tokensOf));
    this.mask = new Uint8Array(tokens);
    this.fresh = new Uint8Array(tokens);
  }

  /** Overwrites one shard of one part. `maskPatch`, if given, replaces the random masks (validation). */
  fill(
    buffers: PartBuffers,
    step: number,
    partIndex: number,
    shard: number,
    maskPatch?: (patch: number) => boolean,
  ): void {
    const part = this.options.parts[partIndex]!;
    const sampler = this.samplers[partIndex]!;
    const { random } = this;
    random.reseed(this.options.seed, step, partIndex, shard);
    const { windows: perShard } = shardsOf(part);
    const first = shard * perShard;
    const windows = sampler.draw(random, Math.min(perShard, part.windows - first));
    let count = 0;
    windows.forEach((window, i) => {
      const { values } = window;
      let start = 0;
      while (start < values.length && Number.isNaN(values[start]!)) start++;
      const patches = tokensOf(part) - Math.floor(start / part.patch);
      sampler.mask(random, this.mask, this.fresh, patches);
      if (maskPatch) {
        for (let j = 0; j < patches; j++) this.mask[j] = j > 0 && maskPatch(j) ? 1 : 0;
        this.fresh.fill(part.patch);
      }
      this.state.reset(window.season);
      // A stream begins with its first value; only then can its first token be a look-ahead token.
      const from = this.fresh[0]! < part.patch ? start : (tokensOf(part) - patches) * part.patch;
      count += this.writeWindow(buffers, part, first + i, values.subarray(from), patches);
      buffers.frequency.fill(
        window.frequencyClass,
        (first + i) * tokensOf(part),
        (first + i) * tokensOf(part) + patches,
      );
    });
    buffers.counts[shard] = count;
  }

  /** Tokens of one window into row `row` of the part; returns the number of targets. */
  private writeWindow(
    buffers: PartBuffers,
    part: PartOptions,
    row: number,
    values: Float64Array,
    patches: number,
  ): number {
    const { patch } = part;
    const { state, mask } = this;
    const tokens = tokensOf(part);
    const F = featureCount(part);
    const C = patch * candidateCount(part);
    const base = row * tokens;
    let count = 0;
    let next = 0;
    buffers.lengths[row] = patches;
    for (let j = 0; j < patches; j++) {
      const hidden = mask[j] === 1;
      const fresh = this.fresh[j]!;
      for (let p = 0; p < fresh; p++, next++) state.push(hidden ? Number.NaN : valueAt(values, next));
      const token = base + j;
      const ready = state.emit(buffers.features, token * F, buffers.candidates, token * C, fresh);
      for (let p = 0; p < patch; p++) {
        const value = ready ? valueAt(values, next + p) : Number.NaN;
        const known = !Number.isNaN(value);
        buffers.target[token * patch + p] = known ? state.toUnits(value) : 0;
        buffers.weights[token * patch + p] = known ? 1 : 0;
        if (known) count++;
      }
    }
    // The row's earlier content would be read by kernels that know no lengths.
    const end = base + patches;
    const stop = base + tokens;
    buffers.features.fill(0, end * F, stop * F);
    buffers.candidates.fill(0, end * C, stop * C);
    buffers.target.fill(0, end * patch, stop * patch);
    buffers.weights.fill(0, end * patch, stop * patch);
    buffers.frequency.fill(0, end, stop);
    return count;
  }
}

/** NaN behind the end. */
function valueAt(values: Float64Array, at: number): number {
  return at < values.length ? values[at]! : Number.NaN;
}
