/** The spectral outlook: what the log-mel spectrum will be 10 to 500 ms from now, and how surely. */
import { FEATURES, MEL_BANDS } from '../features/index.js';
import { EVENT_LOGITS, SPECTRAL_LEADS } from './config.js';
import type { SpeechModel } from './model.js';
import { scanInPasses } from './passes.js';

const LEADS = SPECTRAL_LEADS.length;

export interface SpectralOutlook {
  count: number;
  /** [count, leads, 80] expected natural log of mel energy at each of SPECTRAL_LEADS (frames of 10 ms). */
  mean: Float32Array;
  /** The same shape: half width of the interval that holds 80 %. */
  halfWidth: Float32Array;
  /** [count, EVENT_LOGITS] of the same passes, not calibrated. */
  logits: Float32Array;
}

/** Forecasts after each of the feature rows [count, 83], which begin a stream. */
export async function forecastSpectra(model: SpeechModel, features: Float32Array): Promise<SpectralOutlook> {
  const { network, calibration } = model;
  const count = features.length / FEATURES;
  const width = LEADS * MEL_BANDS;
  const out = {
    count,
    mean: new Float32Array(count * width),
    halfWidth: new Float32Array(count * width),
    logits: new Float32Array(count * EVENT_LOGITS),
  };
  await scanInPasses(
    model,
    features,
    (g, hidden, input) => {
      const { mean, logPrecision } = network.spectrum(g, hidden, input);
      return [network.events(g, hidden), mean, logPrecision];
    },
    ([logits, mean, logPrecision], from, rows) => {
      for (let i = 0; i < rows * EVENT_LOGITS; i++) out.logits[from * EVENT_LOGITS + i] = logits[i];
      for (let i = 0; i < rows * width; i++) {
        const lead = Math.floor(i / MEL_BANDS) % LEADS;
        // The network speaks in (ln + 8)/4.
        out.mean[from * width + i] = 4 * mean[i] - 8;
        out.halfWidth[from * width + i] = 4 * calibration.interval[lead] * Math.exp(-0.5 * logPrecision[i]);
      }
    },
  );
  return out;
}
