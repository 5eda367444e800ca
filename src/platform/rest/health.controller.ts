import { Controller, Get, Res } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { Open } from '../../http/auth/caller.js';
import { type ApiContext, InjectApi } from '../../http/context.js';

@ApiTags('health')
@Open()
@Controller('health')
export class HealthController {
  constructor(@InjectApi() private readonly api: ApiContext) {}

  @Get('live')
  @ApiOperation({ summary: 'The process runs and its event loop turns' })
  live() {
    return { status: 'live' };
  }

  @Get('ready')
  @ApiOperation({
    summary: '200 while workers that passed a self-test forecast answer, and the database does; else 503',
  })
  async ready(@Res({ passthrough: true }) reply: FastifyReply) {
    const report = await this.api.readiness.report();
    if (!report.ready) reply.status(503).header('retry-after', '1');
    return report;
  }
}
