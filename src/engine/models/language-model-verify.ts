/**
 * Compares a language model on one backend with golden outputs: logits by scan, by step and by random splits of both,
 * hidden states, loss, and the gradient of every parameter.
 */
import type { Backend } from '../backend.js';
import { Graph } from '../graph.js';
import { freeState, newState } from '../layers/layer.js';
import { Random } from '../random.js';
import type { Tensor } from '../tensor.js';
import { LanguageModel, languageModelParameters, nextTokenTargets } from './language-model.js';
import type { LanguageModelConfig } from './language-model-config.js';
import { type Parameters, uploadParameters } from './language-model-weights.js';

/** What another implementation computed; float arrays are row-major. */
export interface Golden {
  batch: number;
  length: number;
  /** [batch, length] */
  ids: Int32Array;
  /** [batch, length, vocabulary] */
  logits: Float32Array;
  /** Mean next-token cross-entropy. */
  loss?: number;
  /**
   * One more than layers, each [batch, length, dModel]. transformers' Mamba models give the stream after every layer and
   * then the final norm's output; other models of theirs give the embedding first and leave out the stream after the last
   * layer. Which it is shows in the first.
   */
  hidden?: readonly Float32Array[];
  /** d loss / d parameter, by the parameter's name. */
  gradients?: ReadonlyMap<string, Float32Array>;
}

export const LOGIT_TOLERANCE = 1e-4;
export const GRADIENT_TOLERANCE = 1e-3;

export interface Comparison {
  /** What was compared, e.g. `logits, scan`. */
  name: string;
  /** ‖ours − golden‖ / ‖golden‖. */
  relative: number;
  /** max |ours − golden| / max |golden|. */
  maximum: number;
  tolerance: number;
  /** Both errors are within the tolerance (NaN never is). */
  passed: boolean;
}

/** Relative errors in the Euclidean and in the maximum norm. Zeros agree with zeros only; NaN agrees with nothing. */
export function relativeErrors(
  ours: ArrayLike<number>,
  golden: ArrayLike<number>,
): { relative: number; maximum: number } {
  if (ours.length !== golden.length) throw new RangeError(`${ours.length} numbers against ${golden.length}`);
  let [difference, size, largestDifference, largest] = [0, 0, 0, 0];
  for (let i = 0; i < golden.length; i++) {
    const d = Math.abs(ours[i] - golden[i]);
    difference += d * d;
    size += golden[i] * golden[i];
    // Math.max passes NaN on, a comparison would lose it.
    largestDifference = Math.max(largestDifference, d);
    largest = Math.max(largest, Math.abs(golden[i]));
  }
  const ratio = (a: number, b: number) => (a === 0 ? 0 : a / b);
  return { relative: ratio(Math.sqrt(difference), Math.sqrt(size)), maximum: ratio(largestDifference, largest) };
}

function compare(name: string, ours: ArrayLike<number>, golden: ArrayLike<number>, tolerance: number): Comparison {
  const errors = relativeErrors(ours, golden);
  return { name, ...errors, tolerance, passed: errors.relative <= tolerance && errors.maximum <= tolerance };
}

/**
 * Runs every comparison the golden outputs and the backend allow.
 *
 * @param weights parameters by name, as `readLanguageModelWeights` gives them
 * @param seed of the random splits
 */
export async function verifyLanguageModel(
  backend: Backend,
  config: LanguageModelConfig,
  weights: ReadonlyMap<string, Float32Array>,
  golden: Golden,
  seed = 1,
): Promise<Comparison[]> {
  const parameters = uploadParameters(backend, languageModelParameters(config), weights);
  const run = new Run(backend, new LanguageModel(config, parameters.lookup), golden);
  try {
    const logits = (name: string, ours: Float64Array) =>
      compare(`logits, ${name}`, ours, golden.logits, LOGIT_TOLERANCE);
    const results = await run.scan();
    results.push(logits('step', await run.steps()));
    for (let i = 0; i < 3; i++) {
      const { parts, calls } = randomSplit(golden.length, new Random(seed + i));
      results.push(logits(`split ${i + 1} (${parts} parts)`, await run.split(calls)));
    }
    if (backend.trains) results.push(...(await run.training(config, parameters)));
    return results;
  } finally {
    parameters.free();
  }
}

/** One call: a scan over `count` tokens (possibly none), or one step. */
interface Call {
  face: 'scan' | 'step';
  from: number;
  count: number;
}

/** Parts of random length and face that cover a sequence, some of them scans over nothing. */
function randomSplit(length: number, random: Random): { parts: number; calls: Call[] } {
  const calls: Call[] = [];
  let parts = 0;
  for (let at = 0; at < length; parts++) {
    const count = Math.min(length - at, random.integer(Math.ceil(length / 3) + 1));
    if (random.integer(2) === 0) calls.push({ face: 'scan', from: at, count });
    else for (let i = 0; i < count; i++) calls.push({ face: 'step', from: at + i, count: 1 });
    at += count;
  }
  return { parts, calls };
}

class Run {
  private readonly vocabulary: number;

  constructor(
    private readonly backend: Backend,
    private readonly model: LanguageModel,
    private readonly golden: Golden,
  ) {
    this.vocabulary = model.config.vocabulary;
  }

