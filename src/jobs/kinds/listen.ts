import { serialize } from 'node:v8';
import { Injectable } from '@nestjs/common';
import type { SampleFormat } from '../../audio/decode/index.js';
import { HearingProcess } from '../../audio/hearing/hearing-process.js';
import { segmentsOf } from '../../audio/outlook/outlook.js';
import { AdderError } from '../../platform/errors.js';
import { type JobContext, type JobHandler, JobProcessor } from '../processor.js';
import type { AdderJobs, DataOfJob } from '../table.js';
import { InjectParts, type WorkerParts } from './worker-parts.js';

/** Longest recording, seconds: what one scan may hold in memory. */
const MAX_SECONDS = 4 * 3600;
/** The same with two channels. */
const MAX_SECONDS_TURNS = 2 * 3600;
/** Longest scan. */
const SCAN_MS = 2 * 3_600_000;

/** Hears a long recording in a process of its own. */
@Injectable()
@JobProcessor('listen')
export class ListenJob implements JobHandler<AdderJobs, 'listen'> {
  constructor(@InjectParts() private readonly parts: WorkerParts) {}

  async process({ owner, data, signal, progress }: JobContext<DataOfJob<'listen'>>) {
    const { objects, config } = this.parts;
    const { clip, format, turns, ...asked } = data;
    const maxSeconds = turns ? MAX_SECONDS_TURNS : MAX_SECONDS;
    const bytes = await objects.get(owner, clip);
    progress(0.05, 'listening');
    const process = new HearingProcess({ backend: config.backend, model: config.speech.model });
    const stop = () => process.kill();
    signal.addEventListener('abort', stop);
    try {
      const heard = await process.ask(
        {
          kind: 'scan',
          bytes,
          contentType: undefined,
          ...asked,
          ...(format ? { format: { ...format, encoding: format.encoding as SampleFormat } } : {}),
          maxSeconds,
          options: { events: {}, ...(turns ? { turns } : {}) },
          picture: 'speech outlook',
        },
        SCAN_MS,
      );
      if (heard === 'tooLong') {
        throw new AdderError({
          code: 'AUDIO_TOO_LONG',
          message: `the audio is longer than ${maxSeconds / 3600} hours`,
          fix: 'send it in parts',
        });
      }
      return async (client: Parameters<typeof objects.put>[3]) => ({
        outlook: await objects.put(
          owner,
          { kind: 'audio-outlook', keepMs: config.jobs.retentionMs },
          serialize(heard),
          client,
        ),
        model: heard.model,
        seconds: heard.samples / 16_000,
        segments: heard.sides.reduce((sum, { events }) => sum + segmentsOf(events).length, 0),
      });
    } finally {
      signal.removeEventListener('abort', stop);
      await process.close();
    }
  }
}
