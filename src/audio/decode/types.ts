import { AdderError } from '../../platform/errors.js';

/** Everything speech in Adder runs at this rate, in Hz. */
export const SAMPLE_RATE = 16_000;

/** Decoded audio of one file or stream, before mixing and resampling. All channels have the same length. */
export interface PcmBlock {
  /** Hz, as the source declares it; checked against the limits by whoever opens the source. */
  sampleRate: number;
  /** One array a channel, full scale ±1. */
  channels: Float32Array[];
}

/** Turns the bytes of one container into PCM. Bytes may be cut anywhere. */
export interface SourceDecoder {
  /** Blocks that became complete with these bytes. */
  push(bytes: Uint8Array): PcmBlock[] | Promise<PcmBlock[]>;
  /** What is left at the end of the input; called once. */
  finish(): PcmBlock[] | Promise<PcmBlock[]>;
  /** Give memory back; safe to call at any time and twice. */
  close(): void;
  /** Defects that were passed over, one sentence each, at most 16. */
  readonly warnings: readonly string[];
}

/** What is accepted. Everything outside is refused with an error that names the limit. */
export interface AudioLimits {
  /** Hz. */
  minSampleRate: number;
  maxSampleRate: number;
  maxChannels: number;
  /** Longest audio, in seconds; protects callers that collect the whole of it. */
  maxSeconds: number;
}

export const DEFAULT_LIMITS: AudioLimits = {
  minSampleRate: 4_000,
  maxSampleRate: 384_000,
  maxChannels: 32,
  maxSeconds: 4 * 3600,
};

/** Codes of all errors this folder throws. */
export type AudioErrorCode =
  | 'EMPTY_AUDIO'
  | 'UNKNOWN_AUDIO'
  | 'UNSUPPORTED_AUDIO'
  | 'BAD_AUDIO'
  | 'BAD_SAMPLE_RATE'
  | 'BAD_CHANNELS'
  | 'AUDIO_TOO_LONG'
  | 'AUDIO_CHANGED'
  | 'AUDIO_CLOSED';

export function audioError(code: AudioErrorCode, message: string, fix: string, cause?: unknown): AdderError {
  return new AdderError({ code, message, fix, cause });
}

/** Throws unless rate and channel count are whole numbers within the limits. */
export function checkShape(sampleRate: number, channels: number, limits: AudioLimits): void {
  const { minSampleRate, maxSampleRate, maxChannels } = limits;
  if (!(Number.isInteger(sampleRate) && sampleRate >= minSampleRate && sampleRate <= maxSampleRate)) {
    throw audioError(
      'BAD_SAMPLE_RATE',
      `sample rate ${sampleRate} Hz is not a whole number between ${minSampleRate} and ${maxSampleRate} Hz`,
      'check the header or the sample_rate that was declared, or convert the audio to 16000 Hz',
    );
  }
  if (!(Number.isInteger(channels) && channels >= 1 && channels <= maxChannels)) {
    throw audioError(
      'BAD_CHANNELS',
      `${channels} channels, but between 1 and ${maxChannels} are accepted`,
      'mix the audio down, or send the channels one by one',
    );
  }
}

/** Collects warnings without growing beyond what anyone reads. */
export class Warnings {
  readonly list: string[] = [];

  add(text: string): void {
    if (this.list.length < 16 && !this.list.includes(text)) this.list.push(text);
  }
}
