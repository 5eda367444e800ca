/** What travels over a speech session: the parameters of its address, messages of both sides, and frames of numbers. */
import { z } from 'zod';
import { AdderError } from '../../platform/errors.js';
import { fieldOf, RequestError } from '../../platform/request-error.js';
import { SAMPLE_FORMATS, type SampleFormat } from '../decode/index.js';
import { LEADS, TRACKS, type TrackName } from '../model/index.js';
import { type EndOfTurnOptions, TURN_TRACKS, type TurnTracks } from '../turns/index.js';

/** Names that others use for the same samples. */
const ALIASES: Record<string, SampleFormat> = {
  pcm16: 'pcm_s16',
  linear16: 'pcm_s16',
  s16le: 'pcm_s16',
  f32: 'float32',
  f32le: 'float32',
};
const ENCODINGS = [...SAMPLE_FORMATS, 'opus'] as const;

const share = z.number().min(0).max(1);
const milliseconds = z.number().min(0).max(10_000);

/** Thresholds of the events; see EventOptions. */
export const eventOptions = z.strictObject({
  startThreshold: share.optional(),
  endThreshold: share.optional(),
  startMs: milliseconds.optional(),
  endMs: milliseconds.optional(),
  predictAfterMs: milliseconds.optional(),
  predictThreshold: z.strictObject(Object.fromEntries(LEADS.map((lead) => [lead, share.optional()]))).optional(),
  rearm: share.optional(),
});

/** When a turn counts as over; see EndOfTurnOptions. */
const turnOptions = z.strictObject({
  threshold: share.optional(),
  delayMs: milliseconds.optional(),
  timeoutMs: milliseconds.optional(),
});

const trackName = z.enum(TRACKS);
const trackList = z.array(trackName).max(TRACKS.length);
/** Milliseconds of audio from one interim message to the next; 0 for none. */
const interimMs = z.number().int().min(0).max(60_000);

export const clientMessage = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('configure'),
    events: eventOptions.optional(),
    turns: turnOptions.optional(),
    tracks: trackList.optional(),
    interimMs: interimMs.optional(),
  }),
  z.strictObject({ type: z.literal('keep_alive') }),
  z.strictObject({ type: z.literal('flush') }),
  z.strictObject({ type: z.literal('close') }),
]);
export type ClientMessage = z.output<typeof clientMessage>;

const whole = (min: number, max: number) =>
  z
    .string()
    .regex(/^-?\d{1,9}$/, { error: 'expected a whole number' })
    .transform(Number)
    .refine((n) => n >= min && n <= max, { error: `expected a whole number from ${min} to ${max}` });

const number = z
  .string()
  .regex(/^\d+(\.\d+)?$/, { error: 'expected a number' })
  .transform(Number);

const query = z.strictObject({
  // Which rates and channels there are, the decoder knows.
  sample_rate: whole(-999_999_999, 999_999_999).optional(),
  channels: whole(-999_999_999, 999_999_999).optional(),
  encoding: z
    .string()
    .transform((name): string => ALIASES[name] ?? name)
    .pipe(z.enum(ENCODINGS))
    .optional(),
  tracks: z
    .string()
    .transform((text) => (text === 'all' ? [...TRACKS] : text === 'none' ? [] : text.split(',')))
    .pipe(trackList)
    .optional(),
  interim_ms: whole(0, 60_000).optional(),
  idle_ms: whole(1000, 600_000).optional(),
  turns: z
    .enum(['true', 'false'])
    .transform((text) => text === 'true')
    .optional(),
  turn_threshold: number.pipe(share).optional(),
  turn_delay_ms: number.pipe(milliseconds).optional(),
  turn_timeout_ms: number.pipe(milliseconds).optional(),
  session: z.uuid().optional(),
});

