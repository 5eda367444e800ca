/** What the speech outlook does on composed streams of speakers and noises that training never hears. */
import type { Backend, Plan } from '../../engine/backend.js';
import { Graph } from '../../engine/graph.js';
import type { Weights } from '../../engine/layers/parameters.js';
import type { Tensor } from '../../engine/tensor.js';
import type { Example } from '../data/example.js';
import { FEATURES } from '../features/index.js';
import { changeWithinFrames } from '../hazard.js';
import { auc } from '../metrics/index.js';
import { changeWithin, IGNORE } from '../metrics/transitions.js';
import { END_AT, EVENT_LOGITS } from '../model/config.js';
import { SpeechNetwork } from '../model/network.js';
import type { SpeechTraining } from './config.js';
import { OUTLOOK_FIGURES, OutlookBatch } from './outlook-batch.js';
import { labelCodes } from './outlook-labels.js';
import { SPECTRAL_SUMS } from './spectral-loss.js';

/** Seed of the streams: the same for every run. */
export const VALIDATION_SEED = 20_000;

export class OutlookValidation {
  private readonly batch: OutlookBatch;
  private readonly figures: Tensor;
  private readonly persistence: Tensor;
  private readonly plan: Plan<Tensor>;
  private readonly labels: Uint8Array[];

  /** @param examples of at least `batch.frames` frames; each is cut there */
  constructor(
    private readonly backend: Backend,
    config: SpeechTraining,
    examples: readonly Example[],
    weights: Weights,
  ) {
    const { frames } = config.batch;
    this.batch = new OutlookBatch(backend, examples.length, frames, config.loss, 1);
    const features = new Float32Array(examples.length * frames * FEATURES);
    const codes = new Int32Array(examples.length * frames);
    this.labels = examples.map((example, i) => {
      features.set(example.features.subarray(0, frames * FEATURES), i * frames * FEATURES);
      codes.set(labelCodes(example).subarray(0, frames), i * frames);
      const H = example.speech.length / example.frames;
      return Uint8Array.from({ length: frames }, (_, t) => example.speech[t * H]);
    });
    backend.write(this.batch.features, features);
    backend.write(this.batch.codes, codes);
    this.figures = backend.alloc([1, OUTLOOK_FIGURES]);
    this.persistence = backend.alloc([1, SPECTRAL_SUMS]);
    this.plan = backend.record(() => {
      const g = new Graph(backend, { precision: config.precision });
      const network = new SpeechNetwork(config.model, weights);
      return this.batch.record(g, network, this.figures, false, this.persistence);
    });
  }

  /** Mean losses by the present weights, AUC of speech now and of an end within 200 ms, spectral error over persistence. */
  async run(): Promise<Record<string, number>> {
    this.plan.run();
    const [figures, persistence, logits] = await Promise.all(
      [this.figures, this.persistence, this.plan.result].map((t) => this.backend.read(t)),
    );
    const { spectrum: _, ...losses } = this.batch.summary(figures);
    const sum = (from: number, to: number, of: ArrayLike<number>) => {
      let total = 0;
      for (let i = from; i < to; i++) total += of[i];
      return total;
    };
    const spectrum = sum(EVENT_LOGITS, OUTLOOK_FIGURES, figures) / sum(0, SPECTRAL_SUMS, persistence);
    const { frames } = this.batch;
    const now: number[] = [];
    const said: number[] = [];
    const ends: number[] = [];
    const ended: number[] = [];
    this.labels.forEach((labels, i) => {
      const within = changeWithin(labels, 1, 20);
      for (let t = 0; t < frames; t += 2) {
        const at = (i * frames + t) * EVENT_LOGITS;
        said.push(logits[at]);
        now.push(labels[t]);
        if (within[t] === IGNORE) continue;
        const hazards = Array.from({ length: EVENT_LOGITS }, (_, c) =>
          c < END_AT ? 0 : 1 / (1 + Math.exp(-logits[at + c])),
        );
        ends.push(changeWithinFrames(hazards, 20, END_AT));
        ended.push(within[t]);
      }
    });
    return { ...losses, spectrum, auc: auc(said, now), endAuc: auc(ends, ended) };
  }
}
