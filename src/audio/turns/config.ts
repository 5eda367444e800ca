/** The turn model's shape and calibration: what `models/NAME/config.json` says. */
import { z } from 'zod';
import { encoderFields } from '../model/encoder.js';
import { TURN_INPUTS } from './history.js';

/**
 * Columns of the logits:
 *   0 … 3   side A is active in at least half of 0–200, 200–600, 600–1200, 1200–2000 ms from now
 *   4 … 7   the same of side B
 *   8, 9    a back-channel of A, of B, begins within 500 ms
 *   10      in a silence of both: the next to speak is B
 */
export const BACKCHANNEL_AT = 8;
export const NEXT_AT = 10;
export const TURN_LOGITS = 11;

export const turnConfigSchema = z
  .strictObject({
    /** Raised when the inputs or the network change so that older weights no longer mean the same. */
    version: z.literal(1),
    architecture: z.literal('mamba2-turns'),
    inputs: z.literal(TURN_INPUTS),
    ...encoderFields,
  })
  .refine((c) => (c.dModel * c.expand) % c.headDim === 0, {
    path: ['headDim'],
    message: 'must divide dModel · expand',
  });

export type TurnConfig = z.infer<typeof turnConfigSchema>;

const line = z.strictObject({ scale: z.number().positive(), offset: z.number() });

/** p = σ(scale · logit + offset), from calls held out of training: one line a projection bin, for back-channels, and for shifts. */
export const turnCalibrationSchema = z.strictObject({
  projection: z.array(line).length(4),
  backchannel: line,
  shift: line,
});

export type TurnCalibration = z.infer<typeof turnCalibrationSchema>;

const asSaid = { scale: 1, offset: 0 };
export const NO_TURN_CALIBRATION: TurnCalibration = {
  projection: [asSaid, asSaid, asSaid, asSaid],
  backchannel: asSaid,
  shift: asSaid,
};
