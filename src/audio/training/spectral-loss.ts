/**
 * Losses of the log-mel forecasts at every lead, out of the engine's element-wise kernels.
 *
 * The mean is trained on its squared error alone, the precision q on the likelihood of what is left:
 * ½·c·e² and ½·(q·e² − ln q), each a mean over frames and bands, with the gradient of one not reaching the other. (The plain
 * Gaussian likelihood lets the mean neglect whatever is hard to forecast; Seitzer et al. 2022.)
 */

import type { Backend } from '../../engine/backend.js';
import type { Graph } from '../../engine/graph.js';
import { reshape, rows, type Tensor } from '../../engine/tensor.js';
import { FEATURES, MEL_BANDS } from '../features/index.js';
import { SPECTRAL_LEADS } from '../model/config.js';
import type { Spectrum } from '../model/network.js';

/** Farthest lead: targets of a sequence's last frames lie in the next sequence, so these frames are left out. */
const FARTHEST = SPECTRAL_LEADS[SPECTRAL_LEADS.length - 1];
/** Weight c of the squared error at each lead: about one over what persistence leaves, so that all leads count alike. */
const LEAD_WEIGHTS = [30, 14, 10, 7, 5.5, 4.5];

export const SPECTRAL_SUMS: number = SPECTRAL_LEADS.length * MEL_BANDS;

export class SpectralLoss {
  private readonly minusLevels: Tensor;
  /** [batch·length, 80] 1 where the farthest target is known. */
  private readonly mask: Tensor;
  private readonly minusOne: Tensor;
  private readonly scales: Tensor[];
  private readonly halfScale: Tensor;
  /** Frames of a step that count. */
  readonly frames: number;

  /** @param weight of the loss, loss scale included */
  constructor(
    private readonly backend: Backend,
    private readonly batch: number,
    private readonly length: number,
    weight: number,
  ) {
    this.frames = batch * Math.max(0, length - FARTHEST);
    const each = weight / Math.max(1, this.frames * MEL_BANDS * SPECTRAL_LEADS.length);
    const row = (value: number) => {
      const t = backend.alloc([1, MEL_BANDS]);
      backend.write(t, new Float32Array(MEL_BANDS).fill(value));
      return { ...t, shape: [batch * length, MEL_BANDS], stride: 0 };
    };
    this.minusOne = row(-1);
    this.halfScale = row(0.5 * each);
    this.scales = LEAD_WEIGHTS.map((c) => row(c * each));
    this.mask = backend.alloc([batch * length, MEL_BANDS]);
    backend.write(
      this.mask,
      Float32Array.from({ length: batch * length * MEL_BANDS }, (_, i) =>
        Math.floor(i / MEL_BANDS) % length < length - FARTHEST ? 1 : 0,
      ),
    );
    // −(band + running mean): minus the absolute log-mel, as (ln + 8)/4.
    this.minusLevels = backend.alloc([MEL_BANDS, FEATURES]);
    backend.write(
      this.minusLevels,
      Float32Array.from({ length: MEL_BANDS * FEATURES }, (_, i) => {
        const [b, c] = [Math.floor(i / FEATURES), i % FEATURES];
        return c === b || c === FEATURES - 1 ? -1 : 0;
      }),
    );
  }

  /** @param sums [1, leads · 80] receives Σ e² of each lead and band; `persistence`, if given, the same for "as now" */
  record(
    g: Graph,
    { mean, logPrecision }: Spectrum,
    features: Tensor,
    sums: Tensor,
    train: boolean,
    persistence?: Tensor,
  ): void {
    const { kernels } = this.backend;
    const total = this.batch * this.length;
    const widths = SPECTRAL_LEADS.map(() => MEL_BANDS);
    const means = g.split(mean, widths);
    const precisions = g.split(logPrecision, widths);
    const flat = (t: Tensor): Tensor => ({ ...t, shape: [total, MEL_BANDS] });
    const negative = g.alloc([total, MEL_BANDS]);
    kernels.matmul({ out: negative, a: reshape(features, [total, FEATURES]), b: this.minusLevels, transposeB: true });
    const [e, square, scaled] = [0, 1, 2].map(() => g.alloc([total, MEL_BANDS]));
    for (const t of [e, square, scaled]) kernels.fill(t, 0);
    SPECTRAL_LEADS.forEach((lead, h) => {
      const now = (t: Tensor) => rows(t, 0, total - lead);
      const later = rows(negative, lead, total);
      const sumsOf = (all: Tensor): Tensor => ({ ...all, shape: [MEL_BANDS], offset: all.offset + h * MEL_BANDS });
      if (persistence) {
        // Two signs: −(level later) + level now.
        kernels.binary({ out: now(scaled), a: now(negative), b: now(this.negate(total)), fn: 'mul' });
        kernels.binary({ out: now(e), a: now(scaled), b: later, fn: 'add' });
        kernels.binary({ out: e, a: e, b: this.mask, fn: 'mul' });
        kernels.binary({ out: square, a: e, b: e, fn: 'mul' });
        kernels.columnSum(sumsOf(persistence), square);
      }
      kernels.binary({ out: now(e), a: now(flat(means[h])), b: later, fn: 'add' });
      kernels.binary({ out: e, a: e, b: this.mask, fn: 'mul' });
      kernels.binary({ out: square, a: e, b: e, fn: 'mul' });
      kernels.columnSum(sumsOf(sums), square);
      if (!train) return;
      kernels.binary({ out: e, a: e, b: this.scales[h], fn: 'mul' });
      g.seed(means[h], { ...e, shape: means[h].shape });
      kernels.unary({ out: scaled, x: flat(precisions[h]), fn: 'exp' });
      kernels.binary({ out: scaled, a: scaled, b: square, fn: 'mul' });
      kernels.binary({ out: scaled, a: scaled, b: this.minusOne, fn: 'add' });
      kernels.binary({ out: scaled, a: scaled, b: this.mask, fn: 'mul' });
      kernels.binary({ out: scaled, a: scaled, b: this.halfScale, fn: 'mul' });
      g.seed(precisions[h], { ...scaled, shape: precisions[h].shape });
    });
    for (const t of [negative, e, square, scaled]) g.release(t);
  }

  private negate(total: number): Tensor {
    return { ...this.minusOne, shape: [total, MEL_BANDS] };
  }
}
