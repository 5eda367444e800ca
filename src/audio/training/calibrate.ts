/**
 * What probabilities are worth, learnt on data held out of training: Platt's line for logits (Platt 1999), and the half
 * width of an 80 % interval in the deviations that the network gives.
 */
import type { Example } from '../data/example.js';
import { MEL_BANDS } from '../features/index.js';
import {
  END_AT,
  EVENT_LOGITS,
  NO_CALIBRATION,
  SPECTRAL_LEADS,
  type SpeechCalibration,
  START_AT,
} from '../model/config.js';
import type { SpeechModel } from '../model/model.js';
import { forecastSpectra } from '../model/spectrum.js';
import { BACKCHANNEL_AT, NEXT_AT, type TurnCalibration } from '../turns/config.js';
import { scanConversation, TURN_TRACKS, type TurnModel } from '../turns/index.js';
import { labelCodes, labelOf } from './outlook-labels.js';
import { type LabelledCall, turnLabelOf } from './turn-labels.js';

export interface Line {
  scale: number;
  offset: number;
}

/** Logits with 0/1 labels, gathered for one line. */
export class LabelledLogits {
  readonly logits: number[] = [];
  readonly labels: number[] = [];

  add(logit: number, label: number | undefined): void {
    if (label !== 0 && label !== 1) return;
    this.logits.push(logit);
    this.labels.push(label);
  }

  /** The line of largest likelihood, by Newton's method; the identity where there is nothing to learn from. */
  fit(): Line {
    const { logits, labels } = this;
    let [scale, offset] = [1, 0];
    const positives = labels.reduce((sum, v) => sum + v, 0);
    if (positives === 0 || positives === labels.length) return { scale, offset };
    for (let round = 0; round < 30; round++) {
      let [ga, gb, haa, hab, hbb] = [0, 0, 1e-6, 0, 1e-6];
      for (let i = 0; i < logits.length; i++) {
        const x = logits[i];
        const p = 1 / (1 + Math.exp(-(scale * x + offset)));
        const w = p * (1 - p);
        ga += (p - labels[i]) * x;
        gb += p - labels[i];
        haa += w * x * x;
        hab += w * x;
        hbb += w;
      }
      const determinant = haa * hbb - hab * hab;
      const da = (hbb * ga - hab * gb) / determinant;
      const db = (haa * gb - hab * ga) / determinant;
      scale = Math.min(5, Math.max(0.05, scale - da));
      offset -= db;
      if (Math.abs(da) + Math.abs(db) < 1e-8) break;
    }
    return { scale, offset };
  }
}

/** Share of forecasts that an interval is to hold. */
const HELD = 0.8;

/** Calibration of a speech model, whatever it has now, from composed streams held out. */
export async function calibrateSpeech(model: SpeechModel, examples: readonly Example[]): Promise<SpeechCalibration> {
  const columns = Array.from({ length: END_AT }, () => new LabelledLogits());
  const [end, start] = [new LabelledLogits(), new LabelledLogits()];
  const ratios = SPECTRAL_LEADS.map(() => [] as number[]);
  for (const example of examples) {
    const { logits, mean, halfWidth } = await forecastSpectra(model, example.features);
    const codes = labelCodes(example);
    for (let t = 0; t < example.frames; t++) {
      const at = t * EVENT_LOGITS;
      for (let h = 0; h < END_AT; h++) columns[h].add(logits[at + h], labelOf(codes[t], h));
      if (t % 5 !== 0) continue;
      for (let c = END_AT; c < EVENT_LOGITS; c++) {
        (c < START_AT ? end : start).add(logits[at + c], labelOf(codes[t], c));
      }
      SPECTRAL_LEADS.forEach((lead, h) => {
        if (t + lead >= example.frames || t < 50) return;
        for (let b = t % 8; b < MEL_BANDS; b += 8) {
          const i = (t * SPECTRAL_LEADS.length + h) * MEL_BANDS + b;
          const error = Math.abs(example.logMel[(t + lead) * MEL_BANDS + b] - mean[i]);
          ratios[h].push((error / halfWidth[i]) * model.calibration.interval[h]);
        }
      });
    }
  }
  const interval = ratios.map((r, h) => {
    const sorted = Float64Array.from(r).sort();
    return sorted.length > 0 ? sorted[Math.floor(HELD * (sorted.length - 1))] : NO_CALIBRATION.interval[h];
  });
  return { speech: columns.map((c) => c.fit()), end: end.fit(), start: start.fit(), interval };
}

const logit = (p: number): number => Math.log(Math.max(p, 1e-7) / Math.max(1 - p, 1e-7));

/** Calibration of a turn model from calls held out. @param model without calibration: `NO_TURN_CALIBRATION` */
export async function calibrateTurns(model: TurnModel, calls: readonly LabelledCall[]): Promise<TurnCalibration> {
  const bins = [0, 1, 2, 3].map(() => new LabelledLogits());
  const [backchannel, shift] = [new LabelledLogits(), new LabelledLogits()];
  for (const { activity, codes } of calls) {
    const { values } = await scanConversation(model, activity);
    let last = 0;
    codes.forEach((code, t) => {
      const at = t * TURN_TRACKS.length;
      if (activity[0][t] !== activity[1][t]) last = activity[1][t];
      const next = turnLabelOf(code, NEXT_AT);
      if (next !== undefined) shift.add(logit(values[at + NEXT_AT]), next ^ last);
      if (t % 10 !== 0) return;
      for (let k = 0; k < BACKCHANNEL_AT; k++) bins[k % 4].add(logit(values[at + k]), turnLabelOf(code, k));
      for (const s of [BACKCHANNEL_AT, BACKCHANNEL_AT + 1])
        backchannel.add(logit(values[at + s]), turnLabelOf(code, s));
    });
  }
  return { projection: bins.map((b) => b.fit()), backchannel: backchannel.fit(), shift: shift.fit() };
}
