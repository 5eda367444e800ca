/** The speech model's shape and calibration: what `models/NAME/config.json` says. */
import { z } from 'zod';
import { HORIZONS } from '../data/example.js';
import { FEATURES } from '../features/index.js';
import { HAZARD_BINS } from '../hazard.js';
import { encoderFields } from './encoder.js';

/** Frames ahead of the log-mel forecasts: 10, 30, 50, 100, 200, 500 ms. The first gives the surprise. */
export const SPECTRAL_LEADS = [1, 3, 5, 10, 20, 50] as const;

/**
 * Columns of the event head's logits:
 *   0 … 5    speech at HORIZONS
 *   6 … 25   hazard of the end, bin by bin, given that somebody speaks
 *   26 … 45  hazard of the start, given that nobody does
 */
export const END_AT: number = HORIZONS.length;
export const START_AT: number = END_AT + HAZARD_BINS;
export const EVENT_LOGITS: number = START_AT + HAZARD_BINS;

export const speechConfigSchema = z
  .strictObject({
    /** Raised when the features or the network change so that older weights no longer mean the same. */
    version: z.literal(1),
    architecture: z.literal('mamba2-speech'),
    /** Columns of a feature row. */
    inputs: z.literal(FEATURES),
    ...encoderFields,
  })
  .refine((c) => (c.dModel * c.expand) % c.headDim === 0, {
    path: ['headDim'],
    message: 'must divide dModel · expand',
  });

export type SpeechConfig = z.infer<typeof speechConfigSchema>;

const finite = z.number();
const line = z.strictObject({ scale: finite.positive(), offset: finite });

/**
 * What held-out training streams taught about the probabilities (Platt 1999): p = σ(scale · logit + offset), one line for each
 * horizon of speech, one for each of the two hazards; and the half width of an 80 % interval in standard deviations for each
 * spectral lead.
 */
export const speechCalibrationSchema = z.strictObject({
  speech: z.array(line).length(HORIZONS.length),
  end: line,
  start: line,
  interval: z.array(finite.positive()).length(SPECTRAL_LEADS.length),
});

export type SpeechCalibration = z.infer<typeof speechCalibrationSchema>;

/** Probabilities as the network says them; intervals as if errors were normal. */
export const NO_CALIBRATION: SpeechCalibration = {
  speech: HORIZONS.map(() => ({ scale: 1, offset: 0 })),
  end: { scale: 1, offset: 0 },
  start: { scale: 1, offset: 0 },
  interval: SPECTRAL_LEADS.map(() => 1.2816),
};