  /** Ids of tokens [from, from + count) of every sequence, [batch, count]. */
  private idsTensor(from: number, count: number): Tensor {
    const { batch, length, ids } = this.golden;
    const tensor = this.backend.alloc([batch, count], 'i32');
    const part = new Int32Array(batch * count);
    for (let b = 0; b < batch; b++) part.set(ids.subarray(b * length + from, b * length + from + count), b * count);
    this.backend.write(tensor, part);
    return tensor;
  }

  /** Puts logits of tokens [from, from + count), [batch, count, vocabulary], into their place. */
  private place(all: Float64Array, part: ArrayLike<number>, from: number, count: number): void {
    const { batch, length } = this.golden;
    const row = this.vocabulary;
    for (let b = 0; b < batch; b++) {
      for (let i = 0; i < count * row; i++) all[(b * length + from) * row + i] = part[b * count * row + i];
    }
  }

  private newLogits(): Float64Array {
    return new Float64Array(this.golden.batch * this.golden.length * this.vocabulary).fill(Number.NaN);
  }

  /** Logits and hidden states of the whole sequence at once. */
  async scan(): Promise<Comparison[]> {
    const graph = new Graph(this.backend);
    const ids = this.idsTensor(0, this.golden.length);
    const hidden: Tensor[] = [];
    const logits = this.model.scan(graph, ids, { hidden });
    const results = [compare('logits, scan', await this.backend.read(logits), this.golden.logits, LOGIT_TOLERANCE)];
    if (this.golden.hidden) {
      const embedding = await this.backend.read(hidden[0]);
      const embeddingFirst = relativeErrors(embedding, this.golden.hidden[0]).relative <= LOGIT_TOLERANCE;
      const last = hidden.length - 1;
      for (const [i, expected] of this.golden.hidden.entries()) {
        const [from, name] =
          i === last - 1
            ? [last, 'after the final norm']
            : embeddingFirst && i === 0
              ? [0, 'embedding']
              : [embeddingFirst ? i : i + 1, `after layer ${embeddingFirst ? i - 1 : i}`];
        const ours = await this.backend.read(hidden[from]);
        results.push(compare(`hidden state ${i} (${name})`, ours, expected, LOGIT_TOLERANCE));
      }
    }
    for (const t of [...hidden, logits]) graph.release(t);
    this.backend.free(ids);
    return results;
  }

  /** Logits by one recorded step, replayed for every token: how a live stream runs. */
  async steps(): Promise<Float64Array> {
    const { batch, length, ids } = this.golden;
    const token = this.backend.alloc([batch], 'i32');
    const state = newState(this.backend, this.model, batch);
    const plan = this.backend.record(() => this.model.step(new Graph(this.backend), token, state));
    const logits = this.newLogits();
    for (let t = 0; t < length; t++) {
      this.backend.write(
        token,
        Int32Array.from({ length: batch }, (_, b) => ids[b * length + t]),
      );
      plan.run();
      this.place(logits, await this.backend.read(plan.result), t, 1);
    }
    plan.dispose();
    freeState(this.backend, state);
    this.backend.free(token);
    return logits;
  }

  /** Logits with one state handed from scans to steps and back. */
  async split(calls: readonly Call[]): Promise<Float64Array> {
    const { batch } = this.golden;
    const state = newState(this.backend, this.model, batch);
    const graph = new Graph(this.backend);
    const logits = this.newLogits();
    for (const { face, from, count } of calls) {
      const ids = this.idsTensor(from, count);
      const out =
        face === 'scan'
          ? this.model.scan(graph, ids, { state })
          : this.model.step(graph, { ...ids, shape: [batch] }, state);
      this.place(logits, await this.backend.read(out), from, count);
      graph.release(out);
      this.backend.free(ids);
    }
    freeState(this.backend, state);
    return logits;
  }

  /** The loss, and its gradient with respect to every parameter. */
  async training(config: LanguageModelConfig, parameters: Parameters): Promise<Comparison[]> {
    const { batch, length, loss: expectedLoss, gradients } = this.golden;
    if (expectedLoss === undefined || length < 2) return [];
    const graph = new Graph(this.backend, { train: gradients !== undefined });
    const ours = new Map<string, Tensor>();
    if (gradients) {
      for (const { name, shape } of languageModelParameters(config)) {
        const gradient = this.backend.alloc(shape);
        ours.set(name, gradient);
        graph.trainable(parameters.lookup(name), gradient);
      }
    }
    const ids = this.idsTensor(0, length);
    const { targets, weights } = nextTokenTargets(this.golden.ids, batch, length);
    const targetTensor = this.backend.alloc([batch * length], 'i32');
    const weightTensor = this.backend.alloc([batch * length]);
    this.backend.write(targetTensor, targets);
    this.backend.write(weightTensor, weights);
    const loss = graph.crossEntropy(this.model.scan(graph, ids), targetTensor, weightTensor);
    if (gradients) graph.backward();
    const results = [compare('loss', await this.backend.read(loss), [expectedLoss], LOGIT_TOLERANCE)];
    for (const [name, expected] of gradients ?? []) {
      const gradient = ours.get(name) as Tensor;
      results.push(compare(`gradient ${name}`, await this.backend.read(gradient), expected, GRADIENT_TOLERANCE));
    }
    for (const t of [...ours.values(), ids, targetTensor, weightTensor]) this.backend.free(t);
    graph.release(loss);
    return results;
  }
}
