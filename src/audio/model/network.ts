/**
 * The speech network: rows of the front end in; what is said now and what comes next out.
 *
 *   events   = W·hidden + b                          logits, columns as in config.ts
 *   mean     = W·hidden + b + S·x                    log-mel at each lead, in units of (ln + 8)/4
 *   logPrec  = W·hidden + b                          its logarithmic precision, −2 ln σ
 *
 * x is the feature row. S starts as persistence: band b of the row plus the running mean (its last column) is the present
 * log-mel, so a forecast starts as "as now" and learns the difference.
 */
import type { Graph } from '../../engine/graph.js';
import type { ScanOptions, StateSpec } from '../../engine/layers/layer.js';
import {
  constant,
  normal,
  type ParameterSpec,
  prefixed,
  type Weights,
  within,
} from '../../engine/layers/parameters.js';
import { rows, type Tensor } from '../../engine/tensor.js';
import { FEATURES, MEL_BANDS } from '../features/index.js';
import { END_AT, EVENT_LOGITS, SPECTRAL_LEADS, type SpeechConfig } from './config.js';
import { Encoder, encoderParameters } from './encoder.js';

const SPECTRUM = SPECTRAL_LEADS.length * MEL_BANDS;
/** ln(1/σ²) of the change of a band's level in 10, 30 … 500 ms of composed speech, about; where training starts. */
const INITIAL_PRECISION = [3.5, 2.7, 2.3, 2, 1.7, 1.5];

export function speechParameters(config: SpeechConfig): ParameterSpec[] {
  const { dModel } = config;
  return [
    ...prefixed('encoder', encoderParameters(config, FEATURES)),
    normal('events.weight', [EVENT_LOGITS, dModel], 0.02),
    {
      name: 'events.bias',
      shape: [EVENT_LOGITS],
      decay: false,
      // A change is rare in any one bin.
      init: () => Float32Array.from({ length: EVENT_LOGITS }, (_, i) => (i < END_AT ? 0 : -2)),
    },
    normal('spectrum.mean.weight', [SPECTRUM, dModel], 0.002),
    constant('spectrum.mean.bias', [SPECTRUM], 0),
    {
      name: 'spectrum.skip.weight',
      shape: [SPECTRUM, FEATURES],
      // Decay would pull forecasts away from persistence, not towards simplicity.
      decay: false,
      init: () =>
        Float32Array.from({ length: SPECTRUM * FEATURES }, (_, i) => {
          const [row, column] = [Math.floor(i / FEATURES) % MEL_BANDS, i % FEATURES];
          return column === row || column === FEATURES - 1 ? 1 : 0;
        }),
    },
    normal('spectrum.precision.weight', [SPECTRUM, dModel], 0.002),
    {
      name: 'spectrum.precision.bias',
      shape: [SPECTRUM],
      decay: false,
      init: () => Float32Array.from({ length: SPECTRUM }, (_, i) => INITIAL_PRECISION[Math.floor(i / MEL_BANDS)]),
    },
  ];
}

export interface Spectrum {
  /** [batch, length, leads · 80], lead by lead: log-mel as (ln + 8)/4. */
  mean: Tensor;
  /** The same shape: −2 ln σ in those units. */
  logPrecision: Tensor;
}

/** The network over given weights; holds no memory of its own. */
export class SpeechNetwork {
  private readonly encoder: Encoder;

  constructor(
    readonly config: SpeechConfig,
    private readonly weights: Weights,
  ) {
    this.encoder = new Encoder(config, within(weights, 'encoder'));
  }

  /** Names and shapes of the state of `batch` sequences. */
  stateSpecs(batch: number): Record<string, StateSpec> {
    return this.encoder.stateSpecs(batch);
  }

  /** features [batch, length, 83] → hidden [batch, length, dModel]. */
  encode(g: Graph, features: Tensor, options: ScanOptions = {}): Tensor {
    return this.encoder.encode(g, features, options);
  }

  /** hidden → logits [batch, length, EVENT_LOGITS]. */
  events(g: Graph, hidden: Tensor): Tensor {
    return g.linear(hidden, this.weights('events.weight'), { bias: this.weights('events.bias') });
  }

  /** Forecasts at the first `leads` of SPECTRAL_LEADS. */
  spectrum(g: Graph, hidden: Tensor, features: Tensor, leads: number = SPECTRAL_LEADS.length): Spectrum {
    const part = (name: string): Tensor => {
      const weight = this.weights(`spectrum.${name}`);
      if (leads === SPECTRAL_LEADS.length) return weight;
      const count = leads * MEL_BANDS;
      return weight.shape.length === 1 ? { ...weight, shape: [count] } : rows(weight, 0, count);
    };
    const skip = g.linear(features, part('skip.weight'));
    return {
      mean: g.linear(hidden, part('mean.weight'), { bias: part('mean.bias'), residual: skip }),
      logPrecision: g.linear(hidden, part('precision.weight'), { bias: part('precision.bias') }),
    };
  }
}
