/** A whole recording out of the bytes of a request. */
import { AdderError } from '../../platform/errors.js';
import {
  type Audio,
  decodeAudio,
  joined,
  LiveDecoder,
  type LiveFormat,
  loadResampler,
  SAMPLE_RATE,
} from '../decode/index.js';
import type { SpeechModel } from '../model/index.js';
import { hearChannels } from '../outlook/hear.js';
import { picture } from '../outlook/picture.js';
import type { TurnModel } from '../turns/index.js';
import type { ClipOutlook, ScanAsk } from './protocol.js';
import { needTwoChannels } from './two-channels.js';

/** What a scan computes with. The turn model is loaded when it is needed. */
export interface ScanModels {
  speech: SpeechModel;
  turns(): Promise<TurnModel>;
}

/** @throws AdderErrors of the decoder, `BAD_MULTIPART`, `BAD_OPTION`; `BAD_CHANNELS` where turns need two */
export async function scanClip(models: ScanModels, ask: ScanAsk): Promise<ClipOutlook | 'tooLong'> {
  const { options } = ask;
  if (options.turns && ask.format) needTwoChannels(ask.format.channels, 'channels', 'send channels=2');
  const audio = await decode(ask);
  if (audio === 'tooLong') return audio;
  const { container, source, warnings, channels } = audio;
  if (options.turns) needTwoChannels(channels.length, 'turns', 'send a stereo recording');
  const turns = options.turns && { model: await models.turns(), options: options.turns };
  const heard = await hearChannels(models.speech, channels, {
    events: options.events,
    ...(turns ? { turns } : {}),
    ...(ask.embeddingSeconds === undefined ? {} : { embeddingSeconds: ask.embeddingSeconds }),
  });
  return {
    model: models.speech.name,
    samples: channels[0].length,
    source: { container, ...source },
    warnings,
    ...heard,
    ...(ask.picture === undefined ? {} : { picture: picture(channels, heard, ask.picture) }),
  };
}

type Decoded = Pick<Audio, 'channels' | 'source' | 'warnings'> & { container: string };

async function decode({ bytes, contentType, format, maxSeconds, options }: ScanAsk): Promise<Decoded | 'tooLong'> {
  const layout = options.turns ? 'separate' : 'mix';
  const file = /^multipart\//i.test(contentType ?? '') ? await firstFile(bytes, contentType!) : bytes;
  if (format) {
    await loadResampler();
    return decodeRaw(file, { ...format, layout }, maxSeconds);
  }
  try {
    const limits = { maxSeconds, ...(options.turns ? { maxChannels: 2 } : {}) };
    return await decodeAudio(file, { layout, limits });
  } catch (error) {
    if (error instanceof AdderError && error.code === 'AUDIO_TOO_LONG') return 'tooLong';
    if (!options.turns || !(error instanceof AdderError) || error.code !== 'BAD_CHANNELS') throw error;
    throw new AdderError({ ...error.toJSON(), where: { field: 'turns' } });
  }
}

function decodeRaw(bytes: Uint8Array, format: LiveFormat, maxSeconds: number): Decoded | 'tooLong' {
  const decoder = new LiveDecoder(format);
  try {
    const pieces = [decoder.push(bytes)];
    const { repaired } = decoder;
    pieces.push(decoder.finish());
    const channels = joined(pieces.filter((piece) => piece.length > 0));
    if (channels.length === 0 || channels[0].length === 0) {
      throw new AdderError({
        code: 'EMPTY_AUDIO',
        message: 'the audio has no samples',
        fix: 'send at least one sample',
      });
    }
    if (channels[0].length > maxSeconds * SAMPLE_RATE) return 'tooLong';
    const warnings = repaired > 0 ? ['samples that are not finite or out of range were replaced'] : [];
    const { layout: _, ...source } = format;
    return { channels, container: format.encoding, source, warnings };
  } finally {
    decoder.close();
  }
}

/** The first file of a form. */
async function firstFile(bytes: Uint8Array, contentType: string): Promise<Uint8Array> {
  let form: FormData;
  try {
    form = await new Response(bytes, { headers: { 'content-type': contentType } }).formData();
  } catch (cause) {
    throw new AdderError({
      code: 'BAD_MULTIPART',
      message: 'this body is not the form that its content-type says',
      where: { field: 'content-type' },
      fix: 'send multipart/form-data with the recording in the field "file", or the recording itself as the body',
      cause,
    });
  }
  for (const value of form.values()) {
    if (typeof value !== 'string') return new Uint8Array(await value.arrayBuffer());
  }
  throw new AdderError({
    code: 'BAD_MULTIPART',
    message: 'this form has no file',
    where: { field: 'file' },
    fix: 'send the recording in the field "file"',
  });
}
