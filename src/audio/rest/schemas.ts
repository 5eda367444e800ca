import { z } from 'zod';
import { SAMPLE_FORMATS } from '../decode/index.js';
import { TRACKS } from '../model/index.js';

const whole = (max: number) => z.coerce.number().int().min(0).max(max);

export const clipQuery = z.object({
  encoding: z
    .enum(SAMPLE_FORMATS as [string, ...string[]])
    .optional()
    .meta({
      description: 'headerless samples of this encoding; a WAV, FLAC, Ogg Opus or MP3 file where absent',
    }),
  sample_rate: whole(999_999_999).optional().meta({ description: 'of headerless samples, Hz' }),
  channels: whole(999_999_999).default(1).meta({ description: 'interleaved channels of headerless samples' }),
  tracks: z
    .string()
    .transform((text) => (text === 'all' ? [...TRACKS] : text.split(',')))
    .pipe(z.array(z.enum(TRACKS)))
    .optional()
    .meta({ description: 'names of tracks, comma separated, or all' }),
  embeddings: z.coerce
    .number()
    .min(0.01)
    .max(3600)
    .optional()
    .meta({ description: 'seconds of one embedding: the mean of the encoder over them' }),
  turns: z.enum(['true', 'false']).default('false').meta({
    description: 'the two channels are the sides of a conversation: each is heard alone, with a turn outlook',
  }),
  turn_threshold: z.coerce
    .number()
    .min(0)
    .max(1)
    .optional()
    .meta({ description: 'probability of a shift at which a turn counts as over' }),
  turn_delay_ms: whole(10_000).optional().meta({ description: 'silence before a turn counts as over' }),
  turn_timeout_ms: whole(10_000).optional().meta({ description: 'silence after which a turn is over in any case' }),
  async: z.enum(['true', 'false']).default('false').meta({ description: 'answer with a job at once' }),
});
export type ClipQuery = z.output<typeof clipQuery>;
