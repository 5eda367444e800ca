import { FLACDecoder } from '@wasm-audio-decoders/flac';
import { MPEGDecoder } from 'mpg123-decoder';
import { OggOpusDecoder } from 'ogg-opus-decoder';
import { OpusDecoder } from 'opus-decoder';
import {
  type AudioLimits,
  audioError,
  checkShape,
  type PcmBlock,
  SAMPLE_RATE,
  type SourceDecoder,
  Warnings,
} from './types.js';

interface Decoded {
  channelData: Float32Array[];
  samplesDecoded: number;
  sampleRate: number;
  errors: readonly { message: string }[];
}

/** The part of a library decoder that is used. */
interface Library {
  ready: Promise<void>;
  decode(bytes: Uint8Array): Decoded | Promise<Decoded>;
  flush?(): Promise<Decoded>;
  free(): void;
}

/**
 * Input bytes handed to a library at once. Silence packs well: one byte of FLAC can be 300 samples and one of Opus
 * 1,000, so the input is sliced to keep the output of a slice, and with it the memory, small.
 */
const SLICE = 4096;
/** Fewest bytes worth a call: each costs the parsers a search from the start of the unfinished frame. */
const COALESCE: Record<'flac' | 'mp3' | 'ogg-opus', number> = { flac: 2048, mp3: 1024, 'ogg-opus': 1 };

/** FLAC (native and Ogg), MP3 and Ogg Opus through their libraries. Defects inside the stream become warnings. */
export class CompressedDecoder implements SourceDecoder {
  private library: Library | undefined;
  private readonly noted = new Warnings();
  private readonly held: Uint8Array;
  private count = 0;
  private decoded = 0;

  private constructor(
    private readonly kind: 'flac' | 'mp3' | 'ogg-opus',
    library: Library,
    private readonly limits: AudioLimits,
  ) {
    this.library = library;
    this.held = new Uint8Array(COALESCE[kind]);
  }

  static async open(kind: 'flac' | 'mp3' | 'ogg-opus', limits: AudioLimits): Promise<CompressedDecoder> {
    const library =
      kind === 'flac'
        ? new FLACDecoder()
        : kind === 'mp3'
          ? new MPEGDecoder()
          : // Opus is coded at 48 kHz or below and decodes to 16 kHz itself; the option is missing from its types.
            new OggOpusDecoder({ sampleRate: SAMPLE_RATE } as { forceStereo?: boolean });
    await library.ready;
    return new CompressedDecoder(kind, library, limits);
  }

  get warnings(): readonly string[] {
    return this.noted.list;
  }

  async push(bytes: Uint8Array): Promise<PcmBlock[]> {
    const out: PcmBlock[] = [];
    for (let at = 0; at < bytes.length; ) {
      if (this.count === 0 && bytes.length - at >= this.held.length) {
        const slice = bytes.subarray(at, at + SLICE);
        at += slice.length;
        // The parsers keep references to what they are given: hand over a copy.
        await this.collect(out, (library) => library.decode(slice.slice()));
      } else {
        const step = Math.min(this.held.length - this.count, bytes.length - at);
        this.held.set(bytes.subarray(at, at + step), this.count);
        this.count += step;
        at += step;
        if (this.count === this.held.length) await this.drain(out);
      }
    }
    return out;
  }

  async finish(): Promise<PcmBlock[]> {
    const out: PcmBlock[] = [];
    if (this.count > 0) await this.drain(out);
    if (this.library?.flush) await this.collect(out, (library) => library.flush!());
    if (this.decoded === 0) {
      throw audioError(
        'BAD_AUDIO',
        `no sample could be decoded from this ${NAMES[this.kind]} file${this.noted.list[0] ? `: ${this.noted.list[0]}` : ''}`,
        'the file is damaged or cut off; encode it again',
      );
    }
    return out;
  }

  close(): void {
    const library = this.library;
    this.library = undefined;
    try {
      library?.free();
    } catch {
      // A module that trapped cannot free itself; it is garbage like any other object.
    }
  }

  private async drain(out: PcmBlock[]): Promise<void> {
    const bytes = this.held.slice(0, this.count);
    this.count = 0;
    await this.collect(out, (library) => library.decode(bytes));
  }

  private async collect(out: PcmBlock[], call: (library: Library) => Decoded | Promise<Decoded>): Promise<void> {
    if (!this.library) throw audioError('AUDIO_CLOSED', 'this decoder is closed', 'open another');
    let result: Decoded;
    try {
      result = await call(this.library);
    } catch (cause) {
      // Parsers throw on headers they cannot read, and WebAssembly traps on worse: either way the stream is at its end.
      throw audioError(
        'BAD_AUDIO',
        `this ${NAMES[this.kind]} stream is damaged: ${(cause as Error).message}`,
        'encode the file again',
        cause,
      );
    }
    for (const error of result.errors) this.noted.add(error.message);
    if (result.samplesDecoded === 0 || result.channelData.length === 0) return;
    checkShape(result.sampleRate, result.channelData.length, this.limits);
    const channels = result.channelData.map((c) =>
      c.length === result.samplesDecoded ? c : c.subarray(0, result.samplesDecoded),
    );
    this.decoded += result.samplesDecoded;
    out.push({ sampleRate: result.sampleRate, channels });
  }
}

const NAMES = { flac: 'FLAC', mp3: 'MP3', 'ogg-opus': 'Ogg Opus' };

/** Bare Opus packets, one a message, as WebRTC-like clients send them; mono or stereo, decoded at 16 kHz. */
export class OpusPacketDecoder {
  private constructor(
    private decoder: OpusDecoder<16000> | undefined,
    readonly channels: number,
  ) {}

  static async open(channels: 1 | 2): Promise<OpusPacketDecoder> {
    const options = { sampleRate: SAMPLE_RATE, channels, streamCount: 1, coupledStreamCount: channels - 1 } as const;
    const decoder = new OpusDecoder<16000>({
      ...options,
      channelMappingTable: channels === 1 ? [0] : [0, 1],
      preSkip: 0,
    });
    await decoder.ready;
    return new OpusPacketDecoder(decoder, channels);
  }

  /** Samples of one packet (2.5 to 120 ms). Throws BAD_AUDIO for a packet that is none. */
  packet(bytes: Uint8Array): PcmBlock {
    if (!this.decoder) throw audioError('AUDIO_CLOSED', 'this decoder is closed', 'open another');
    const { channelData, samplesDecoded, errors } = this.decoder.decodeFrame(bytes);
    if (errors.length > 0 || samplesDecoded === 0) {
      throw audioError(
        'BAD_AUDIO',
        `this is not an Opus packet${errors[0] ? `: ${errors[0].message}` : ''}`,
        'send one Opus packet a message, or an Ogg Opus stream',
      );
    }
    return { sampleRate: SAMPLE_RATE, channels: channelData.map((c) => c.slice(0, samplesDecoded)) };
  }

  close(): void {
    this.decoder?.free();
    this.decoder = undefined;
  }
}
