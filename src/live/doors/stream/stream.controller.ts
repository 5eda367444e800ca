import { PassThrough, type Readable } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { Controller, Get, Param, Post, Query, Req, Res } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { type Caller, From, Needs } from '../../../http/auth/caller.js';
import { encodingOf } from '../../../http/body/limits.js';
import { type ApiContext, InjectApi } from '../../../http/context.js';
import { asRequestError, problemOf } from '../../../http/problem.js';
import { RequestError } from '../../../platform/request-error.js';
import { NdjsonStream } from './ndjson-stream.js';
import { committedSequence } from './stream-positions.js';

const name = z.string().min(1).max(256);

const place = z.object({
  stream: name.optional().meta({ description: 'name under which the number of committed lines is kept' }),
  after: z
    .string()
    .regex(/^\d{1,15}$/, { error: 'expected a whole number' })
    .default('0')
    .meta({ description: 'lines of the stream that came before this body' }),
});

/** A stream that brings nothing for so long is ended: its client is gone. An empty line keeps it open. */
const IDLE_MS = 300_000;

@ApiTags('live')
@Controller('v1/live')
export class StreamController {
  constructor(@InjectApi() private readonly api: ApiContext) {}

  @Post('points')
  @Needs('write')
  @ApiOperation({
    summary:
      'Points as a stream of NDJSON lines, for as long as the client sends. Accept: application/x-ndjson tells what is committed meanwhile',
  })
  async write(
    @Req() request: FastifyRequest,
    @Query({ schema: place }) query: z.output<typeof place>,
    @From() caller: Caller,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const body = decompressed(request);
    const live = /\bapplication\/x-ndjson\b/.test(request.headers.accept ?? '') ? new PassThrough() : undefined;
    const stream = new NdjsonStream({
      ingest: this.api.live.ingest,
      writer: caller,
      stream: query.stream,
      after: BigInt(query.after),
      onProgress: (told) => {
        // A client that does not read its answers misses some; the next one includes them.
        if (live && live.writableLength < 65_536) live.write(`${JSON.stringify(told)}\n`);
      },
    });
    closeWhenIdle(request, reply);
    if (!live) {
      try {
        const summary = await stream.read(body);
        reply.status(200).send(summary);
      } catch (error) {
        hangUpAfter(reply, request);
        throw error;
      }
      return;
    }
    reply.status(200).header('content-type', 'application/x-ndjson').header('x-accel-buffering', 'no').send(live);
    try {
      live.end(`${JSON.stringify({ done: await stream.read(body) })}\n`);
    } catch (error) {
      // The status is gone already, so the last line says what happened.
      hangUpAfter(reply, request);
      live.end(`${JSON.stringify({ error: problemOf(asRequestError(error), String(request.id)) })}\n`);
    }
  }

  @Get('streams/:stream')
  @Needs('read')
  @ApiOperation({ summary: 'The sequence number up to which a stream is committed, for clients that resume' })
  async position(@Param('stream', { schema: name }) stream: string, @From() caller: Caller) {
    const sequence = await committedSequence(this.api.database, caller.owner, stream);
    return { stream, sequence: Number(sequence) };
  }
}

function closeWhenIdle({ raw }: FastifyRequest, reply: FastifyReply): void {
  const { socket } = raw;
  const hangUp = () => socket.destroy();
  socket.setTimeout(IDLE_MS, hangUp);
  reply.raw.once('close', () => {
    socket.off('timeout', hangUp);
    socket.setTimeout(0);
  });
}

/** Time that a client which is still sending has to read why it is refused. */
const LINGER_MS = 1000;

/** What still comes is thrown away, and soon the connection is closed. */
function hangUpAfter(reply: FastifyReply, { raw }: FastifyRequest): void {
  if (raw.complete) return;
  if (!reply.raw.headersSent) reply.header('connection', 'close');
  raw.resume();
  reply.raw.once('close', () => setTimeout(() => raw.socket.destroy(), LINGER_MS).unref());
}

const UNPACKERS = { gzip: createGunzip, deflate: createInflate, br: createBrotliDecompress };

function decompressed(request: FastifyRequest): Readable {
  const type = (request.headers['content-type'] ?? '').split(';', 1)[0]!.trim().toLowerCase();
  const encoding = encodingOf(request.headers['content-encoding']);
  if (!/^application\/(x-)?(ndjson|jsonl|jsonlines)$/.test(type) || encoding === 'zstd') {
    throw new RequestError({
      status: 415,
      code: 'UNSUPPORTED_MEDIA',
      message: encoding === 'zstd' ? 'a stream cannot be compressed with zstd' : 'this takes NDJSON',
      where: { field: encoding === 'zstd' ? 'content-encoding' : 'content-type' },
      fix: 'send application/x-ndjson, as it is or with gzip, deflate or br',
    });
  }
  const body = (request.body ?? request.raw) as Readable;
  if (encoding === 'identity') return body;
  const plain = UNPACKERS[encoding]();
  body.on('error', (error) => plain.destroy(error));
  return body.pipe(plain);
}
