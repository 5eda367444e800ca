/** A whole recording out of the bytes of a request. */
import { AdderError } from '../../platform/errors.js';
import { type Audio, decodeAudio, LiveDecoder, loadResampler, SAMPLE_RATE } from '../decode/index.js';
import { type SpeechModel, scanRecording, trackOf } from '../model/index.js';
import { eventsOf } from '../outlook/outlook.js';
import { plotAudio } from '../plot.js';
import type { ClipOutlook, ScanAsk } from './protocol.js';

/** Tracks of a picture. */
const DRAWN = ['speech', 'speech_200', 'speech_500', 'end_200'] as const;

/** @throws AdderErrors of the decoder, `BAD_MULTIPART`, `BAD_OPTION` */
export async function scanClip(
  model: SpeechModel,
  ask: ScanAsk,
  run: { onProgress?: (share: number) => void; stop?: () => boolean } = {},
): Promise<ClipOutlook | 'tooLong'> {
  const audio = await decode(ask);
  if (audio === 'tooLong') return audio;
  const samples = audio.channels[0];
  const { tracks, embeddings } = await scanRecording(model, samples, {
    ...(ask.embeddingSeconds === undefined ? {} : { embeddingSeconds: ask.embeddingSeconds }),
    onProgress: (rows, total) => run.onProgress?.(rows / total),
    ...(run.stop ? { stop: run.stop } : {}),
  });
  const events = eventsOf(tracks, ask.events);
  const drawn = DRAWN.map((name) => ({ name, values: trackOf(tracks, name) }));
  const { container, source, warnings } = audio;
  return {
    model: model.name,
    samples: samples.length,
    source: { container, ...source },
    warnings,
    values: tracks.values,
    count: tracks.count,
    events,
    ...(embeddings
      ? { embeddings: { seconds: ask.embeddingSeconds!, size: model.config.dModel, values: embeddings } }
      : {}),
    ...(ask.picture === undefined ? {} : { picture: plotAudio(samples, drawn, events, { title: ask.picture }) }),
  };
}

type Decoded = Pick<Audio, 'channels' | 'source' | 'warnings'> & { container: string };

async function decode({ bytes, contentType, format, maxSeconds }: ScanAsk): Promise<Decoded | 'tooLong'> {
  const file = /^multipart\//i.test(contentType ?? '') ? await firstFile(bytes, contentType!) : bytes;
  if (format) {
    await loadResampler();
    return decodeRaw(file, format, maxSeconds);
  }
  try {
    return await decodeAudio(file, { limits: { maxSeconds } });
  } catch (error) {
    if (error instanceof AdderError && error.code === 'AUDIO_TOO_LONG') return 'tooLong';
    throw error;
  }
}

function decodeRaw(bytes: Uint8Array, format: NonNullable<ScanAsk['format']>, maxSeconds: number): Decoded | 'tooLong' {
  const decoder = new LiveDecoder(format);
  try {
    const parts = [...decoder.push(bytes).slice(0, 1)];
    const { repaired } = decoder;
    parts.push(...decoder.finish().slice(0, 1));
    const samples = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      samples.set(part, at);
      at += part.length;
    }
    if (samples.length > maxSeconds * SAMPLE_RATE) return 'tooLong';
    if (samples.length === 0) {
      throw new AdderError({
        code: 'EMPTY_AUDIO',
        message: 'the audio has no samples',
        fix: 'send at least one sample',
      });
    }
    const warnings = repaired > 0 ? ['samples that are not finite or out of range were replaced'] : [];
    return { channels: [samples], container: format.encoding, source: format, warnings };
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
