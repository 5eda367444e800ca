import { Controller, Post, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Caller, From, Needs } from '../../../http/auth/caller.js';
import { type ApiContext, InjectApi } from '../../../http/context.js';
import { RequestError } from '../../../platform/request-error.js';
import { bytesOf } from '../body.js';
import { BadMessage } from '../protobuf.js';
import { readRequest2, readWriteRequest } from './messages.js';
import { RemoteBatch, SeriesNameCache } from './remote-batch.js';
import { unsnappy } from './snappy.js';

const MESSAGE_1 = 'prometheus.WriteRequest';
const MESSAGE_2 = 'io.prometheus.write.v2.Request';

/**
 * Prometheus remote write 1.0 and 2.0. 204: all is committed. 400: what the body names was left out for good, the rest is
 * committed. 429 and 5xx: send it again.
 */
@ApiExcludeController()
@Controller('api/v1/write')
export class RemoteWriteController {
  private readonly names = new SeriesNameCache();

  constructor(@InjectApi() private readonly api: ApiContext) {}

  @Post()
  @Needs('write')
  async write(@Req() request: FastifyRequest, @From() caller: Caller, @Res() reply: FastifyReply): Promise<void> {
    const message = messageOf(request);
    const limit = this.api.config.limits.bodyBytes;
    const bytes = await unsnappy(bytesOf(request), limit);
    const batch = new RemoteBatch(this.names);
    try {
      await batch.take(
        message === MESSAGE_2 ? readRequest2(bytes) : readWriteRequest(bytes),
        caller.limits.pointsPerRequest,
      );
    } catch (error) {
      if (!(error instanceof BadMessage)) throw error;
      throw new RequestError({
        status: 400,
        code: 'BAD_PROTOBUF',
        message: `this is no ${message}: ${error.message}`,
        fix: 'check that Content-Type names the message that was sent',
        cause: error,
      });
    }
    if (batch.points.length > caller.limits.pointsPerRequest) {
      throw new RequestError({
        status: 413,
        code: 'BODY_TOO_LARGE',
        message: `more than ${caller.limits.pointsPerRequest} samples in one request`,
        fix: 'lower max_samples_per_send',
      });
    }
    const written = await this.commit(caller, batch);
    if (message === MESSAGE_2) {
      reply.header('x-prometheus-remote-write-samples-written', String(written));
      reply.header('x-prometheus-remote-write-histograms-written', '0');
      reply.header('x-prometheus-remote-write-exemplars-written', '0');
    }
    const refusal = batch.refusal();
    if (refusal === undefined) reply.status(204).send();
    else reply.status(400).header('content-type', 'text/plain; charset=utf-8').send(`${refusal}\n`);
  }

  /** Commits what can be stored and returns how many samples that are. */
  private async commit(caller: Caller, batch: RemoteBatch): Promise<number> {
    const { points } = batch;
    if (points.length === 0) return 0;
    const { rejected } = await this.api.live.ingest.write(caller, points, {
      partial: true,
      describe: (series) => batch.describe(series),
    });
    for (const { message } of rejected) batch.refuse(1, message);
    return points.length - rejected.length;
  }
}

/** The message that the headers announce; version 1 where they say nothing. Throws 415. */
function messageOf(request: FastifyRequest): string {
  const [type = '', ...parameters] = (request.headers['content-type'] ?? '').split(';').map((part) => part.trim());
  const encoding = request.headers['content-encoding'] ?? 'snappy';
  const proto = parameters.find((part) => /^proto=/i.test(part))?.slice('proto='.length);
  const message = proto ?? MESSAGE_1;
  const known = type === '' || type.toLowerCase() === 'application/x-protobuf';
  if (known && (message === MESSAGE_1 || message === MESSAGE_2) && encoding.toLowerCase() === 'snappy') return message;
  throw new RequestError({
    status: 415,
    code: 'UNSUPPORTED_MEDIA',
    message: 'this takes snappy-compressed protobuf of remote write 1.0 or 2.0',
    where: { field: encoding.toLowerCase() === 'snappy' ? 'content-type' : 'content-encoding' },
    fix: `send application/x-protobuf;proto=${MESSAGE_2} or application/x-protobuf, with Content-Encoding: snappy`,
  });
}
