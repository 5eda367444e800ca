import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Controller, Get, Inject, Param, Res } from '@nestjs/common';
import { ApiExcludeController, type OpenAPIObject } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { RequestError } from '../platform/request-error.js';
import { Open } from './auth/caller.js';

/** Holds the document, which can only be made once the application exists. */
export class OpenApiHolder {
  document: OpenAPIObject | undefined;
}

const FILES: Record<string, string> = {
  'swagger-ui.css': 'text/css; charset=utf-8',
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
};

const PAGE = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Adder API</title><link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><div id="ui"></div><script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body>
</html>
`;
const START = `SwaggerUIBundle({ url: '/docs/openapi.json', dom_id: '#ui', validatorUrl: null });\n`;
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'";

/** The OpenAPI document and a page that shows it, from files that come with @nestjs/swagger. */
@ApiExcludeController()
@Open()
@Controller('docs')
export class DocsController {
  private readonly folder = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));

  constructor(@Inject(OpenApiHolder) private readonly holder: OpenApiHolder) {}

  @Get()
  page(@Res() reply: FastifyReply): void {
    reply.header('content-type', 'text/html; charset=utf-8').header('content-security-policy', CSP).send(PAGE);
  }

  @Get('openapi.json')
  document(): OpenAPIObject | undefined {
    return this.holder.document;
  }

  @Get(':file')
  async file(@Param('file') file: string, @Res() reply: FastifyReply): Promise<void> {
    if (file === 'start.js') {
      reply.header('content-type', FILES['swagger-ui-bundle.js']!).send(START);
      return;
    }
    const type = Object.hasOwn(FILES, file) ? FILES[file] : undefined;
    if (!type)
      throw new RequestError({ status: 404, code: 'NOT_FOUND', message: 'there is no such file', fix: 'open /docs' });
    reply
      .header('content-type', type)
      .header('cache-control', 'max-age=3600')
      .send(await readFile(join(this.folder, file)));
  }
}
