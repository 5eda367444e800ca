/** The spectral outlook: what the log-mel spectrum will be 10 to 500 ms from now, and how surely. */
import { Graph } from '../../engine/graph.js';
import { freeState, newState } from '../../engine/layers/layer.js';
import { FEATURES, MEL_BANDS } from '../features/index.js';
import { EVENT_LOGITS, SPECTRAL_LEADS } from './config.js';
import type { SpeechModel } from './model.js';

const LEADS = SPECTRAL_LEADS.length;
/** Rows of a pass. */
const PASS = 500;

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
  const { backend, network, calibration } = model;
  const count = features.length / FEATURES;
  const length = Math.max(1, Math.min(PASS, count));
  const width = LEADS * MEL_BANDS;
  const state = newState(backend, network, 1);
  const input = backend.alloc([1, length, FEATURES]);
  const lengths = backend.alloc([1], 'i32');
  const plan = backend.record(() => {
    const g = new Graph(backend);
    return g.scope(() => {
      const hidden = network.encode(g, input, { state, lengths });
      const { mean, logPrecision } = network.spectrum(g, hidden, input);
      return [network.events(g, hidden), mean, logPrecision];
    });
  });
  const out = {
    count,
    mean: new Float32Array(count * width),
    halfWidth: new Float32Array(count * width),
    logits: new Float32Array(count * EVENT_LOGITS),
  };
  const rows = new Float32Array(length * FEATURES);
  for (let from = 0; from < count; from += length) {
    const here = Math.min(length, count - from);
    rows.fill(0);
    rows.set(features.subarray(from * FEATURES, (from + here) * FEATURES));
    backend.write(input, rows);
    backend.write(lengths, [here]);
    plan.run();
    const [logits, mean, logPrecision] = await Promise.all(plan.result.map((t) => backend.read(t)));
    out.logits.set(logits.subarray(0, here * EVENT_LOGITS), from * EVENT_LOGITS);
    for (let i = 0; i < here * width; i++) {
      const lead = Math.floor(i / MEL_BANDS) % LEADS;
      // The network speaks in (ln + 8)/4.
      out.mean[from * width + i] = 4 * mean[i] - 8;
      out.halfWidth[from * width + i] = 4 * calibration.interval[lead] * Math.exp(-0.5 * logPrecision[i]);
    }
  }
  plan.dispose();
  freeState(backend, state);
  backend.free(input);
  backend.free(lengths);
  return out;
}
