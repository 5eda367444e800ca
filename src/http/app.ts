import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Module, type Provider, type Type } from '@nestjs/common';
import { NestFactory, Reflector } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { nestLogger } from '../platform/logger.js';
import { RequestError } from '../platform/request-error.js';
import type { HttpMetrics } from '../platform/rest/http-metrics.js';
import { AuthGuard } from './auth/auth-guard.js';
import { Authenticator } from './auth/authenticate.js';
import { callerFrom, rememberCaller } from './auth/caller.js';
import { RateLimiter } from './auth/rate-limit.js';
import { BodyThreads } from './body/body-threads.js';
import { readBody } from './body/read-body.js';
import { answerClientError } from './client-error.js';
import { API, type ApiContext } from './context.js';
import type { ErrorDialect } from './dialect.js';
import { ProblemFilter } from './problem-filter.js';
import { validationPipe } from './validation.js';

export interface AppParts {
  controllers: Type[];
  dialects: ErrorDialect[];
  metrics: HttpMetrics;
  providers: Provider[];
  /** Paths that are served without a key. */
  open: (path: string) => boolean;
  /** Paths that take other bodies than JSON. */
  takesBytes: (path: string) => boolean;
  /** Whether a path takes bytes behind its JSON (Inference-Header-Content-Length). */
  takesTail: (path: string) => boolean;
  /** Bodies that are what the path says, whatever their headers say. */
  bodyOf: (path: string) => BodyForm | undefined;
}

/** `bytes`: decompressed, not parsed. `raw`: as they came. `stream`: read by the handler, for as long as the client sends. */
export type BodyForm = 'bytes' | 'raw' | 'stream';

/** Longest that a client may take to send its headers, and its body. */
const HEADERS_MS = 20_000;
const REQUEST_MS = 300_000;

/** The HTTP application, not yet listening. */
export async function createApp(api: ApiContext, parts: AppParts): Promise<NestFastifyApplication> {
  const filter = new ProblemFilter(api.log, parts.dialects);
  const adapter = new FastifyAdapter({
    genReqId: (request: IncomingMessage) => requestId(request.headers['x-request-id']),
    bodyLimit: api.config.limits.bodyBytes,
    routerOptions: { maxParamLength: 1024 },
    // Bodies that are streams have no end that could be late; the others are timed by a hook.
    requestTimeout: 0,
    forceCloseConnections: 'idle',
    clientErrorHandler: answerClientError,
    // A path that the router cannot read never reaches a hook.
    frameworkErrors: (error: Error, request: FastifyRequest, reply: FastifyReply) => {
      reply.header('x-request-id', request.id);
      filter.answer(error, request, reply);
    },
    trustProxy: false,
  });
  class ApiModule {}
  Module({ controllers: parts.controllers, providers: [{ provide: API, useValue: api }, ...parts.providers] })(
    ApiModule,
  );
  const app = await NestFactory.create<NestFastifyApplication>(ApiModule, adapter, {
    logger: nestLogger(api.log),
    bodyParser: false,
    abortOnError: false,
  });
  app.useGlobalFilters(filter);
  app.useGlobalPipes(validationPipe());
  app.useGlobalGuards(new AuthGuard(new Reflector()));
  const server = adapter.getInstance();
  adapter.getHttpServer().headersTimeout = HEADERS_MS;

  const threads = new BodyThreads();
  server.addHook('onClose', () => threads.close());
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('*', async (request: FastifyRequest, payload: NodeJS.ReadableStream) => {
    const path = pathOf(request);
    const form = parts.bodyOf(path);
    if (form === 'stream') return payload;
    const headers = {
      ...request.headers,
      ...(form ? { 'content-type': 'application/octet-stream' } : {}),
      ...(form === 'raw' ? { 'content-encoding': undefined } : {}),
    };
    return readBody(headers, payload as never, bodyLimit(request, api), threads, parts.takesTail(path));
  });
  // Fastify would take a body with GET and DELETE for JSON by default; these routes have none.
  const authenticator = new Authenticator(api.keys, new RateLimiter(api.database), api.config);
  server.addHook('onRequest', async (request: FastifyRequest, reply: FastifyReply) => {
    reply.header('x-request-id', request.id);
    reply.header('x-content-type-options', 'nosniff');
    reply.header('cache-control', 'no-store');
    parts.metrics.begin(request);
    if (parts.bodyOf(pathOf(request)) !== 'stream') endLateBody(request);
    if (parts.open(pathOf(request))) return;
    const caller = await authenticator.authenticate(request);
    rememberCaller(request, caller);
    api.usage.add(caller.owner);
  });
  server.addHook('preValidation', async (request: FastifyRequest) => {
    const path = pathOf(request);
    if (Buffer.isBuffer(request.body) && !parts.takesBytes(path) && !parts.bodyOf(path)) throw notJson();
  });
  server.addHook('onResponse', async (request: FastifyRequest, reply: FastifyReply) => {
    const ms = parts.metrics.end(request, reply);
    const path = pathOf(request);
    const owner = callerFrom(request)?.key?.prefix;
    api.log.info(
      {
        requestId: request.id,
        method: request.method,
        path,
        status: reply.statusCode,
        ms,
        ...(owner ? { key: owner } : {}),
      },
      'request',
    );
  });
  await app.init();
  return app;
}

const pathOf = (request: FastifyRequest) => request.url.split('?', 1)[0]!;

/** Hangs up on a client that takes too long to send its request. */
function endLateBody({ raw }: FastifyRequest): void {
  const timer = setTimeout(() => {
    if (!raw.complete) raw.destroy();
  }, REQUEST_MS);
  timer.unref();
  raw.once('close', () => clearTimeout(timer));
}

function bodyLimit(request: FastifyRequest, { config }: ApiContext): number {
  const own = callerFrom(request)?.key?.limits.bodyMb;
  return Math.min(config.limits.bodyBytes, own === undefined ? Number.POSITIVE_INFINITY : own * 2 ** 20);
}

const notJson = () =>
  new RequestError({
    status: 415,
    code: 'UNSUPPORTED_MEDIA',
    message: 'this takes JSON',
    where: { field: 'content-type' },
    fix: 'send JSON with Content-Type: application/json',
  });

/** The client's id if it is a sane one, so that its logs and ours can be joined. */
function requestId(header: string | string[] | undefined): string {
  return typeof header === 'string' && /^[\w.:-]{1,128}$/.test(header) ? header : randomUUID();
}
