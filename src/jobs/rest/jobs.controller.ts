import { Readable } from 'node:stream';
import { Body, Controller, Get, HttpCode, Param, Post, Query, Req, Res } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { jsonNumbers } from '../../forecast/rest/levels.js';
import { type Caller, From, mustHave, Needs } from '../../http/auth/caller.js';
import { type ApiContext, InjectApi } from '../../http/context.js';
import { type JobResult, ResultStore } from '../../store/results.js';
import type { JobRecord } from '../ledger.js';
import { type NewJobBody, newJob } from './schemas.js';
import { startJob } from './start-jobs.js';

const jobId = z.uuid({ error: 'expected the id of a job' });

const listQuery = z.object({
  kind: z.string().max(64).optional(),
  status: z.enum(['queued', 'running', 'succeeded', 'failed', 'cancelled']).optional(),
  before: jobId.optional().meta({ description: 'the last id of the page before' }),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
});

const resultsQuery = z.object({
  after: z
    .string()
    .regex(/^\d{1,9}\.\d{1,9}$/, { error: 'expected `next` of the page before' })
    .optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
});

/** A proxy that sees nothing for this long may close the stream. */
const HEARTBEAT_MS = 15_000;

@ApiTags('jobs')
@Controller('v1/jobs')
export class JobsController {
  constructor(@InjectApi() private readonly api: ApiContext) {}

  @Post()
  @HttpCode(202)
  @Needs('forecast')
  @ApiOperation({ summary: 'Start a job over stored series, or an import of an uploaded file' })
  async add(@Body({ schema: newJob }) body: NewJobBody, @From() caller: Caller) {
    if (body.kind === 'import') mustHave(caller, 'write');
    const { id, deduplicated } = await startJob(this.api, caller, body);
    return { ...shown(await this.api.jobs.client.status(caller.owner, id)), deduplicated };
  }

  @Get()
  @Needs('read')
  @ApiOperation({ summary: 'Jobs, newest first' })
  async list(@Query({ schema: listQuery }) query: z.output<typeof listQuery>, @From() caller: Caller) {
    const jobs = await this.api.jobs.client.list(caller.owner, query);
    return { jobs: jobs.map(shown), next: jobs.length === query.limit ? jobs.at(-1)!.id : null };
  }

  @Get(':id')
  @Needs('read')
  @ApiOperation({ summary: 'Status, progress and outcome of a job' })
  async get(@Param('id', { schema: jobId }) id: string, @From() caller: Caller) {
    return shown(await this.api.jobs.client.status(caller.owner, id));
  }

  @Post(':id/cancel')
  @HttpCode(202)
  @Needs('write')
  @ApiOperation({ summary: 'Cancel a job and what it waits for; one that runs ends when its worker has heard of it' })
  async cancel(@Param('id', { schema: jobId }) id: string, @From() caller: Caller) {
    return shown(await this.api.jobs.client.cancel(caller.owner, id));
  }

  @Get(':id/events')
  @Needs('read')
  @ApiOperation({ summary: 'Server-sent events: the job now, after each change, and at last when it has finished' })
  async events(
    @Param('id', { schema: jobId }) id: string,
    @From() caller: Caller,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    // An unknown job is an error, not an empty stream.
    await this.api.jobs.client.status(caller.owner, id);
    const hangUp = new AbortController();
    request.raw.once('close', () => hangUp.abort());
    reply.raw.once('close', () => hangUp.abort());
    const stream = Readable.from(this.follow(caller.owner, id, hangUp.signal));
    stream.on('error', () => reply.raw.destroy());
    reply.header('content-type', 'text/event-stream; charset=utf-8').header('x-accel-buffering', 'no').send(stream);
  }

  @Get(':id/results')
  @Needs('read')
  @ApiOperation({ summary: 'What a job has produced so far, window by window' })
  async results(
    @Param('id', { schema: jobId }) id: string,
    @Query({ schema: resultsQuery }) query: z.output<typeof resultsQuery>,
    @From() caller: Caller,
  ) {
    await this.api.jobs.client.status(caller.owner, id);
    const [ordinal, window] = query.after?.split('.').map(Number) ?? [];
    const { results, next } = await new ResultStore(this.api.database).page(caller.owner, id, {
      limit: query.limit,
      ...(ordinal === undefined ? {} : { after: { ordinal, window: window! } }),
    });
    return { results: results.map(shownResult), next: next ? `${next.ordinal}.${next.window}` : null };
  }

  /** The lines of the event stream; comments in between keep the connection open. */
  private async *follow(owner: string, id: string, signal: AbortSignal): AsyncGenerator<string> {
    const changes = this.api.jobs.client.watch(owner, id, { signal });
    let next = changes.next();
    try {
      while (true) {
        let timer: NodeJS.Timeout | undefined;
        const silence = new Promise<'silence'>((done) => {
          timer = setTimeout(() => done('silence'), HEARTBEAT_MS);
        });
        const change = await Promise.race([next, silence]);
        clearTimeout(timer);
        if (change === 'silence') yield ': still here\n\n';
        else if (change.done) return;
        else {
          yield `event: job\ndata: ${JSON.stringify(shown(change.value))}\n\n`;
          next = changes.next();
        }
      }
    } catch (error) {
      // A client that hangs up is no failure.
      if (!signal.aborted) throw error;
    }
  }
}

export const shown = (job: JobRecord) => ({
  id: job.id,
  kind: job.kind,
  status: job.status,
  progress: job.progress,
  note: job.note,
  result: job.result,
  error: job.error,
  attempts: job.attempts,
  parentId: job.parentId,
  createdAt: job.createdAt.toISOString(),
  startedAt: job.startedAt?.toISOString() ?? null,
  finishedAt: job.finishedAt?.toISOString() ?? null,
  deadline: job.deadline?.toISOString() ?? null,
});

const shownResult = ({ seriesKey, window, kind, cutoff, meta, columns }: JobResult) => ({
  series: seriesKey,
  window,
  kind,
  cutoff: cutoff === null ? null : new Date(cutoff).toISOString(),
  meta,
  columns: Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, jsonNumbers(values)])),
});