export interface SessionParameters {
  sampleRate: number | undefined;
  channels: number | undefined;
  encoding: (typeof ENCODINGS)[number] | undefined;
  tracks: TrackName[] | undefined;
  interimMs: number | undefined;
  idleMs: number | undefined;
  /** Whether the channels are the two sides of a conversation. */
  turns: boolean | undefined;
  /** When a turn counts as over: what of it was said. */
  turnOptions: Partial<EndOfTurnOptions>;
  /** A session to go on with. */
  session: string | undefined;
}

/** @throws RequestError `INVALID_REQUEST` naming the parameter */
export function parametersOf(url: string): SessionParameters {
  const search = new URL(url, 'http://localhost').searchParams;
  const parsed = query.safeParse(Object.fromEntries(search));
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new RequestError({
      status: 422,
      code: 'INVALID_REQUEST',
      message: issue.message,
      where: { field: fieldOf(issue.path as (string | number)[]) || String((issue as { keys?: string[] }).keys?.[0]) },
      fix: 'docs/speech-api.md lists the parameters',
    });
  }
  const { sample_rate: sampleRate, interim_ms, idle_ms, channels, encoding, tracks, turns, session } = parsed.data;
  const { turn_threshold: threshold, turn_delay_ms: delayMs, turn_timeout_ms: timeoutMs } = parsed.data;
  const turnOptions = defined({ threshold, delayMs, timeoutMs });
  return {
    sampleRate,
    channels,
    encoding,
    tracks,
    interimMs: interim_ms,
    idleMs: idle_ms,
    turns,
    turnOptions,
    session,
  };
}

/** @throws AdderError `BAD_JSON`, `INVALID_REQUEST` naming the field */
export function messageOf(data: Buffer): ClientMessage {
  let message: unknown;
  try {
    message = JSON.parse(data.toString('utf8'));
  } catch (error) {
    throw new AdderError({
      code: 'BAD_JSON',
      message: (error as Error).message,
      fix: 'send one JSON object a text message, and audio in binary ones',
    });
  }
  const known = clientMessage.safeParse(message);
  if (known.success) return known.data;
  const issue = known.error.issues[0];
  throw new AdderError({
    code: 'INVALID_REQUEST',
    message: issue.message,
    where: { field: fieldOf(issue.path as (string | number)[]) || 'type' },
    fix: 'docs/speech-api.md lists the messages',
  });
}

/** The fields that are there. */
export const defined = <T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;

/** "ADS1" and "ADT1", little endian. */
const SPEECH_MAGIC = 0x31534441;
const TURN_MAGIC = 0x31544441;
const HEADER = 16;

/**
 * Rows as a binary frame, little endian: `ADS1`, count of rows u32, index of the first row f64, then the tracks that the session
 * asks for, row by row, f32: those of the first side, then those of the second where there are two.
 *
 * @param sides of each [count, TRACKS.length]
 */
export function denseFrame(
  first: number,
  count: number,
  sides: readonly Float32Array[],
  tracks: readonly TrackName[],
): Buffer {
  const columns = tracks.map((name) => TRACKS.indexOf(name));
  const out = headed(SPEECH_MAGIC, first, count, columns.length * sides.length);
  let at = HEADER;
  for (let i = 0; i < count; i++) {
    for (const values of sides) {
      for (const column of columns) at = out.writeFloatLE(values[i * TRACKS.length + column], at);
    }
  }
  return out;
}

/** The same of turn tracks, all of them: `ADT1`, count of frames, index of the first one, then frame by frame. */
export function turnFrame({ first, count, values }: TurnTracks): Buffer {
  const out = headed(TURN_MAGIC, first, count, TURN_TRACKS.length);
  let at = HEADER;
  for (const value of values) at = out.writeFloatLE(value, at);
  return out;
}

function headed(magic: number, first: number, count: number, columns: number): Buffer {
  const out = Buffer.allocUnsafe(HEADER + 4 * count * columns);
  out.writeUInt32LE(magic, 0);
  out.writeUInt32LE(count, 4);
  out.writeDoubleLE(first, 8);
  return out;
}
