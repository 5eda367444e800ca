import { type ArgumentsHost, Catch, type ExceptionFilter } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { type ErrorDialect, PROBLEM_DIALECT } from './dialect.js';
import { asRequestError } from './problem.js';

/** Turns everything that is thrown into an answer, in the dialect of the protocol that was spoken. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  constructor(
    private readonly log: Logger,
    /** The first one that claims a path writes the body; RFC 9457 where none does. */
    private readonly dialects: readonly ErrorDialect[],
  ) {}

  catch(thrown: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    this.answer(thrown, http.getRequest<FastifyRequest>(), http.getResponse<FastifyReply>());
  }

  /** Also Fastify's own error handler: what fails before Nest sees a request is answered alike. */
  answer(thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
    const path = request.url.split('?', 1)[0]!;
    const dialect = this.dialects.find(({ claims }) => claims(path)) ?? PROBLEM_DIALECT;
    const error = asRequestError(thrown);
    const id = String(request.id);
    if (error.status >= 500) {
      const cause = (error.cause as Error | undefined) ?? error;
      this.log[error.status === 500 ? 'error' : 'warn']({ requestId: id, code: error.code, err: cause }, error.message);
    }
    if (reply.sent || reply.raw.headersSent) {
      reply.raw.destroy();
      return;
    }
    if (error.retryAfter !== undefined) reply.header('retry-after', String(Math.ceil(error.retryAfter)));
    if (error.status === 401) reply.header('www-authenticate', 'Bearer');
    reply.status(error.status).header('content-type', dialect.contentType);
    reply.send(JSON.stringify(dialect.body(error, id)));
  }
}
