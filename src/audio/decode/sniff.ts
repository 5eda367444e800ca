import { audioError } from './types.js';

export type Container = 'wav' | 'flac' | 'ogg-opus' | 'mp3';

/** Bytes after which a container is known or refused, unless the input ends before. */
export const SNIFF_BYTES = 64;

/** What the first bytes are. Throws UNSUPPORTED_AUDIO or UNKNOWN_AUDIO with what was found instead. */
export function sniff(head: Uint8Array): Container {
  const text = (at: number, length: number) => String.fromCharCode(...head.subarray(at, at + length));
  if (text(0, 4) === 'RIFF' || text(0, 4) === 'RF64') return 'wav';
  if (text(0, 4) === 'fLaC') return 'flac';
  if (text(0, 4) === 'OggS') {
    if (text(28, 8) === 'OpusHead') return 'ogg-opus';
    // Ogg FLAC: packet type 0x7f, then "FLAC".
    if (text(29, 4) === 'FLAC') return 'flac';
    const codec = text(29, 6) === 'vorbis' ? 'Vorbis' : text(28, 5) === 'Speex' ? 'Speex' : 'a codec other than Opus';
    throw audioError('UNSUPPORTED_AUDIO', `this Ogg file carries ${codec}`, 'convert it to Ogg Opus, FLAC or WAV');
  }
  if (text(0, 3) === 'ID3') return 'mp3';
  // MPEG audio frame: 11 sync bits, a valid version, layer, bit rate and sample rate.
  if (
    head[0] === 0xff &&
    (head[1] & 0xe0) === 0xe0 &&
    (head[1] & 0x18) !== 0x08 &&
    (head[1] & 0x06) !== 0 &&
    (head[2] & 0xf0) !== 0xf0 &&
    (head[2] & 0x0c) !== 0x0c
  ) {
    return 'mp3';
  }
  const known = FOREIGN.find(([at, mark]) => text(at, mark.length) === mark);
  if (known) {
    throw audioError('UNSUPPORTED_AUDIO', `this is ${known[2]}`, 'convert it to WAV, FLAC, Ogg Opus or MP3');
  }
  throw audioError(
    'UNKNOWN_AUDIO',
    'this is not WAV, FLAC, Ogg Opus or MP3',
    'convert it to one of them, or declare headerless samples by encoding and sample_rate',
  );
}

const FOREIGN: [number, string, string][] = [
  [4, 'ftyp', 'an MP4 or M4A file'],
  [0, 'FORM', 'an AIFF file'],
  [0, '.snd', 'a Sun audio file'],
  [0, '\x1aE\xdf\xa3', 'a Matroska or WebM file'],
  [0, '#!AMR', 'an AMR file'],
  [0, 'RIFX', 'a big-endian WAV file'],
];
