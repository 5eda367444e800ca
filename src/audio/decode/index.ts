/** Audio of any supported kind → Float32 at 16 kHz: whole files, streams of bytes, and live sessions. */
import { createReadStream } from 'node:fs';
import { toAdderError } from '../../platform/errors.js';
import { CompressedDecoder } from './compressed.js';
import { Converter, type Layout } from './converter.js';
import { joined } from './joined.js';
import { loadResampler } from './resample.js';
import { type Container, SNIFF_BYTES, sniff } from './sniff.js';
import { type AudioLimits, audioError, DEFAULT_LIMITS, SAMPLE_RATE, type SourceDecoder } from './types.js';
import { WavDecoder } from './wav.js';

export { OpusPacketDecoder } from './compressed.js';
export { Converter, type ConverterState, type Layout } from './converter.js';
export { joined } from './joined.js';
export { LiveDecoder, type LiveDecoderState, type LiveFormat } from './live.js';
export { loadResampler, Resampler, type ResamplerState } from './resample.js';
export { SAMPLE_FORMATS, type SampleFormat } from './sample-format.js';
export type { Container } from './sniff.js';
export { type AudioErrorCode, type AudioLimits, DEFAULT_LIMITS, SAMPLE_RATE } from './types.js';

export interface DecodeOptions {
  layout?: Layout;
  limits?: Partial<AudioLimits>;
}

/** A whole recording at 16 kHz. */
export interface Audio {
  sampleRate: typeof SAMPLE_RATE;
  /** One array a kept channel, of equal lengths, full scale ±1. */
  channels: Float32Array[];
  container: Container;
  /** As the file declares it. */
  source: { sampleRate: number; channels: number };
  /** Defects that were passed over, one sentence each. */
  warnings: readonly string[];
}

/**
 * One container, incremental: `push` bytes cut anywhere, get 16 kHz samples; memory does not grow with the length.
 * Errors are AdderErrors with the codes of AudioErrorCode; after one, only `close` may be called.
 */
export class ContainerDecoder {
  private decoder: SourceDecoder | undefined;
  private readonly converter: Converter;
  private readonly limits: AudioLimits;
  private readonly head = new Uint8Array(SNIFF_BYTES);
  private count = 0;
  private kind: Container | undefined;

  private constructor(options: DecodeOptions) {
    this.limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.converter = new Converter(options.layout, this.limits);
  }

  static async open(options: DecodeOptions = {}): Promise<ContainerDecoder> {
    await loadResampler();
    return new ContainerDecoder(options);
  }

  /** Known once the first 64 bytes have come. */
  get container(): Container | undefined {
    return this.kind;
  }

  get source(): { sampleRate: number; channels: number } | undefined {
    return this.converter.source;
  }

  get warnings(): readonly string[] {
    return this.decoder?.warnings ?? [];
  }

  /** Pieces that became complete: each one array a kept channel. */
  async push(bytes: Uint8Array): Promise<Float32Array[][]> {
    if (this.decoder) return this.convert(await this.decoder.push(bytes));
    const step = Math.min(SNIFF_BYTES - this.count, bytes.length);
    this.head.set(bytes.subarray(0, step), this.count);
    this.count += step;
    if (this.count < SNIFF_BYTES) return [];
    const first = await this.begin();
    return step < bytes.length ? [...first, ...(await this.push(bytes.subarray(step)))] : first;
  }

  async finish(): Promise<Float32Array[][]> {
    const out: Float32Array[][] = [];
    if (!this.decoder) {
      if (this.count === 0) throw audioError('EMPTY_AUDIO', 'the audio is empty', 'send at least one sample');
      out.push(...(await this.begin()));
    }
    out.push(...this.convert(await this.decoder!.finish()));
    if (!this.converter.source) throw audioError('EMPTY_AUDIO', 'the audio has no samples', 'send at least one sample');
    const rest = this.converter.finish();
    if (rest.length > 0 && rest[0].length > 0) out.push(rest);
    return out;
  }

  close(): void {
    this.decoder?.close();
    this.converter.close();
  }

  private async begin(): Promise<Float32Array[][]> {
    const head = this.head.slice(0, this.count);
    this.kind = sniff(head);
    this.decoder =
      this.kind === 'wav' ? new WavDecoder(this.limits) : await CompressedDecoder.open(this.kind, this.limits);
    return this.convert(await this.decoder.push(head));
  }

  private convert(blocks: Awaited<ReturnType<SourceDecoder['push']>>): Float32Array[][] {
    return blocks.filter((b) => b.channels[0].length > 0).map((b) => this.converter.push(b));
  }
}

/** Bytes of a container as they come → pieces of 16 kHz samples; ten hours of them need no more memory than one. */
export async function* decodeStream(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: DecodeOptions = {},
): AsyncGenerator<Float32Array[], void, undefined> {
  const decoder = await ContainerDecoder.open(options);
  try {
    for await (const bytes of source) {
      for (let at = 0; at < bytes.length; at += STREAM_SLICE) {
        yield* await decoder.push(bytes.subarray(at, at + STREAM_SLICE));
      }
    }
    yield* await decoder.finish();
  } finally {
    decoder.close();
  }
}

/** A whole recording in memory: at most `limits.maxSeconds` of it. */
export async function decodeAudio(
  source: Uint8Array | AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: DecodeOptions = {},
): Promise<Audio> {
  const decoder = await ContainerDecoder.open(options);
  const pieces: Float32Array[][] = [];
  try {
    for await (const bytes of source instanceof Uint8Array ? [source] : source) {
      for (let at = 0; at < bytes.length; at += STREAM_SLICE) {
        pieces.push(...(await decoder.push(bytes.subarray(at, at + STREAM_SLICE))));
      }
    }
    pieces.push(...(await decoder.finish()));
    return {
      sampleRate: SAMPLE_RATE,
      channels: joined(pieces),
      container: decoder.container!,
      source: decoder.source!,
      warnings: decoder.warnings,
    };
  } finally {
    decoder.close();
  }
}

/** A whole file; see decodeAudio. Errors name the file. */
export async function decodeFile(path: string, options: DecodeOptions = {}): Promise<Audio> {
  try {
    return await decodeAudio(readWhenAsked(path), options);
  } catch (error) {
    throw toAdderError(error, { file: path });
  }
}

/** Opens the file with the first read: a stream that fails before anybody reads it would end the process. */
async function* readWhenAsked(path: string): AsyncGenerator<Uint8Array> {
  yield* createReadStream(path);
}

/** Input bytes between two hand-overs: bounds what one push can decode to. */
const STREAM_SLICE = 65_536;
