import { deserialize } from 'node:v8';
import { Controller, Get, Inject, Param, Post, Query, Req, Res } from '@nestjs/common';
import { ApiConsumes, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { type Caller, From, Needs } from '../../http/auth/caller.js';
import { type ApiContext, InjectApi } from '../../http/context.js';
import { shown } from '../../jobs/rest/jobs.controller.js';
import { RequestError } from '../../platform/request-error.js';
import { ObjectStore } from '../../store/objects.js';
import type { SampleFormat } from '../decode/index.js';
import type { ClipOutlook, ScanAsk } from '../hearing/protocol.js';
import { defined } from '../live/messages.js';
import { EndOfTurn, type EndOfTurnOptions } from '../turns/index.js';
import { formOf, sendClip } from './answer.js';
import { ClipScanner } from './clip-scanner.js';
import { type ClipQuery, clipQuery } from './schemas.js';

/** Audio that a request may wait for; more becomes a job. */
const SYNC_SECONDS = 300;

const TYPES = ['application/json', 'application/x-ndjson', 'image/svg+xml'];

@ApiTags('audio')
@Controller('v1/audio/clips')
export class ClipsController {
  constructor(
    @InjectApi() private readonly api: ApiContext,
    @Inject(ClipScanner) private readonly clips: ClipScanner,
  ) {}

  @Post()
  @Needs('forecast')
  @ApiOperation({
    summary: 'Speech in a recording: segments, events, tracks of what comes next, embeddings, or a picture of them',
    description: 'The body is the file itself, or a form with it. More than five minutes are answered 202 with a job.',
  })
  @ApiConsumes('application/octet-stream', 'multipart/form-data')
  @ApiProduces(...TYPES)
  async hear(
    @Req() request: FastifyRequest,
    @Query({ schema: clipQuery }) query: ClipQuery,
    @From() caller: Caller,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const form = formOf(request);
    const ask = askOf(request, query);
    if (query.async === 'false') {
      const picture = form === 'svg' ? { picture: 'speech outlook' } : {};
      const clip = await this.clips.scan({ ...ask, ...picture, maxSeconds: SYNC_SECONDS });
      if (clip !== 'tooLong') return sendClip(reply.status(200), clip, form, query.tracks);
    }
    const { bytes, options, ...rest } = ask;
    const asked = { ...rest, ...(options.turns ? { turns: options.turns } : {}) };
    const objects = new ObjectStore(this.api.database);
    const keepMs = this.api.config.jobs.retentionMs;
    const added = await this.api.jobs.client.add(
      'listen',
      async (tx) => ({ clip: await objects.put(caller.owner, { kind: 'audio-clip', keepMs }, bytes, tx), ...asked }),
      { owner: caller.owner },
    );
    const job = shown(await this.api.jobs.client.status(caller.owner, added.id));
    reply.status(202).header('location', `/v1/audio/clips/${added.id}`).send(job);
  }

  @Get(':job')
  @Needs('read')
  @ApiOperation({ summary: 'What the job of a long recording has heard, in the form of POST; 202 while it runs' })
  @ApiProduces(...TYPES)
  async get(
    @Param('job', { schema: z.uuid({ error: 'expected the id of a job' }) }) id: string,
    @Query({ schema: clipQuery.pick({ tracks: true }) }) query: Pick<ClipQuery, 'tracks'>,
    @Req() request: FastifyRequest,
    @From() caller: Caller,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const form = formOf(request);
    const job = await this.api.jobs.client.status(caller.owner, id);
    const outlook = job.kind === 'listen' ? (job.result as { outlook?: string } | null)?.outlook : undefined;
    if (job.kind === 'listen' && outlook === undefined) {
      reply.status(job.status === 'failed' || job.status === 'cancelled' ? 422 : 202).send(shown(job));
      return;
    }
    if (outlook === undefined) {
      throw new RequestError({
        status: 404,
        code: 'UNKNOWN_JOB',
        message: 'this job has listened to nothing',
        fix: 'name one that POST /v1/audio/clips has started',
      });
    }
    const clip = deserialize(await new ObjectStore(this.api.database).get(caller.owner, outlook)) as ClipOutlook;
    sendClip(reply.status(200), clip, form, query.tracks);
  }
}

function askOf(
  request: FastifyRequest,
  query: ClipQuery,
): Pick<ScanAsk, 'bytes' | 'contentType' | 'format' | 'embeddingSeconds' | 'options'> {
  const bytes = request.body instanceof Uint8Array ? request.body : new Uint8Array();
  const { encoding, sample_rate: sampleRate, channels, embeddings } = query;
  if (encoding !== undefined && sampleRate === undefined) {
    throw new RequestError({
      status: 422,
      code: 'INVALID_REQUEST',
      message: 'headerless samples need a sample rate',
      where: { field: 'sample_rate' },
      fix: 'add sample_rate, in Hz',
    });
  }
  return {
    bytes,
    contentType: request.headers['content-type'],
    ...(encoding === undefined
      ? {}
      : { format: { encoding: encoding as SampleFormat, sampleRate: sampleRate!, channels } }),
    ...(embeddings === undefined ? {} : { embeddingSeconds: embeddings }),
    options: { events: {}, ...(query.turns === 'true' ? { turns: turnsOf(query) } : {}) },
  };
}

/** @throws AdderError `BAD_OPTION` where they do not fit together */
function turnsOf({ turn_threshold, turn_delay_ms, turn_timeout_ms }: ClipQuery): Partial<EndOfTurnOptions> {
  const options = defined({ threshold: turn_threshold, delayMs: turn_delay_ms, timeoutMs: turn_timeout_ms });
  new EndOfTurn(options);
  return options;
}
