/** What a process that listens is asked, and what it answers. Arrays travel in their binary form (advanced serialization). */
import type { SentError } from '../../jobs/inference/protocol.js';
import type { SampleFormat } from '../decode/index.js';
import type { EventOptions, SpeechEvent } from '../events.js';
import type { EndOfTurnOptions, SideName, TurnEvent, TurnTracks } from '../turns/index.js';

/** What a live client says about the samples it sends. `opus`: one packet a message. */
export interface AudioFormat {
  encoding: SampleFormat | 'opus';
  /** Hz. */
  sampleRate: number;
  channels: number;
}

/** What a session tells, and when. */
export interface SessionOptions {
  /** Thresholds of speech events, of every side. */
  events: Partial<EventOptions>;
  /** There where the channels are the two sides of a conversation; otherwise they are mixed. */
  turns?: Partial<EndOfTurnOptions>;
}

/** What was heard; `side` where there are two. */
export type HeardEvent = (SpeechEvent & { side?: SideName }) | TurnEvent;

/** One thing to do for a session, in the order of the client's messages. */
export type SessionItem =
  | { kind: 'audio'; bytes: Uint8Array }
  /** Thresholds from here on, all of them. */
  | { kind: 'configure'; options: SessionOptions }
  /** Comes back in the output that has everything before it. */
  | { kind: 'mark'; mark: number }
  /** No more audio comes: what the resampler still holds, and an open stretch of speech, are finished. */
  | { kind: 'finish' };

/** What a tick brought for one session. */
export interface SessionOutput {
  session: number;
  /** Index of the first row. */
  first: number;
  count: number;
  /** One, or with turns two: tracks [count, TRACKS.length], and whether somebody speaks after them. */
  sides: { values: Float32Array; speaking: boolean }[];
  turns?: TurnTracks;
  events: HeardEvent[];
  marks: number[];
  /** Float samples so far that were not finite or out of range. */
  repaired: number;
  /** What was wrong with items of the tick; they are passed over. */
  errors: SentError[];
}

export interface OpenAsk {
  kind: 'open';
  session: number;
  format: AudioFormat;
  options: SessionOptions;
  /** State that `save` gave; format and options are then those of the state. */
  saved?: Uint8Array;
}

export interface ScanAsk {
  kind: 'scan';
  bytes: Uint8Array;
  /** Of the request; a multipart body has its boundary in it. */
  contentType: string | undefined;
  /** Headerless samples; a container where absent. */
  format?: { encoding: SampleFormat; sampleRate: number; channels: number };
  /** Audio beyond it is not scanned: the answer is `tooLong`. */
  maxSeconds: number;
  embeddingSeconds?: number;
  options: SessionOptions;
  /** Draw a picture with this title. */
  picture?: string;
}

/** What is known of a whole recording. */
export interface ClipOutlook {
  model: string;
  /** Samples at 16 kHz. */
  samples: number;
  source: { container: string; sampleRate: number; channels: number };
  warnings: readonly string[];
  /** Hops. */
  count: number;
  /** One, or with turns two. */
  sides: SideOutlook[];
  turns?: TurnOutlook;
  picture?: string;
}

export interface SideOutlook {
  /** [count, TRACKS.length] */
  values: Float32Array;
  events: SpeechEvent[];
  embeddings?: { seconds: number; size: number; values: Float32Array };
}

export interface TurnOutlook {
  model: string;
  tracks: TurnTracks;
  events: TurnEvent[];
}

export type HearingAsk =
  | OpenAsk
  | { kind: 'tick'; work: { session: number; items: SessionItem[] }[] }
  /** The state of a session, which ends with it. */
  | { kind: 'save'; session: number }
  | { kind: 'close'; session: number }
  | ScanAsk;

export interface HearingAnswers {
  open: { model: string; turnModel?: string; format: AudioFormat };
  tick: SessionOutput[];
  save: Uint8Array;
  close: null;
  scan: ClipOutlook | 'tooLong';
}

export type HearingReply =
  | { id: number; answer: HearingAnswers[keyof HearingAnswers] }
  | { id: number; error: SentError };

/** A question as it travels. */
export type SentAsk = HearingAsk & { id: number };
