/** Tensors of one batch of streams and the loss over them, for training and for validation alike. */
import type { Backend } from '../../engine/backend.js';
import type { Graph } from '../../engine/graph.js';
import { columns, type Tensor } from '../../engine/tensor.js';
import { HORIZONS } from '../data/example.js';
import { FEATURES } from '../features/index.js';
import { EVENT_LOGITS } from '../model/config.js';
import type { SpeechNetwork } from '../model/network.js';
import { binaryLoss, labelTables } from './binary-loss.js';
import type { SpeechTraining } from './config.js';
import { LABEL_CODES, LOSS_PARTS, type LossPart, labelOf, partOf } from './outlook-labels.js';
import { SPECTRAL_SUMS, SpectralLoss } from './spectral-loss.js';

/** Numbers a step reports: the loss of every logit column, then Σ e² of every lead and band. */
export const OUTLOOK_FIGURES: number = EVENT_LOGITS + SPECTRAL_SUMS;

export class OutlookBatch {
  readonly features: Tensor;
  readonly codes: Tensor;
  /** [sequences, 83] added to every row of a sequence: equaliser and gain. */
  readonly colour: Tensor;
  /** [sequences, 83] 0 for columns that a sequence is not told, else 1. */
  readonly kept: Tensor;
  private readonly which: Tensor;
  private readonly weights: Tensor;
  private readonly shifted: Tensor;
  private readonly spectral: SpectralLoss;
  /** What one column's loss is multiplied by to be a mean over all frames. */
  private readonly unscale: number[];

  constructor(
    private readonly backend: Backend,
    readonly sequences: number,
    readonly frames: number,
    loss: SpeechTraining['loss'],
    lossScale: number,
  ) {
    this.features = backend.alloc([sequences, frames, FEATURES]);
    this.codes = backend.alloc([sequences, frames], 'i32');
    this.colour = backend.alloc([sequences, FEATURES]);
    backend.write(this.colour, new Float32Array(sequences * FEATURES));
    this.kept = backend.alloc([sequences, FEATURES]);
    backend.write(this.kept, new Float32Array(sequences * FEATURES).fill(1));
    this.which = backend.alloc([sequences, frames], 'i32');
    backend.write(
      this.which,
      Int32Array.from({ length: sequences * frames }, (_, i) => Math.floor(i / frames)),
    );
    const parts: Record<LossPart, number> = {
      now: loss.now,
      ahead: loss.ahead / (HORIZONS.length - 1),
      end: loss.change,
      start: loss.change,
    };
    const scale = (column: number) => (lossScale * parts[partOf(column)]) / (sequences * frames);
    const tables = labelTables(LABEL_CODES, EVENT_LOGITS, labelOf, scale);
    this.weights = backend.alloc([LABEL_CODES, EVENT_LOGITS]);
    this.shifted = backend.alloc([LABEL_CODES, EVENT_LOGITS]);
    backend.write(this.weights, tables.weights);
    backend.write(this.shifted, tables.shifted);
    this.unscale = Array.from({ length: EVENT_LOGITS }, (_, c) => {
      const s = scale(c) * sequences * frames;
      return s > 0 ? 1 / s : 0;
    });
    this.spectral = new SpectralLoss(backend, sequences, frames, loss.spectrum * lossScale);
  }

  /**
   * The losses of a network over this batch; in training the start of the reverse pass.
   *
   * @param figures [1, OUTLOOK_FIGURES]
   * @param persistence [1, SPECTRAL_SUMS], see spectral-loss.ts
   * @returns the event logits
   */
  record(g: Graph, network: SpeechNetwork, figures: Tensor, train: boolean, persistence?: Tensor): Tensor {
    return g.scope(() => {
      const { kernels } = this.backend;
      const [x, kept] = [g.alloc(this.features.shape), g.alloc(this.features.shape)];
      kernels.embedding({ out: x, ids: this.which, table: this.colour });
      kernels.binary({ out: x, a: x, b: this.features, fn: 'add' });
      kernels.embedding({ out: kept, ids: this.which, table: this.kept });
      kernels.binary({ out: x, a: x, b: kept, fn: 'mul' });
      g.release(kept);
      const hidden = network.encode(g, x);
      const logits = network.events(g, hidden);
      const [weights, shifted] = [this.weights, this.shifted].map((table) => {
        const out = g.alloc(logits.shape);
        kernels.embedding({ out, ids: this.codes, table });
        return out;
      });
      binaryLoss(g, { logits, weights, shifted, sums: columns(figures, 0, EVENT_LOGITS) }, train);
      const sums = columns(figures, EVENT_LOGITS, OUTLOOK_FIGURES);
      this.spectral.record(g, network.spectrum(g, hidden, x), x, sums, train, persistence);
      return logits;
    });
  }

  /** Mean loss a frame of each part, and the mean squared error of the spectral forecasts in units of (ln/4)². */
  summary(figures: ArrayLike<number>): Record<string, number> {
    const out: Record<string, number> = Object.fromEntries(LOSS_PARTS.map((part) => [part, 0]));
    for (let c = 0; c < EVENT_LOGITS; c++) out[partOf(c)] += figures[c] * this.unscale[c];
    out.ahead /= HORIZONS.length - 1;
    let square = 0;
    for (let i = EVENT_LOGITS; i < OUTLOOK_FIGURES; i++) square += figures[i];
    out.spectrum = square / (this.spectral.frames * SPECTRAL_SUMS);
    return out;
  }
}
