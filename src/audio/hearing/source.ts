/** Samples at 16 kHz out of the bytes of a live client, one array a kept channel. */
import { AdderError } from '../../platform/errors.js';
import {
  Converter,
  type Layout,
  LiveDecoder,
  type LiveDecoderState,
  loadResampler,
  OpusPacketDecoder,
} from '../decode/index.js';
import type { AudioFormat } from './protocol.js';

export interface Source {
  push(bytes: Uint8Array): Float32Array[];
  finish(): Float32Array[];
  snapshot(): LiveDecoderState | undefined;
  /** Float samples so far that were not finite or out of range. */
  readonly repaired: number;
  close(): void;
}

/** @throws AdderError `BAD_SAMPLE_RATE`, `BAD_CHANNELS` */
export async function openSource(format: AudioFormat, layout: Layout, state?: LiveDecoderState): Promise<Source> {
  await loadResampler();
  const { encoding, sampleRate, channels } = format;
  if (encoding !== 'opus') {
    return state ? LiveDecoder.restore(state) : new LiveDecoder({ encoding, sampleRate, channels, layout });
  }
  if (channels !== 1 && channels !== 2) {
    throw new AdderError({
      code: 'BAD_CHANNELS',
      message: `Opus packets have one or two channels, not ${channels}`,
      where: { field: 'channels' },
      fix: 'say channels=1 or channels=2',
    });
  }
  const decoder = await OpusPacketDecoder.open(channels);
  const converter = new Converter(layout);
  return {
    push: (bytes) => converter.push(decoder.packet(bytes)),
    finish: () => [],
    snapshot: () => undefined,
    repaired: 0,
    close: () => {
      decoder.close();
      converter.close();
    },
  };
}
