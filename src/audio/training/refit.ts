/**
 * Fits the event head anew on speakers that the encoder never heard, the encoder held fixed (last-layer retraining, Kirichenko
 * et al. 2023).
 *
 * An encoder that saw its clips many times partly knows them by heart, and its head trusts what it knows. On clips that it
 * never saw there is nothing to know by heart, so a head that is fitted there trusts what holds for strangers.
 */
import { Random } from '../../engine/random.js';
import type { Example } from '../data/example.js';
import type { Clip, Library } from '../data/pack.js';
import { FEATURES } from '../features/index.js';
import { EVENT_LOGITS } from '../model/config.js';
import { hiddenStates, type SpeechModel } from '../model/index.js';
import { labelCodes, labelOf } from './outlook-labels.js';

/**
 * Two libraries without a speaker in common, where a pack names several, and without a clip in common, where it does not:
 * one to fit on, one to measure on. Noise is the same in both.
 */
export function halves(library: Library): [Library, Library] {
  const half = (which: 0 | 1): Library => ({
    noise: library.noise,
    speech: library.speech.map((pack) => {
      const speakers = [...new Set(pack.clips.map((clip) => clip.speaker))];
      const side = (clip: Clip, i: number) => (speakers.length > 1 ? speakers.indexOf(clip.speaker) : i) % 2;
      return { ...pack, clips: pack.clips.filter((clip, i) => side(clip, i) === which) };
    }),
  });
  return [half(0), half(1)];
}

/** Every how many-th frame is learnt from: neighbours say nearly the same. */
const EVERY = 3;
const BATCH = 1024;
const EPOCHS = 12;
const RATE = 2e-3;
/** Decay of the weights a step, times the rate. */
const DECAY = 0.01;

export interface EventHead {
  /** [EVENT_LOGITS, dModel] */
  weight: Float32Array;
  bias: Float32Array;
}

/** The head of largest likelihood on these streams, from where it is now; AdamW on batches of shuffled frames. */
export async function refitEvents(
  model: SpeechModel,
  examples: readonly Example[],
  start: EventHead,
): Promise<EventHead> {
  const width = model.config.dModel;
  const rows: Float32Array[] = [];
  const codes: number[] = [];
  for (const [n, example] of examples.entries()) {
    const hidden = await hiddenStates(model, example.features.subarray(0, example.frames * FEATURES));
    const labels = labelCodes(example);
    for (let t = n % EVERY; t < example.frames; t += EVERY) {
      rows.push(hidden.slice(t * width, (t + 1) * width));
      codes.push(labels[t]);
    }
  }
  const known = new Map<number, { column: number; label: number }[]>();
  for (const code of codes) {
    if (known.has(code)) continue;
    const asked = Array.from({ length: EVENT_LOGITS }, (_, column) => ({ column, label: labelOf(code, column) }));
    known.set(
      code,
      asked.flatMap(({ column, label }) => (label === undefined ? [] : [{ column, label }])),
    );
  }
  const size = EVENT_LOGITS * (width + 1);
  // The bias is the last column of each row.
  const w = new Float64Array(size);
  for (let c = 0; c < EVENT_LOGITS; c++) {
    w.set(start.weight.subarray(c * width, (c + 1) * width), c * (width + 1));
    w[c * (width + 1) + width] = start.bias[c];
  }
  const [m, v, gradient] = [new Float64Array(size), new Float64Array(size), new Float64Array(size)];
  const order = Uint32Array.from(rows, (_, i) => i);
  const random = new Random(1);
  const steps = Math.ceil(rows.length / BATCH) * EPOCHS;
  for (let step = 0; step < steps; step++) {
    const at = (step * BATCH) % rows.length;
    if (at < BATCH) shuffle(order, random);
    gradient.fill(0);
    for (let i = at; i < Math.min(at + BATCH, rows.length); i++) {
      const row = rows[order[i]];
      for (const { column, label } of known.get(codes[order[i]])!) {
        const from = column * (width + 1);
        let sum = w[from + width];
        for (let k = 0; k < width; k++) sum += w[from + k] * row[k];
        const d = 1 / (1 + Math.exp(-sum)) - label;
        for (let k = 0; k < width; k++) gradient[from + k] += d * row[k];
        gradient[from + width] += d;
      }
    }
    const rate = RATE * (1 - step / steps);
    const [one, two] = [1 - 0.9 ** (step + 1), 1 - 0.99 ** (step + 1)];
    for (let i = 0; i < size; i++) {
      const g = gradient[i] / BATCH;
      m[i] += 0.1 * (g - m[i]);
      v[i] += 0.01 * (g * g - v[i]);
      const decay = i % (width + 1) === width ? 0 : DECAY;
      w[i] -= rate * (m[i] / one / (Math.sqrt(v[i] / two) + 1e-8) + decay * w[i]);
    }
  }
  const weight = new Float32Array(EVENT_LOGITS * width);
  const bias = new Float32Array(EVENT_LOGITS);
  for (let c = 0; c < EVENT_LOGITS; c++) {
    weight.set(w.subarray(c * (width + 1), c * (width + 1) + width), c * width);
    bias[c] = w[c * (width + 1) + width];
  }
  return { weight, bias };
}

function shuffle(order: Uint32Array, random: Random): void {
  for (let i = order.length - 1; i > 0; i--) {
    const j = random.integer(i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
}
