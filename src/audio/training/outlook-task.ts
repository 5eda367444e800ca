/** The speech outlook as a training task: composed streams in; events and spectra out. */
import type { Backend } from '../../engine/backend.js';
import type { Graph } from '../../engine/graph.js';
import type { Weights } from '../../engine/layers/parameters.js';
import { Random } from '../../engine/random.js';
import type { Tensor } from '../../engine/tensor.js';
import { FEATURES, MEL_BANDS } from '../features/index.js';
import { SpeechNetwork } from '../model/network.js';
import type { SpeechTraining } from './config.js';
import type { ExampleWindow } from './example-window.js';
import type { Task } from './loop.js';
import { OUTLOOK_FIGURES, OutlookBatch } from './outlook-batch.js';
import type { OutlookValidation } from './outlook-validation.js';

export class OutlookTask implements Task {
  readonly figures: number = OUTLOOK_FIGURES;
  readonly frames: number;
  private readonly batch: OutlookBatch;
  private readonly features: Float32Array;
  private readonly codes: Int32Array;
  private readonly colour: Float32Array;
  private readonly kept: Float32Array;

  /** @param streamsPerSecond that composing was measured to give, for `fit` */
  constructor(
    private readonly backend: Backend,
    private readonly config: SpeechTraining,
    private readonly window: ExampleWindow,
    private readonly streamsPerSecond: number,
    private readonly validation: OutlookValidation,
  ) {
    const { sequences, frames } = config.batch;
    this.frames = sequences * frames;
    this.batch = new OutlookBatch(backend, sequences, frames, config.loss, config.optimiser.lossScale);
    this.features = new Float32Array(this.frames * FEATURES);
    this.codes = new Int32Array(this.frames);
    this.colour = new Float32Array(sequences * FEATURES);
    this.kept = new Float32Array(sequences * FEATURES);
  }

  record(g: Graph, weights: Weights, figures: Tensor): void {
    g.release(this.batch.record(g, new SpeechNetwork(this.config.model, weights), figures, true));
  }

  async load(step: number): Promise<void> {
    const { sequences, frames } = this.config.batch;
    await this.window.moveTo(step, frames);
    const random = new Random(Math.imul(this.config.seed + 1, 0x9e3779b1) ^ Math.imul(step + 1, 0x85ebca6b));
    for (let s = 0; s < sequences; s++) {
      const crop = this.window.crop(random, frames);
      this.features.set(crop.features, s * frames * FEATURES);
      this.codes.set(crop.codes, s * frames);
      colourOf(random, this.config.streams, this.colour.subarray(s * FEATURES, (s + 1) * FEATURES));
      maskOf(random, this.config.streams.masked, this.kept.subarray(s * FEATURES, (s + 1) * FEATURES));
    }
    this.backend.write(this.batch.features, this.features);
    this.backend.write(this.batch.codes, this.codes);
    this.backend.write(this.batch.colour, this.colour);
    this.backend.write(this.batch.kept, this.kept);
  }

  summary(figures: ArrayLike<number>): Record<string, number> {
    return this.batch.summary(figures);
  }

  /** As many new streams a step as the threads can make, with a margin. */
  fit(step: number, secondsPerStep: number): void {
    const { pace } = this.window;
    const count = pace.count + Math.floor(pace.perStep * (step - pace.from));
    const perStep = Math.floor(100 * 0.85 * this.streamsPerSecond * secondsPerStep) / 100;
    this.window.pace = { from: step, count, perStep };
  }

  remember(): unknown {
    return this.window.pace;
  }

  validate(): Promise<Record<string, number>> {
    return this.validation.run();
  }
}

/**
 * A microphone: gain, and an equaliser of three slow waves over the mel bands, as what has to be added to a feature row.
 * Log-mel moves by the same amount in every frame, the running mean by its mean over bands, peaks and ranges not at all.
 */
export function colourOf(
  random: Random,
  { equaliser, gain }: { equaliser: number; gain: number },
  out: Float32Array,
): void {
  const nepers = Math.LN10 / 10;
  const curve = new Float64Array(MEL_BANDS);
  for (const waves of [0.5, 1, 2]) {
    const height = (random.uniform(-1, 1) * equaliser * nepers) / (1 + waves);
    const phase = random.uniform(0, 2 * Math.PI);
    for (let b = 0; b < MEL_BANDS; b++) curve[b] += height * Math.sin((2 * Math.PI * waves * b) / MEL_BANDS + phase);
  }
  const mean = curve.reduce((sum, v) => sum + v, 0) / MEL_BANDS;
  out.fill(0);
  for (let b = 0; b < MEL_BANDS; b++) out[b] = (curve[b] - mean) / 4;
  out[FEATURES - 1] = (mean + random.uniform(-gain, gain) * nepers) / 4;
}

/** Two runs of bands that are not told, each of up to `widest` bands (Park et al. 2019, along frequency): 0 there, else 1. */
export function maskOf(random: Random, widest: number, out: Float32Array): void {
  out.fill(1);
  for (let run = 0; run < 2; run++) {
    const width = random.integer(widest + 1);
    const from = random.integer(MEL_BANDS - width + 1);
    out.fill(0, from, from + width);
  }
}
