/** What `adder train CONFIG` reads for listening models: one JSON file that, with the data, determines a run. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { count, optimiserSchema, parseRunConfig, runFields, share } from '../../platform/training-config.js';
import { speechConfigSchema } from '../model/config.js';
import { turnConfigSchema } from '../turns/config.js';

const common = {
  ...runFields,
  /** Folder with `train`, `dev`, `noise` and `swb_turns`; --data overrides it. */
  data: z.string().optional(),
  batch: z.strictObject({
    /** Sequences of a step, and frames of each. */
    sequences: count,
    frames: z.int().min(64),
  }),
  optimiser: optimiserSchema(0.05),
  validation: z.strictObject({ every: count, sequences: count }),
};

export const speechTrainingSchema = z.strictObject({
  task: z.literal('speech-outlook'),
  ...common,
  model: speechConfigSchema,
  /** Weights of the parts of the loss; each part is a mean over its frames. */
  loss: z.strictObject({
    now: z.number().min(0).default(1),
    ahead: z.number().min(0).default(0.5),
    change: z.number().min(0).default(0.5),
    spectrum: z.number().min(0).default(0.1),
  }),
  /**
   * Composed streams are drawn several times each from a window of the newest. It begins with `initial`, gets `perStep` new
   * ones every step (or as many as the threads make, with a budget) and forgets all but the newest `keep`.
   */
  streams: z.strictObject({
    initial: count,
    perStep: z.number().min(0),
    keep: count,
    /** Largest random equaliser, dB a band, smooth over bands; and gain, dB. */
    equaliser: z.number().min(0).default(10),
    gain: z.number().min(0).default(6),
    /** Widest run of mel bands that a sequence is not told, two runs a sequence. */
    masked: z.int().min(0).max(40).default(10),
  }),
  /** Also train on packs whose licence keeps weights from being shipped. */
  unrestricted: z.boolean().default(false),
});

export const turnTrainingSchema = z.strictObject({
  task: z.literal('turn-outlook'),
  ...common,
  model: turnConfigSchema,
  loss: z.strictObject({
    projection: z.number().min(0).default(1),
    shift: z.number().min(0).default(1),
    backchannel: z.number().min(0).default(0.2),
  }),
  /** Share of sequences whose activity is disturbed as a real detector would: jitter, flips, hangover. */
  disturbed: share.default(0.3),
});

export type SpeechTraining = z.infer<typeof speechTrainingSchema>;
export type TurnTraining = z.infer<typeof turnTrainingSchema>;
export type ListeningTraining = SpeechTraining | TurnTraining;

export const listeningTrainingSchema = z.discriminatedUnion('task', [speechTrainingSchema, turnTrainingSchema]);

/**
 * The configuration in a file, or undefined where it is not one of these: forecasters have no `task`, and files that are not
 * JSON are for their reader to refuse.
 *
 * @throws AdderError `BAD_CONFIG` naming the file and the field
 */
export function readListeningTraining(file: string): ListeningTraining | undefined {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
  if (typeof json !== 'object' || json === null || !('task' in json)) return undefined;
  return parseRunConfig(listeningTrainingSchema, json, file);
}
